"""The report of the audit of queries: one HTML page that opens offline, without a script.

A pure function of a measured report. It holds no images and no captions, numbers and words of the
lists alone, and its content security policy forbids all requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from frenchcat.curate.html_page import fact_list, framed
from frenchcat.curate.report import plots
from frenchcat.curate.report.plots import count
from frenchcat.curate.safe_text import for_html
from frenchcat.curate.statistics import FDR, LEVEL, MIN_DOMAINS
from frenchcat.skews.rankings import PERSISTENCE
from frenchcat.skews.report import (
    DRAWINGS,
    Concentration,
    ConceptBasis,
    Rebalanced,
    Share,
    SkewReport,
    Translation,
)
from frenchcat.skews.rows import GENERIC, MIN_ROWS

MOST_OUT = 80
PER_QUERY = 8
"""Shares shown of each query; the others can be unfolded."""
_LIMITS = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
"""How far an axis of shares may reach."""
_LEFT, _WIDE = 8.0, 384.0  # of an axis, in an image 400 wide
_TRACK = f'<path d="M{_LEFT} 13H{_LEFT + _WIDE}" stroke="var(--line)"/>'
_STYLE = """
.forest svg.share { height: 26px }
.matrix { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .6rem 0 }
.matrix th, .matrix td { padding: .35rem .7rem; text-align: right; border: 1px solid var(--line) }
.matrix th { font-weight: 600 }
table.agree { border-collapse: collapse; font-size: .88rem; margin-top: .5rem }
table.agree td, table.agree th { padding: .25rem .9rem .25rem 0; text-align: left;
  border-top: 1px solid var(--line); font-variant-numeric: tabular-nums }
.scroll { overflow-x: auto }
.legend svg { display: inline-block; width: 34px; height: 14px; vertical-align: middle }
"""
_Section = Callable[[SkewReport], str]


def page(report: SkewReport) -> str:
    """The whole page."""
    sections: list[tuple[str, str, str, _Section]] = [
        ("out", "Stands out", "What stands out", _out),
        ("queries", "Queries", "Every query", _queries),
        ("sources", "Sources", "From how many sources", _sources),
        ("languages", "Translations", "The same query in other languages", _translations),
        ("method", "Method", "What this rests on", _method),
    ]
    if report.rebalancing is not None:
        sections.insert(1, ("weights", "Rebalanced", "Before and after rebalancing", _weights))
    name = for_html(report.dataset.rsplit("/", 1)[-1])
    return framed(
        f"{name} - what queries show",
        f"{name}: what queries show",
        "The results of each query, beside what the dataset has.",
        _facts(report),
        ((anchor, short, title, make(report)) for anchor, short, title, make in sections),
        "Made by frenchcat skews. The page is complete: it asks for nothing from anywhere.",
        _STYLE,
    )


def _facts(report: SkewReport) -> str:
    facts = [
        ("queries", len(report.queries)),
        ("results per query", report.request.k),
        ("rows that may be found", report.rows),
        ("comparisons tested", report.tested),
        ("stand out", len(report.flagged) + sum(c.flagged for c in report.concentrations)),
    ]
    return fact_list(((name, count(n)) for name, n in facts), for_html(report.model))


# -- shares ----------------------------------------------------------------------------------------


def _out(report: SkewReport) -> str:
    found = report.flagged
    if not found:
        return (
            f'<p class="missing">None of {count(report.tested)} comparisons stands out at a false '
            f"discovery rate of {FDR:.0%}. That does not show that there is no skew.</p>"
        )
    more = f" The first {MOST_OUT} are shown." if len(found) > MOST_OUT else ""
    return (
        '<p class="lead">Shares among the results of a query (or its drawings) that differ from '
        f"the dataset's by more than chance.{more} A share that differs is not thereby wrong, and "
        "one that does not is not thereby right.</p>"
        f"{_legend()}{_forest(found[:MOST_OUT], with_query=True)}"
    )


def _legend() -> str:
    dot = (
        '<path d="M4 7H30" stroke="var(--kept)" stroke-width="3" stroke-linecap="round"/>'
        '<circle cx="17" cy="7" r="4" fill="var(--kept)"/>'
    )
    tick = '<path d="M17 0V14" stroke="var(--ink)" stroke-width="2"/>'
    return (
        f'<ul class="legend"><li>{plots.svg(34, 14, "share", "a dot on a bar", dot)} share with '
        f"its {LEVEL:.0%} interval</li>"
        f"<li>{plots.svg(34, 14, 'base rate', 'a line', tick)} the dataset's base rate</li>"
        '<li><i style="background:var(--warn)"></i>stands out</li></ul>'
    )


def _queries(report: SkewReport) -> str:
    parts = [_legend()]
    for query in report.queries:
        own = [share for share in report.shares if share.query == query.name]
        own.sort(key=lambda share: (share.q, -abs(share.share - share.base)))
        first, rest = own[:PER_QUERY], own[PER_QUERY:]
        folded = (
            f"<details><summary>{count(len(rest))} more</summary>{_forest(rest)}</details>"
            if rest
            else ""
        )
        parts.append(
            f'<article class="card" style="margin-bottom:1.1rem"><h3>{for_html(query.name)}'
            f"<span>“{for_html(query.text)}”</span></h3>{_forest(first)}{folded}</article>"
        )
    return "".join(parts)


def _limit(values: Iterable[float]) -> float:
    furthest = max(values, default=1.0)
    return next((limit for limit in _LIMITS if limit >= furthest), 1.0)


def _x(share: float, limit: float) -> float:
    return _LEFT + _WIDE * min(max(share, 0.0), limit) / limit


def _axis(limit: float) -> str:
    ticks = [limit * part for part in (0, 0.25, 0.5, 0.75, 1)]
    anchors = ["start", "middle", "middle", "middle", "end"]
    placed = (
        (_x(tick, limit), f"{100 * tick:.3g} %", anchor)
        for tick, anchor in zip(ticks, anchors, strict=True)
    )
    return plots.axis_row(placed, f"from 0 to {100 * limit:.3g} %")


def _bar(share: Share, limit: float) -> str:
    colour = "var(--warn)" if share.flagged else "var(--kept)"
    low, high, at, base = (
        _x(value, limit) for value in (share.low, share.high, share.share, share.base)
    )
    body = (
        f'{_TRACK}<path d="M{low:.1f} 13H{high:.1f}" stroke="{colour}" stroke-width="3" '
        f'stroke-linecap="round"/><circle cx="{at:.1f}" cy="13" r="4.5" fill="{colour}"/>'
        f'<path d="M{base:.1f} 3V23" stroke="var(--ink)" stroke-width="2"/>'
    )
    said = f"{share.share:.1%}, from {share.low:.1%} to {share.high:.1%}; dataset {share.base:.1%}"
    return plots.svg(400, 26, f"{share.query}: {share.name}", said, body)


def _forest(shares: Sequence[Share], with_query: bool = False) -> str:
    limit = _limit(value for share in shares for value in (share.high, share.base))
    items = [_axis(limit)]
    for share in shares:
        kind = share.kind + (", drawings" if share.shown == DRAWINGS else "")
        label = f"<b>{for_html(share.name)}</b><br><span class='small'>"
        label += f"{for_html(share.query)}, {kind}</span>" if with_query else f"{kind}</span>"
        said = (
            f"{_percent(share.share)} ({_percent(share.low)} to {_percent(share.high)}), dataset "
            f"{_percent(share.base)}"
        )
        said += "; not tested" if share.p is None else ""
        out = "out" if share.flagged else ""
        items.append(
            f'<li class="{out}"><span>{label}</span>{_bar(share, limit)}'
            f'<span class="small">{said}</span></li>'
        )
    return f'<ul class="forest">{"".join(items)}</ul>'


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.1f} %"


# -- sources ---------------------------------------------------------------------------------------


def _sources(report: SkewReport) -> str:
    if not report.concentrations:
        return (
            '<p class="missing">All rows are of one domain, or each of one of its own: there is '
            "nothing to concentrate on.</p>"
        )
    parts = [
        '<p class="lead">Kish\'s effective number of sources among the results: 1 where all are '
        "from one, as large as the number of results where each is from its own. The pale bar has "
        "95 % of as many rows drawn at random.</p>"
    ]
    for kind in dict.fromkeys(one.kind for one in report.concentrations):
        own = [one for one in report.concentrations if one.kind == kind]
        own.sort(key=lambda one: (one.p, one.effective))
        limit = max(max(one.effective, one.high) for one in own)
        rows = "".join(
            f'<li class="{"out" if one.flagged else ""}"><span><b>{for_html(one.query)}</b></span>'
            f'{_source_bar(one, limit)}<span class="small">{one.effective:.1f}; at random '
            f"{one.low:.1f} to {one.high:.1f}</span></li>"
            for one in own
        )
        title = "Domains" if kind == "domains" else "Clusters of duplicates"
        parts.append(f'<h3 style="margin-top:1rem">{title}</h3><ul class="forest">{rows}</ul>')
    return "".join(parts)


def _source_bar(one: Concentration, limit: float) -> str:
    colour = "var(--warn)" if one.flagged else "var(--kept)"
    low, high, at = (_x(value, limit) for value in (one.low, one.high, one.effective))
    body = (
        f'{_TRACK}<path d="M{low:.1f} 13H{max(high, low + 1):.1f}" stroke="var(--soft)" '
        f'stroke-width="9"/>'
        f'<circle cx="{at:.1f}" cy="13" r="4.5" fill="{colour}"/>'
    )
    said = f"{one.effective:.1f}; at random {one.low:.1f} to {one.high:.1f}"
    return plots.svg(400, 26, f"{one.query}: {one.kind}", said, body)


# -- rebalancing -----------------------------------------------------------------------------------


def _weights(report: SkewReport) -> str:
    made = report.rebalancing
    assert made is not None
    lead = (
        f'<p class="lead">The selection <b>{for_html(made.selection)}</b> has the '
        f"{count(made.rows)} rows of {for_html(made.source)}, with weights "
        f"within a factor of {made.bound:g} of what they were: training draws rows by them. "
        f"Effective number of rows: {made.effective:,.0f}. "
        "Open circles are shares of the weight before, dots after, among the results of the query "
        "that the selection has; lines are the targets, the dataset's base rates.</p>"
    )
    if not made.shares:
        return f'{lead}<p class="missing">Nothing stood out, so no weight was changed.</p>'
    limit = _limit(v for one in made.shares for v in (one.before, one.after, one.target))
    rows = "".join(
        f"<li><span><b>{for_html(one.name)}</b><br><span class='small'>{for_html(one.query)}, "
        f"{one.kind}, {count(one.rows)} rows</span></span>{_arrow(one, limit)}"
        f'<span class="small">{_percent(one.before)} before, {_percent(one.after)} after, target '
        f"{_percent(one.target)}{_missed(one)}</span></li>"
        for one in made.shares
    )
    return f'{lead}<ul class="forest">{_axis(limit)}{rows}</ul>'


def _missed(one: Rebalanced) -> str:
    """Why a target is not reached, where it is not."""
    if abs(one.after - one.target) < 0.005:
        return ""
    if one.before in (0.0, 1.0):
        return "; none of these rows can take the weight" if not one.before else "; all have it"
    return "; missed, for the bound or another target"


def _arrow(one: Rebalanced, limit: float) -> str:
    before, after, target = (_x(value, limit) for value in (one.before, one.after, one.target))
    body = (
        f'{_TRACK}<path d="M{target:.1f} 3V23" stroke="var(--ink)" stroke-width="2"/>'
        f'<path d="M{before:.1f} 13H{after:.1f}" stroke="var(--kept)" stroke-width="2"/>'
        f'<circle cx="{before:.1f}" cy="13" r="4" fill="var(--back)" stroke="var(--warn)" '
        f'stroke-width="2"/><circle cx="{after:.1f}" cy="13" r="4.5" fill="var(--kept)"/>'
    )
    said = f"{one.before:.1%} before, {one.after:.1%} after, target {one.target:.1%}"
    return plots.svg(400, 26, f"{one.query}: {one.name}", said, body)


# -- translations ----------------------------------------------------------------------------------


def _translations(report: SkewReport) -> str:
    found = report.translations
    if not found:
        return '<p class="missing">The lists have one language only.</p>'
    languages = list(dict.fromkeys(name for one in found for name in (one.one, one.other)))
    k = report.request.k
    lead = (
        f'<p class="lead">How far the {k} results of a term agree between two of its languages, '
        "mean over the queries: the share of results in common, and rank-biased overlap "
        f"(persistence {PERSISTENCE:g}), which weighs the first results most. 1: the same results "
        "in the same order.</p>"
    )
    tables = "".join(
        f'<div><h3>{title}</h3><div class="scroll">{_matrix(found, languages, value)}</div></div>'
        for title, value in (
            (f"In common of {k}", lambda one: one.overlap),
            ("Rank-biased overlap", lambda one: one.rbo),
        )
    )
    least = sorted(found, key=lambda one: (one.overlap, one.rbo, one.query))[:20]
    rows = "".join(
        f"<tr><td>{for_html(one.query)}</td><td>{for_html(one.one)}, {for_html(one.other)}</td>"
        f"<td>{one.overlap:.2f}</td><td>{one.rbo:.2f}</td></tr>"
        for one in least
    )
    return (
        f'{lead}<div class="grid wide">{tables}</div>'
        f"<details><summary>The {len(least)} pairs that agree least</summary><div class='scroll'>"
        '<table class="agree"><tr><th>query</th><th>languages</th><th>in common</th><th>RBO</th>'
        f"</tr>{rows}</table></div></details>"
    )


def _matrix(
    found: Sequence[Translation], languages: Sequence[str], value: Callable[[Translation], float]
) -> str:
    cells: dict[tuple[str, str], list[float]] = {}
    for one in found:
        cells.setdefault((one.one, one.other), []).append(value(one))
        cells.setdefault((one.other, one.one), []).append(value(one))
    head = "".join(f"<th>{for_html(name)}</th>" for name in languages)
    rows = []
    for row in languages:
        made = [f"<th>{for_html(row)}</th>"]
        for column in languages:
            values = cells.get((row, column))
            if row == column or not values:
                made.append('<td class="dim">–</td>')
                continue
            mean = sum(values) / len(values)
            shade = f"color-mix(in srgb, var(--kept) {100 * mean * 0.6:.0f}%, transparent)"
            made.append(f'<td style="background:{shade}">{mean:.2f}</td>')
        rows.append(f"<tr>{''.join(made)}</tr>")
    return f'<table class="matrix"><tr><th></th>{head}</tr>{"".join(rows)}</table>'


# -- method ----------------------------------------------------------------------------------------


def _method(report: SkewReport) -> str:
    request = report.request
    unmeasured = "".join(f"<li>{for_html(said)}</li>" for said in report.unmeasured)
    missing = f"<p>Not measured:</p><ul>{unmeasured}</ul>" if unmeasured else ""
    few = len(report.queries) - report.by_domain
    alone = (
        f" For {count(few)} queries fewer than {MIN_DOMAINS} domains (effective number) carry the "
        "results: single images were counted, so those intervals are too narrow if the images of a "
        "site resemble each other."
        if few
        else ""
    )
    return f"""{_concepts(report.concepts)}<div class="dim" style="max-width:46rem">
<p><b>Nothing is guessed of anybody from a face.</b> Terms are words in captions, countries are the
endings of domains ({", ".join(f".{code}" for code in sorted(GENERIC))} count as none), languages
are the captions'. Concepts are prompts that a user has written. A caption without a word says
nothing of who is in the picture.</p>
<p>Results are the {request.k} that a search shows; the base rate is that of all
{count(report.rows)} rows that it may show. A query's own words are not counted among its results.
Attributes of fewer than {MIN_ROWS} rows are not tested.</p>
<p>Intervals ({LEVEL:.0%}, each by itself) are Clopper &amp; Pearson's for the effective number of
images, that is the number over the design effect of a bootstrap of whole domains (Korn &amp;
Graubard 1998).{alone} For concepts the uncertainty of the classifier's sensitivity and
specificity is folded in (Rogan &amp; Gladen 1978, Lang &amp; Reiczigel 2014).</p>
<p>Tests are exact binomial ones against the base rate. Over all {count(report.tested)} of them the
false discovery rate is held at {FDR:.0%} (Benjamini &amp; Hochberg 1995): of what stands out, about
one in twenty may be chance. That a share does not stand out does not show that there is no skew.
The classifier's error may differ between a query's results, drawings, and the labelled sample; no
interval covers that.</p></div>{missing}"""


def _concepts(concepts: Sequence[ConceptBasis]) -> str:
    if not concepts:
        return '<p class="missing">No concepts were given (--concepts FILE).</p>'
    rows = []
    for basis in concepts:
        concept, found = basis.concept, basis.confusion
        prompts = "; ".join(concept.yes) + " / " + "; ".join(concept.no)
        if found is None:
            rests = "no labelled sample: the share is of what is called so, and is not tested"
        else:
            yes, no = found.true_yes + found.false_no, found.false_yes + found.true_no
            rests = (
                f"sensitivity {found.sensitivity:.2f} ({found.true_yes} of {yes}), specificity "
                f"{found.specificity:.2f} ({found.true_no} of {no}), from {concept.source}"
            )
        rows.append(
            f"<tr><td><b>{for_html(concept.name)}</b></td><td>{for_html(prompts)}</td>"
            f"<td>{for_html(rests)}</td></tr>"
        )
    return (
        '<h3>Concepts</h3><div class="scroll"><table class="agree"><tr><th>concept</th>'
        f"<th>prompts, yes / no</th><th>rests on</th></tr>{''.join(rows)}</table></div>"
    )
