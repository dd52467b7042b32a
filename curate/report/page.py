"""The report's page: one HTML file that opens offline, without a script.

A pure function of a gathered report. The page asks for nothing: style and pictures are in it, and
its content security policy forbids everything else, scripts included, should a caption's text ever
slip through the escaping.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files

from frenchcat.curate.report import cards, sections
from frenchcat.curate.report.audit_section import audit_section
from frenchcat.curate.report.plots import count
from frenchcat.curate.report.report import Report
from frenchcat.curate.report.thumbnails import ReportThumbnails
from frenchcat.curate.safe_text import for_html

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
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
    parts = "\n".join(
        f'<section id="{anchor}" aria-labelledby="h-{anchor}"><h2 id="h-{anchor}">{title}</h2>'
        f"{make(report, thumbnails)}</section>"
        for anchor, _, title, make in _SECTIONS
    )
    links = "".join(f'<li><a href="#{anchor}">{short}</a></li>' for anchor, short, *_ in _SECTIONS)
    style = files("frenchcat.curate.report").joinpath("style.css").read_text(encoding="utf-8")
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="referrer" content="no-referrer">
<title>{name} - report</title>
<link rel="icon" href="data:,">
<style>{style}</style></head>
<body>
<header><h1>{name}</h1>
<p class="dim" style="margin:.3rem 0 0">What is in this dataset, what was lost, and whom that
touched.</p>
{_facts(report)}</header>
<nav aria-label="Sections"><ul>{links}</ul></nav>
<main>
{parts}
</main>
<footer>Made by frenchcat report. The page is complete: it asks for nothing from anywhere. It holds
pictures and captions of the dataset: after a removal, delete it and make it again.</footer>
</body></html>
"""


def _facts(report: Report) -> str:
    manifest = report.manifest
    facts = [("rows in the list", report.rows)]
    stored = sum(report.outcomes[name] for name in ("dropped", "stored", "kept"))
    facts.append(("pictures stored", stored))
    if report.judged:
        facts.append(("kept", report.outcomes["kept"] + report.outcomes["stored"]))
    facts.append(("domains" if report.domains != 1 else "domain", report.domains))
    for stage, counted, name in (("embed", "embedded", "embedded"), ("index", "image", "indexed")):
        if stage in manifest.stages:
            facts.append((name, manifest.entry(stage).counts.get(counted, 0)))
    items = "".join(f"<div><dt>{name}</dt><dd>{count(rows)}</dd></div>" for name, rows in facts)
    model = manifest.entry("embed").setting("model")
    said = f'<p class="dim small">Vectors by {for_html(str(model))}.</p>' if model else ""
    return f'<dl class="facts">{items}</dl>{said}'
