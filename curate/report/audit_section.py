"""The audit's section of the page: which terms the filters thin out, with intervals.

Pure functions of the audit's result.
"""

from __future__ import annotations

from frenchcat.curate.report import plots
from frenchcat.curate.report.audit import MIN_EXPECTED, MIN_ROWS, Effect, TermAudit
from frenchcat.curate.report.gather import Bar
from frenchcat.curate.report.plots import count, percent
from frenchcat.curate.report.report import Report
from frenchcat.curate.report.thumbnails import ReportThumbnails
from frenchcat.curate.safe_text import for_html
from frenchcat.curate.statistics import FDR, LEVEL, MIN_DOMAINS

MAX_FLAGGED = 60
MAX_TESTED = 200

_LEAD = (
    "How each filter changes the share of captions that hold a word for people, places or "
    "occupations. It looks at the captions' words alone: nothing is guessed of anybody from a "
    "face or an image. A word has other meanings too (china, cook), and a caption without one "
    "says nothing of who is in the image. A filter that thins a term out is not wrong by that, "
    "nor is one that does not right: look at the images above."
)


def audit_section(report: Report, _: ReportThumbnails) -> str:
    """Flagged effects, the tested ones, what was counted, and how."""
    found = report.audit
    parts = [f'<p class="lead">{_LEAD}</p>', _spoken(report)]
    if not found.filters:
        parts.append('<p class="missing">No filter has lost a row yet.</p>')
    elif not found.result.effects:
        parts.append(
            f'<p class="missing">Too few captions to test: a term must stand in {MIN_ROWS} of '
            f"them, of which a filter would drop, and leave, {MIN_EXPECTED} if it did not look "
            f"at it. {count(found.result.untested)} pairs of filter and term were left out.</p>"
        )
    else:
        parts += [_flagged(found), _tested(found)]
    return "".join([*parts, _method(found)])


def _spoken(report: Report) -> str:
    """What the captions hold, by list."""
    counts = report.audit.counts
    good = [at for at, (outcome, _) in enumerate(counts.fates) if outcome in ("kept", "stored")]
    groups: dict[str, list[Bar]] = {}
    for at, term in enumerate(report.audit.terms):
        table = counts.of_term(at)[1].sum(axis=0)
        if rows := int(table.sum()):
            left = int(table[good].sum())
            groups.setdefault(term.group, []).append(Bar(term.name, left, rows - left))
    if not groups:
        return '<p class="missing">No caption holds a word of the lists.</p>'
    cards = "".join(
        f'<article class="card"><h3>{for_html(group)}<span>captions of the list</span></h3>'
        f"{plots.bars(sorted(bars, key=lambda bar: -bar.rows)[:20], True)}</article>"
        for group, bars in groups.items()
    )
    legend = (
        '<ul class="legend"><li><i class="kept"></i>left after all filters</li>'
        '<li><i class="dropped"></i>lost to any</li></ul>'
    )
    return f'{legend}<div class="grid">{cards}</div>'


def _flagged(found: TermAudit) -> str:
    flagged = found.result.flagged
    tested = len(found.result.effects)
    if not flagged:
        return (
            f'<p class="missing">None of {count(tested)} pairs of filter and term stands out '
            f"at a false discovery rate of {FDR:.0%}.</p>"
        )
    more = f", the first {MAX_FLAGGED} shown" if len(flagged) > MAX_FLAGGED else ""
    head = (
        f'<h3 style="margin-top:1.8rem">{count(len(flagged))} of {count(tested)} tested pairs '
        f"stand out{more}</h3>{_axis()}"
    )
    return head + _forest(found, flagged[:MAX_FLAGGED], "out")


def _tested(found: TermAudit) -> str:
    rest = [effect for effect in found.result.effects if not effect.flagged]
    if not rest:
        return ""
    more = f" (the {MAX_TESTED} nearest to it)" if len(rest) > MAX_TESTED else ""
    return (
        f"<details><summary>{count(len(rest))} pairs that were tested and do not stand out{more}"
        f"</summary>{_axis()}{_forest(found, rest[:MAX_TESTED])}</details>"
    )


def _axis() -> str:
    return (
        '<p class="small dim" style="margin:.3rem 0 0">Share of the term after the filter over its '
        "share before; left of the middle line the filter "
        f"thins the term out. Bars are {LEVEL:.0%} intervals.</p>"
    )


def _forest(found: TermAudit, effects: list[Effect], kind: str = "") -> str:
    limit = plots.ratio_limit(end for e in effects for end in (e.ratio, e.low, e.high))
    items = [plots.ratio_axis(limit)]
    for effect in effects:
        term = for_html(found.terms[effect.term].name)
        name = for_html(found.filters[effect.filter].name.replace("_", " "))
        plot = plots.interval(effect.ratio, effect.low, effect.high, limit, f"{term} at {name}")
        said = (
            f"{effect.ratio:.2f} ({effect.low:.2f} to {effect.high:.2f}): drops "
            f"{percent(effect.lost, effect.rows)} of {count(effect.rows)} such captions, "
            f"{percent(effect.overall, 1)} of all"
        )
        items.append(
            f'<li class="{kind}"><span><b>{term}</b><br><span class="small">{name}</span></span>'
            f'{plot}<span class="small">{said}</span></li>'
        )
    return f'<ul class="forest">{"".join(items)}</ul>'


def _method(found: TermAudit) -> str:
    result = found.result
    drawn = (
        f"whole domains are drawn (an effective number of {result.domains:,.0f})"
        if result.by_domain
        else f"single rows are drawn, since fewer than {MIN_DOMAINS} domains carry the dataset "
        f"(an effective number of {result.domains:.1f}): captions of one site resemble each other, "
        "so the intervals are narrower than they should be"
    )
    together = (
        " Domains are many: they are drawn in groups by the hash of their name."
        if found.counts.grouped
        else ""
    )
    return f"""<details><summary>How this is counted</summary><div class="small dim">
<p>Each filter is judged by the rows that reached it: failures and opt-outs beside what was stored,
each rule beside what no earlier rule had dropped, since a row counts for the first that drops it.
A caption has a term if it holds one of its spellings as a whole word in any language of the list,
in Japanese anywhere in the text.</p>
<p>Intervals are percentile bootstrap (Efron 1979): {drawn}.{together} Each interval holds for
itself. With {count(len(result.effects))} pairs tested, some would leave 1 out by chance alone, so
those that stand out are chosen with the false discovery rate held at {FDR:.0%} over all of them
(Benjamini and Hochberg 1995): of the pairs shown as standing out, about one in twenty may be
chance. Pairs with fewer than {MIN_ROWS} captions, or with fewer than {MIN_EXPECTED} expected to be
dropped or to stay, were not tested: {count(result.untested)} of them. That a pair does not stand
out does not show that there is no effect.</p></div></details>"""
