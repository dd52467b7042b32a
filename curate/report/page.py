"""The report's page: one HTML file that opens offline, without a script.

A pure function of a gathered report; frame.py says what the page may do.
"""

from __future__ import annotations

from collections.abc import Callable

from frenchcat.curate.report import cards, sections
from frenchcat.curate.report.audit_section import audit_section
from frenchcat.curate.report.frame import fact_list, framed
from frenchcat.curate.report.plots import count
from frenchcat.curate.report.report import Report
from frenchcat.curate.report.thumbnails import ReportThumbnails
from frenchcat.curate.safe_text import for_html

Section = Callable[[Report, ReportThumbnails], str]
_SECTIONS: tuple[tuple[str, str, str, Section], ...] = (
    ("funnel", "Funnel", "From the list to what is kept", sections.funnel),
    ("kept", "Kept", "What is kept", sections.kept),
    ("lost", "Lost", "What was lost, and why", sections.lost),
    ("scores", "Scores", "Scores", sections.scores),
    ("made-of", "Made of", "Languages, licences, sizes", sections.made_of),
    ("rights", "Opt-outs", "Who opted out, and how", cards.rights),
    ("domains", "Domains", "Where it comes from", cards.domains),
    ("duplicates", "Duplicates", "Duplicates", cards.duplicates),
    ("audit", "Audit", "Whom the filters touch", audit_section),
)


def page(report: Report, thumbnails: ReportThumbnails) -> str:
    """The whole page."""
    name = for_html(report.manifest.name)
    return framed(
        f"{name} - report",
        name,
        "What is in this dataset, what was lost, and whom that\ntouched.",
        _facts(report),
        ((a, short, title, make(report, thumbnails)) for a, short, title, make in _SECTIONS),
        "Made by frenchcat report. The page is complete: it asks for nothing from anywhere. It "
        "holds\nimages and captions of the dataset: after a removal, delete it and make it "
        "again.",
    )


def _facts(report: Report) -> str:
    manifest = report.manifest
    facts = [("rows in the list", report.rows)]
    stored = sum(report.outcomes[name] for name in ("dropped", "stored", "kept"))
    facts.append(("images stored", stored))
    if report.judged:
        facts.append(("kept", report.outcomes["kept"] + report.outcomes["stored"]))
    facts.append(("domains" if report.domains != 1 else "domain", report.domains))
    for stage, counted, name in (("embed", "embedded", "embedded"), ("index", "image", "indexed")):
        if stage in manifest.stages:
            facts.append((name, manifest.entry(stage).counts.get(counted, 0)))
    model = manifest.entry("embed").setting("model")
    return fact_list(
        ((name, count(rows)) for name, rows in facts), for_html(str(model)) if model else ""
    )
