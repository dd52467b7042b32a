"""Sections of the report's page: funnel, what is kept and lost, scores, make-up, sites, duplicates.

Pure functions. Where a stage was not run, a section is one line that says which command makes it.
Every text that comes from a list or from the web goes through `for_html`.
"""

from __future__ import annotations

from collections.abc import Iterable

from frenchcat.curate.failures import OPTED_OUT
from frenchcat.curate.report import plots
from frenchcat.curate.report.examples import ExampleImage
from frenchcat.curate.report.gather import Bar, Cluster, Duplicates, ReasonCount, SiteCounts
from frenchcat.curate.report.histograms import Histogram
from frenchcat.curate.report.outcomes import OUTCOMES
from frenchcat.curate.report.plots import Step, count, percent
from frenchcat.curate.report.report import Report
from frenchcat.curate.report.thumbnails import ReportThumbnails
from frenchcat.curate.safe_text import for_html
from frenchcat.curate.urls import domain_of

NAMES = {
    "kept": "kept",
    "stored": "stored, not judged",
    "dropped": "dropped by a rule",
    "opted_out": "opted out",
    "failed": "failed",
    "removed": "removed on request",
}


def _missing(what: str, verb: str) -> str:
    """The line in place of what was not made."""
    return f'<p class="missing">{what} <code>frenchcat {verb} DATASET</code></p>'


def _lead(text: str) -> str:
    """A section's first line."""
    return f'<p class="lead">{text}</p>'


def _pictures(
    thumbnails: ReportThumbnails, found: Iterable[ExampleImage], kind: str = "", note: str = ""
) -> str:
    """A row of images."""
    figures = "".join(thumbnails.figure(picture, note) for picture in found)
    return f'<div class="pictures {kind}">{figures}</div>' if figures else ""


def funnel(report: Report, _: ReportThumbnails) -> str:
    """From URLs to what is kept."""
    outcomes = report.outcomes
    rows, steps = report.rows, []
    names = {
        "failed": "rows in the list",
        OPTED_OUT: "answered with an image",
        "removed": "may be stored",
        "dropped": "not removed on request",
    }
    for outcome, name in names.items():
        if outcome == "removed" and not outcomes["removed"]:
            names["dropped"] = "may be stored"
            continue
        steps.append(Step(name, rows, outcome, _lost_here(report, outcome)))
        rows -= outcomes[outcome]
    steps.append(Step("kept" if report.judged else "stored", rows))
    said = _lead("Each step holds the rows that are left; beside it, what is lost on the way down.")
    if not report.judged:
        said += _missing("No verdicts yet: nothing is dropped. Make them:", "verdict")
    return said + plots.funnel(steps)


def _lost_here(report: Report, outcome: str) -> str:
    lost = report.outcomes[outcome]
    if not lost:
        return ""
    reasons = [reason for reason in report.reasons if reason.outcome == outcome]
    named = ", ".join(f"{_short(reason)} {count(reason.rows)}" for reason in reasons[:4])
    more = ", …" if len(reasons) > 4 else ""
    detail = "" if outcome == "removed" else f"<br>{named}{more}"
    return f'<i class="dot {outcome}"></i><b>- {count(lost)}</b> {NAMES[outcome]}{detail}'


def _short(reason: ReasonCount) -> str:
    return for_html(reason.reason.removeprefix(f"{OPTED_OUT}:").replace("_", " "))


def kept(report: Report, thumbnails: ReportThumbnails) -> str:
    """Some of it, by chance."""
    if not report.kept:
        return _lead("Nothing is left: see below which reason took it.")
    return _lead("A few, by chance.") + _pictures(thumbnails, report.kept, "gallery")


def lost(report: Report, thumbnails: ReportThumbnails) -> str:
    """Failures as bars, rules with images."""
    if not report.reasons:
        return _lead("Nothing: every row of the list is here.")
    rules = [reason for reason in report.reasons if reason.outcome == "dropped"]
    others = [reason for reason in report.reasons if reason.outcome != "dropped"]
    parts = [_lead("Every row that is not kept has one reason: the first that applied.")]
    if rules:
        cards = "".join(_rule(report, thumbnails, rule) for rule in rules)
        parts.append(f'<div class="grid wide">{cards}</div>')
    elif report.judged:
        parts.append(_lead("The verdict's rules dropped nothing."))
    cards = "".join(
        _failures(outcome, [reason for reason in others if reason.outcome == outcome])
        for outcome in ("failed", OPTED_OUT, "removed")
    )
    return "".join([*parts, f'<div class="masonry" style="margin-top:1.1rem">{cards}</div>'])


def _rule(report: Report, thumbnails: ReportThumbnails, rule: ReasonCount) -> str:
    verdict = report.manifest.entry("verdict")
    judged = verdict.counts.get("rows", 0)
    sql = {str(name): str(text) for name, text in verdict.setting("rules", [])}
    alone = verdict.counts.get(f"alone.{rule.reason}")
    said = []
    if rule.reason in sql:
        said.append(f"<code>{for_html(sql[rule.reason])}</code>")
    if alone is not None:
        said.append(f"alone it would drop {count(alone)}")
    share = f" ({percent(rule.rows, judged)})" if judged else ""
    return (
        f'<article class="card"><h3>{_short(rule)}<span>{count(rule.rows)}{share}</span></h3>'
        f'<div class="small dim">{"; ".join(said)}</div>'
        f"{_pictures(thumbnails, rule.pictures, 'four')}</article>"
    )


def _failures(outcome: str, reasons: list[ReasonCount]) -> str:
    if not reasons:
        return ""
    longest = max(reason.rows for reason in reasons)
    items = "".join(
        f'<li><span class="label">{_short(reason)}</span><span class="track">'
        f'<i class="{outcome}" style="width:{100 * reason.rows / longest:.2f}%"></i></span>'
        f'<span class="n">{count(reason.rows)}</span>'
        f'<span class="small dim detail">{"<br>".join(map(for_html, reason.details))}</span></li>'
        for reason in reasons
    )
    total = count(sum(reason.rows for reason in reasons))
    return (
        f'<article class="card"><h3>{NAMES[outcome].capitalize()}<span>{total}</span></h3>'
        f'<ul class="bars">{items}</ul></article>'
    )


def scores(report: Report, thumbnails: ReportThumbnails) -> str:
    """One histogram per score, with images from both ends."""
    if not report.scores:
        return _missing("No scores yet. Make them:", "score")
    said = "Each with images from its low and its high end. The first and last bins also hold "
    said += "what lies beyond them, at most 1 % of the images."
    cards = "".join(_histogram(thumbnails, score, report.judged) for score in report.scores)
    return _lead(said) + _kept_legend(report) + f'<div class="grid wide">{cards}</div>'


def _kept_legend(report: Report) -> str:
    return _legend("kept", "dropped") if report.judged else _legend("stored")


def _legend(*outcomes: str) -> str:
    """Which colour is what."""
    items = "".join(f'<li><i class="{name}"></i>{NAMES[name]}</li>' for name in outcomes)
    return f'<ul class="legend">{items}</ul>'


def _histogram(thumbnails: ReportThumbnails, found: Histogram, judged: bool) -> str:
    kept = found.kept if judged else None
    plot = plots.histogram(found.name, found.counts, kept, found.low, found.high)
    gone = f"<span>{count(found.missing)} without</span>" if found.missing else ""
    ends = ""
    if found.least or found.greatest:
        low, high = (_pictures(thumbnails, side) for side in (found.least, found.greatest[::-1]))
        ends = f'<div class="ends">{low}{high}</div>'
    return (
        f'<article class="card"><h3>{for_html(found.name)}{gone}</h3>'
        f'<div class="small dim">{for_html(found.said)}</div>{plot}{ends}</article>'
    )


def made_of(report: Report, thumbnails: ReportThumbnails) -> str:
    """Languages, licences, sizes."""
    stored = report.rows - sum(report.outcomes[name] for name in ("failed", OPTED_OUT, "removed"))
    cards = []
    if report.languages:
        cards.append(
            ("Languages of the captions", plots.bars(report.languages, report.judged, stored))
        )
    else:
        cards.append(("Languages of the captions", _missing("Not known yet:", "score")))
    if report.licences:
        cards.append(("Licences", plots.bars(report.licences, report.judged, stored)))
    else:
        text = "Neither the list nor the rights ledger says anything. The ledger is written by:"
        cards.append(("Licences", _missing(text, "download")))
    if report.heat:
        cards.append(("Widths and heights of the originals, pixels", plots.heat_map(report.heat)))
    html = "".join(
        f'<article class="card"><h3>{title}</h3>{body}</article>' for title, body in cards
    )
    html += "".join(_histogram(thumbnails, each, report.judged) for each in report.sizes)
    return (
        _lead("Of the stored images.") + _kept_legend(report) + f'<div class="masonry">{html}</div>'
    )


def rights(report: Report, _: ReportThumbnails) -> str:
    """Signals that say no, and that say yes."""
    if report.opt_outs is None:
        return _missing("No rights ledger: it is written while fetching, by", "download")
    if not report.opt_outs:
        return _lead("No row that was fetched carries a signal for or against its use.")
    said = _lead(
        "What headers, the sites' files and the images themselves say about use for AI, read "
        "while fetching. A row may carry several; one is named as the reason it was not stored."
    )
    most = max(max(s.opt_out, s.allow, s.lost) for s in report.opt_outs) or 1
    cards = []
    for each in report.opt_outs:
        bars = "".join(
            f'<div class="small dim">{name} <b>{count(rows)}</b></div>'
            f"{plots.stacked({kind: rows, 'rest': most - rows})}"
            for name, rows, kind in (
                ("says no in rows:", each.opt_out, "opted_out"),
                ("says yes in rows:", each.allow, "kept"),
            )
            if rows
        )
        cards.append(
            f'<article class="card"><h3>{for_html(each.signal.replace("_", " "))}'
            f"<span>{count(each.lost)} not stored</span></h3>{bars}</article>"
        )
    return said + f'<div class="grid">{"".join(cards)}</div>'


def domains(report: Report, thumbnails: ReportThumbnails) -> str:
    """A card each of the largest."""
    if not report.sites:
        return _lead("The list is empty.")
    said = f"{count(report.domains)} in all; the {count(len(report.sites))} with the most rows."
    if report.domains <= len(report.sites):
        said = "All of them." if report.domains > 1 else "All rows come from one."
    there = [n for n in ("kept", "stored", "dropped", OPTED_OUT, "failed", "removed")
             if any(site.outcomes[n] for site in report.sites)]  # fmt: skip
    cards = "".join(_site(thumbnails, site, report.judged) for site in report.sites)
    return _lead(said) + _legend(*there) + f'<div class="grid">{cards}</div>'


def _site(thumbnails: ReportThumbnails, site: SiteCounts, judged: bool) -> str:
    left = site.outcomes["kept"] + site.outcomes["stored"]
    facts = [("kept" if judged else "stored", percent(left, site.rows))]
    for outcome in (OPTED_OUT, "failed"):
        if site.outcomes[outcome]:
            facts.append((NAMES[outcome], percent(site.outcomes[outcome], site.rows)))
    for name, rows in (("duplicates", site.duplicates), ("unsafe", site.unsafe)):
        if rows is not None:
            facts.append((name, percent(rows, site.stored)))
    chips = "".join(f"<li><b>{value}</b> {name}</li>" for name, value in facts)
    why = ", ".join(
        f"{for_html(reason.removeprefix(f'{OPTED_OUT}:').replace('_', ' '))} {count(rows)}"
        for reason, rows in site.reasons
    )
    bar = plots.stacked({name: site.outcomes[name] for name in reversed(OUTCOMES)})
    return (
        f'<article class="card"><h3>{for_html(site.domain[:80] or "no host")}'
        f"<span>{count(site.rows)} rows</span></h3>{bar}"
        f'<ul class="chips">{chips}</ul><div class="small dim">{why and f"lost to {why}"}</div>'
        f"{_pictures(thumbnails, site.pictures, 'four')}</article>"
    )


def duplicates(report: Report, thumbnails: ReportThumbnails) -> str:
    """How many of each kind, and clusters side by side."""
    found = report.duplicates
    if found is None:
        return _missing("Duplicates were not looked for yet. Find them:", "dedup")
    if not found.duplicates:
        return _lead(f"None among {count(found.rows)} images.")
    said = _lead(
        f"{count(found.duplicates)} of {count(found.rows)} images "
        f"({percent(found.duplicates, found.rows)}) are stood for by another. The framed one stays."
    )
    kinds = [Bar(kind, rows) for kind, rows in found.kinds.items()]
    cards = "".join(
        f'<article class="card"><h3>{title}</h3>{body}</article>'
        for title, body in (
            ("What ties them", plots.bars(kinds, False, found.duplicates)),
            ("Clusters by size", plots.bars(plots.sizes_of(found.sizes), False)),
        )
    )
    shown = "".join(_cluster(thumbnails, cluster) for cluster in found.shown)
    return (
        said + f'<div class="grid wide">{cards}</div>'
        '<h3 style="margin:1.6rem 0 .8rem">Of each kind the largest clusters, then some by chance'
        f'</h3><div class="grid">{shown}</div>{_contradicted(found, thumbnails)}'
    )


def _contradicted(found: Duplicates, thumbnails: ReportThumbnails) -> str:
    """Images of which rows say different things, each beside where it is from."""
    if not found.contradicted:
        return ""
    cards = []
    for cluster in found.contradicting:
        figures = "".join(
            thumbnails.figure(member, f"{domain_of(member.url) or 'no host'}:")
            for member in cluster.members
        )
        cards.append(
            f'<article class="card"><h3><span>also seen as</span><span>{count(cluster.rows)} rows'
            f'</span></h3><div class="pictures">{figures}</div></article>'
        )
    return (
        '<h3 style="margin:1.6rem 0 .2rem">Out of context</h3><p class="lead">'
        f"{count(found.contradicted)} rows show an image of which another row says something else: "
        "a caption that is far from theirs, or another year. Which of them is right is not known."
        f'</p><div class="grid">{"".join(cards)}</div>'
    )


def _cluster(thumbnails: ReportThumbnails, cluster: Cluster) -> str:
    figures = "".join(
        thumbnails.figure(
            member, str(member.value or "stays") + ":", "" if member.value else "stays"
        )
        for member in cluster.members
    )
    kinds = "".join(
        f'<span class="tag">{for_html(kind)}</span>'
        for kind in sorted({str(member.value) for member in cluster.members if member.value})
    )
    more = cluster.rows - len(cluster.members)
    also = f'<div class="small dim">and {count(more)} more</div>' if more > 0 else ""
    return (
        f'<article class="card"><h3><span>{kinds}</span><span>{count(cluster.rows)} alike</span>'
        f'</h3><div class="pictures">{figures}</div>{also}</article>'
    )
