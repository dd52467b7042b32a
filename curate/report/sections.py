"""Sections of the report's page about its rows: funnel, what is kept and lost, scores, make-up.

Pure functions. Where a stage was not run, a section is one line that says which command makes it.
Every text that comes from a list or from the web goes through `for_html`.
"""

from __future__ import annotations

from collections.abc import Iterable

from frenchcat.curate.failures import OPTED_OUT
from frenchcat.curate.report import plots
from frenchcat.curate.report.examples import ExampleImage
from frenchcat.curate.report.gather import ReasonCount
from frenchcat.curate.report.histograms import Histogram
from frenchcat.curate.report.plots import Step, count, percent
from frenchcat.curate.report.report import Report
from frenchcat.curate.report.thumbnails import ReportThumbnails
from frenchcat.curate.safe_text import for_html

NAMES = {
    "kept": "kept",
    "stored": "stored, not judged",
    "dropped": "dropped by a rule",
    "opted_out": "opted out",
    "failed": "failed",
    "removed": "removed on request",
}


def missing(what: str, verb: str) -> str:
    """The line in place of what was not made."""
    return f'<p class="missing">{what} <code>frenchcat {verb} DATASET</code></p>'


def lead(text: str) -> str:
    """A section's first line."""
    return f'<p class="lead">{text}</p>'


def pictures(
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
    said = lead("Each step holds the rows that are left; beside it, what is lost on the way down.")
    if not report.judged:
        said += missing("No verdicts yet: nothing is dropped. Make them:", "verdict")
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
        return lead("Nothing is left: see below which reason took it.")
    return lead("A few, by chance.") + pictures(thumbnails, report.kept, "gallery")


def lost(report: Report, thumbnails: ReportThumbnails) -> str:
    """Failures as bars, rules with images."""
    if not report.reasons:
        return lead("Nothing: every row of the list is here.")
    rules = [reason for reason in report.reasons if reason.outcome == "dropped"]
    others = [reason for reason in report.reasons if reason.outcome != "dropped"]
    parts = [lead("Every row that is not kept has one reason: the first that applied.")]
    if rules:
        cards = "".join(_rule(report, thumbnails, rule) for rule in rules)
        parts.append(f'<div class="grid wide">{cards}</div>')
    elif report.judged:
        parts.append(lead("The verdict's rules dropped nothing."))
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
        f"{pictures(thumbnails, rule.pictures, 'four')}</article>"
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
        return missing("No scores yet. Make them:", "score")
    said = "Each with images from its low and its high end. The first and last bins also hold "
    said += "what lies beyond them, at most 1 % of the images."
    cards = "".join(_histogram(thumbnails, score, report.judged) for score in report.scores)
    return lead(said) + _kept_legend(report) + f'<div class="grid wide">{cards}</div>'


def _kept_legend(report: Report) -> str:
    return legend("kept", "dropped") if report.judged else legend("stored")


def legend(*outcomes: str) -> str:
    """Which colour is what."""
    items = "".join(f'<li><i class="{name}"></i>{NAMES[name]}</li>' for name in outcomes)
    return f'<ul class="legend">{items}</ul>'


def _histogram(thumbnails: ReportThumbnails, found: Histogram, judged: bool) -> str:
    kept = found.kept if judged else None
    plot = plots.histogram(found.name, found.counts, kept, found.low, found.high)
    gone = f"<span>{count(found.missing)} without</span>" if found.missing else ""
    ends = ""
    if found.least or found.greatest:
        low, high = (pictures(thumbnails, side) for side in (found.least, found.greatest[::-1]))
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
        cards.append(("Languages of the captions", missing("Not known yet:", "score")))
    if report.licences:
        cards.append(("Licences", plots.bars(report.licences, report.judged, stored)))
    else:
        text = "Neither the list nor the rights ledger says anything. The ledger is written by:"
        cards.append(("Licences", missing(text, "download")))
    if report.heat:
        cards.append(("Widths and heights of the originals, pixels", plots.heat_map(report.heat)))
    html = "".join(
        f'<article class="card"><h3>{title}</h3>{body}</article>' for title, body in cards
    )
    html += "".join(_histogram(thumbnails, each, report.judged) for each in report.sizes)
    return (
        lead("Of the stored images.") + _kept_legend(report) + f'<div class="masonry">{html}</div>'
    )
