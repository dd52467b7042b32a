"""The report's page: one HTML file that opens offline, without a script, beside the dataset.

`page` is a pure function of a gathered report (report.py); `write_report` puts it in place by a
rename.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.html_page import fact_list, framed
from frenchcat.curate.outputs import page_path, write_page
from frenchcat.curate.report import sections
from frenchcat.curate.report.audit_section import audit_section
from frenchcat.curate.report.plots import count
from frenchcat.curate.report.report import Report, make_report
from frenchcat.curate.report.settings import ReportSettings
from frenchcat.curate.report.thumbnails import ReportThumbnails
from frenchcat.curate.safe_text import for_html

Section = Callable[[Report, ReportThumbnails], str]
_SECTIONS: tuple[tuple[str, str, str, Section], ...] = (
    ("funnel", "Funnel", "From the list to what is kept", sections.funnel),
    ("kept", "Kept", "What is kept", sections.kept),
    ("lost", "Lost", "What was lost, and why", sections.lost),
    ("scores", "Scores", "Scores", sections.scores),
    ("made-of", "Made of", "Languages, licences, sizes", sections.made_of),
    ("rights", "Opt-outs", "Who opted out, and how", sections.rights),
    ("domains", "Domains", "Where it comes from", sections.domains),
    ("duplicates", "Duplicates", "Duplicates", sections.duplicates),
    ("audit", "Audit", "Whom the filters touch", audit_section),
)


def write_report(
    dataset: Dataset, path: Path | None = None, settings: ReportSettings | None = None
) -> Path:
    """Write the report's page; gives its path. By default it lies beside the dataset's folder.

    Not in it: the page holds images and captions, which a removal could not take back from
    there. Raises `UserError` where it cannot be written, lies inside a dataset, or would replace
    what is not a page.
    """
    settings = settings or ReportSettings()
    path = page_path(dataset, path, "report")
    report = make_report(dataset, settings)
    thumbnails = ReportThumbnails(dataset, int(settings.thumbnails_mb * 1e6), settings.blur_above)
    thumbnails.load(report.pictures())
    write_page(path, page(report, thumbnails), "--out")
    return path


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
