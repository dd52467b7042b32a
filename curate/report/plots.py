"""Plots as HTML and inline SVG: funnel, bars, histogram, heat map, intervals.

Pure functions of numbers and texts; every text is escaped here. Shapes are SVG with a title and a
description for those who do not see them; words are HTML, so that they keep their size on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from frenchcat.curate.report.gather import Bar
from frenchcat.curate.safe_text import for_html

_OCTAVES = 2  # bins of the heat map in a doubling
_LIMITS = (1.25, 1.5, 2.0, 4.0, 10.0, 100.0)
"""How far an axis of ratios may reach, either way."""


def count(number: int) -> str:
    """A number of rows, in groups of three digits."""
    return f"{number:,}"


def percent(part: float, whole: float) -> str:
    """A share with two digits that count; 0 % and 100 % are exact."""
    if not whole or not part:
        return "0 %"
    share = 100 * part / whole
    if share >= 99.95 and part < whole:
        return "> 99.9 %"
    return f"{share:.0f} %" if share >= 9.95 else f"{share:.2g} %" if share >= 0.1 else "< 0.1 %"


def plain(value: float) -> str:
    """A number at an axis."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.1e}"


def svg(
    width: float, height: float, title: str, said: str, body: str, stretch: bool = False
) -> str:
    """An SVG image with a name and a description."""
    aspect = ' preserveAspectRatio="none"' if stretch else ""
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img"{aspect}>'
        f"<title>{for_html(title)}</title><desc>{for_html(said)}</desc>{body}</svg>"
    )


@dataclass(frozen=True)
class Step:
    """A step of the funnel: the rows that are there, and the outcome that takes some on the way."""

    name: str
    rows: int
    outcome: str = ""  # gives the colour of what is lost
    lost: str = ""  # said beside it, HTML


def funnel(steps: Sequence[Step]) -> str:
    """Steps as a narrowing stream; what leaves it is in its outcome's colour."""
    most = max((step.rows for step in steps), default=0) or 1
    after = [*(step.rows for step in steps[1:]), steps[-1].rows]
    items = []
    for step, following in zip(steps, after, strict=True):
        shape = '<path d="M0 0H100V40H0Z" fill="var(--soft)" opacity=".55"/>'
        top, bottom = 50 * step.rows / most, 50 * following / most
        if step.outcome:
            shape += (
                f'<path d="M{50 - top:.2f} 0H{50 + top:.2f}V40H{50 - top:.2f}Z" '
                f'fill="var(--{step.outcome})"/>'
            )
        shape += (
            f'<path d="M{50 - top:.2f} 0 H{50 + top:.2f} C{50 + top:.2f} 24 {50 + bottom:.2f} 16 '
            f"{50 + bottom:.2f} 40 H{50 - bottom:.2f} C{50 - bottom:.2f} 16 {50 - top:.2f} 24 "
            f'{50 - top:.2f} 0Z" fill="var(--kept)"/>'
        )
        said = f"{step.rows} rows, {following} go on"
        items.append(
            f'<li><div class="what"><b>{count(step.rows)}</b>{for_html(step.name)}'
            f' <span class="dim">{percent(step.rows, most)}</span></div>'
            f"{svg(100, 40, step.name, said, shape, stretch=True)}"
            f'<div class="lost">{step.lost}</div></li>'
        )
    return f'<ol class="funnel">{"".join(items)}</ol>'


def bars(found: Sequence[Bar], judged: bool, whole: int | None = None) -> str:
    """Bars of two parts, kept and not; `judged` says whether the parts mean that."""
    longest = max((bar.rows for bar in found), default=0) or 1
    items = []
    for bar in found:
        parts = [("kept" if judged else "stored", bar.kept), ("dropped", bar.others)]
        track = "".join(
            f'<i class="{kind}" style="width:{100 * rows / longest:.2f}%"></i>'
            for kind, rows in parts
            if rows
        )
        share = f" ({percent(bar.rows, whole)})" if whole else ""
        said = f"{bar.rows} rows" + (f", {bar.kept} kept" if judged else "")
        label = for_html(bar.label)
        items.append(
            f'<li title="{label}: {said}"><span class="label">{label}</span>'
            f'<span class="track">{track}</span><span class="n">{count(bar.rows)}{share}</span>'
            "</li>"
        )
    return f'<ul class="bars">{"".join(items)}</ul>'


def stacked(parts: Mapping[str, int]) -> str:
    """One bar of all outcomes, whose classes give the colours."""
    total = sum(parts.values()) or 1
    said = ", ".join(f"{rows} {name.replace('_', ' ')}" for name, rows in parts.items() if rows)
    inner = "".join(
        f'<i class="{name}" style="width:{100 * rows / total:.2f}%"></i>'
        for name, rows in parts.items()
        if rows
    )
    return f'<div class="track full" role="img" aria-label="{for_html(said)}">{inner}</div>'


def histogram(
    name: str, counts: Sequence[int], kept: Sequence[int] | None, low: float, high: float
) -> str:
    """Bars of all images with those of the kept ones before them, and the axis below."""
    highest = max(counts, default=0) or 1
    width = 480 / len(counts)

    def columns(values: Sequence[int], colour: str) -> str:
        return "".join(
            f'<rect x="{at * width + 0.5:.2f}" y="{110 - tall:.2f}" width="{width - 1:.2f}" '
            f'height="{tall:.2f}" fill="{colour}"/>'
            for at, value in enumerate(values)
            if (tall := max(110 * value / highest, 0.8 if value else 0))
        )

    body = columns(counts, "var(--stored)" if kept is None else "var(--dropped)")
    if kept is not None:
        body += columns(kept, "var(--kept)")
    peak = max(range(len(counts)), key=counts.__getitem__)
    step = (high - low) / len(counts)
    said = (
        f"{sum(counts)} images from {plain(low)} to {plain(high)}, "
        f"most of them near {plain(low + (peak + 0.5) * step)}"
    )
    ends = [low, (low + high) / 2, high] if len(counts) > 1 else [low]
    axis = "".join(f"<span>{plain(value)}</span>" for value in ends)
    picture = svg(480, 110, f"Histogram of {name}", said, body, stretch=True)
    return f'<div class="plot">{picture}</div><div class="axis">{axis}</div>'


def heat_map(cells: Mapping[tuple[int, int], int]) -> str:
    """Widths and heights of images: (half-octave, half-octave) -> rows, darker is more."""
    wide = range(min(w for w, _ in cells), max(w for w, _ in cells) + 1)
    high = range(min(h for _, h in cells), max(h for _, h in cells) + 1)
    size, left, top = 18.0, 44.0, 6.0
    most = max(cells.values())
    body = []
    for (w, h), rows in sorted(cells.items()):
        strength = 0.15 + 0.85 * math.sqrt(rows / most)
        body.append(
            f'<rect x="{left + (w - wide[0]) * size:g}" y="{top + (high[-1] - h) * size:g}" '
            f'width="{size - 1:g}" height="{size - 1:g}" rx="3" fill="var(--kept)" '
            f'opacity="{strength:.2f}"><title>{_side(w)}-{_side(w + 1)} x {_side(h)}-{_side(h + 1)}'
            f": {rows}</title></rect>"
        )
    bottom = top + len(high) * size
    for w in wide:
        if w % _OCTAVES == 0:
            x = left + (w - wide[0]) * size
            body.append(
                f'<text x="{x:g}" y="{bottom + 14:g}" text-anchor="middle">{_side(w)}</text>'
            )
    for h in high:
        if h % _OCTAVES == 0:
            y = top + (high[-1] - h + 1) * size + 4
            body.append(f'<text x="{left - 8:g}" y="{y:g}" text-anchor="end">{_side(h)}</text>')
    (w, h), _ = max(cells.items(), key=lambda item: (item[1], item[0]))
    said = (
        f"Most originals are {_side(w)} to {_side(w + 1)} wide "
        f"and {_side(h)} to {_side(h + 1)} high"
    )
    width = left + len(wide) * size + 16
    picture = svg(width, bottom + 20, "Widths and heights of the originals", said, "".join(body))
    return f'<div style="max-width:{width * 1.5:g}px;margin-top:.8rem">{picture}</div>'


def _side(half_octave: int) -> int:
    return round(2 ** (half_octave / _OCTAVES))


def ratio_limit(ratios: Iterable[float]) -> float:
    """How far from 1 an axis of ratios must reach, either way: the least of a few round numbers."""
    furthest = max((max(ratio, 1 / ratio) for ratio in ratios if ratio > 0), default=1.0)
    return next((limit for limit in _LIMITS if limit >= furthest), _LIMITS[-1])


def _place(ratio: float, limit: float) -> float:
    bounded = min(max(ratio, 1 / limit), limit)
    return 200 + 170 * math.log(bounded) / math.log(limit)


def axis_row(ticks: Iterable[tuple[float, str, str]], said: str) -> str:
    """The first row of a list of intervals: the axis, 400 wide, that all of them share.

    Each tick has its place, its text, and which end of the text stands there: start, middle, end.
    """
    texts = "".join(
        f'<text x="{x:.1f}" y="18" text-anchor="{anchor}">{text}</text>'
        for x, text, anchor in ticks
    )
    drawn = svg(400, 26, "Axis", said, texts)
    return f'<li aria-hidden="true" class="axis-row"><span></span>{drawn}</li>'


def ratio_axis(limit: float) -> str:
    """The axis of ratios, logarithmic, 1 in the middle."""
    ticks = (1 / limit, limit**-0.5, 1.0, limit**0.5, limit)
    placed = ((_place(tick, limit), f"{tick:.2g}", "middle") for tick in ticks)
    return axis_row(placed, f"from {1 / limit:.2g} to {limit:.2g}")


def interval(ratio: float, low: float, high: float, limit: float, title: str) -> str:
    """A ratio with its interval on a logarithmic axis; the line in the middle is 1."""
    ticks = "".join(
        f'<path d="M{_place(tick, limit):.1f} 3V23" stroke="var(--line)"/>'
        for tick in (1 / limit, limit**-0.5, limit**0.5, limit)
    )
    colour = "var(--warn)" if not low <= 1 <= high else "var(--dim)"
    start, end, at = (_place(value, limit) for value in (low, high, ratio))
    body = (
        f'{ticks}<path d="M200 0V26" stroke="var(--dim)"/>'
        f'<path d="M{start:.1f} 13H{end:.1f}" stroke="{colour}" stroke-width="3" '
        f'stroke-linecap="round"/><circle cx="{at:.1f}" cy="13" r="4.5" fill="{colour}"/>'
    )
    said = f"ratio {ratio:.2f}, from {low:.2f} to {high:.2f}"
    return svg(400, 26, title, said, body)


def sizes_of(clusters: Mapping[int, int]) -> list[Bar]:
    """Bars of cluster sizes; the last stands for all larger ones."""
    return [
        Bar(f"{size} alike" if size < 10 else "10 or more", number)
        for size, number in sorted(clusters.items())
    ]
