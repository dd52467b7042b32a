"""Sections of the report's page made of cards: opt-out signals, domains, duplicate clusters.

Pure functions, as those of sections.py.
"""

from __future__ import annotations

from frenchcat.curate.failures import OPTED_OUT
from frenchcat.curate.report import plots
from frenchcat.curate.report.clusters import Cluster, Duplicates
from frenchcat.curate.report.gather import Bar
from frenchcat.curate.report.outcomes import OUTCOMES
from frenchcat.curate.report.plots import count, percent
from frenchcat.curate.report.report import Report
from frenchcat.curate.report.sections import NAMES, lead, legend, missing, pictures
from frenchcat.curate.report.sites import SiteCounts
from frenchcat.curate.report.thumbnails import ReportThumbnails
from frenchcat.curate.safe_text import for_html
from frenchcat.curate.urls import domain_of


def rights(report: Report, _: ReportThumbnails) -> str:
    """Signals that say no, and that say yes."""
    if report.opt_outs is None:
        return missing("No rights ledger: it is written while fetching, by", "download")
    if not report.opt_outs:
        return lead("No row that was fetched carries a signal for or against its use.")
    said = lead(
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
        return lead("The list is empty.")
    said = f"{count(report.domains)} in all; the {count(len(report.sites))} with the most rows."
    if report.domains <= len(report.sites):
        said = "All of them." if report.domains > 1 else "All rows come from one."
    there = [n for n in ("kept", "stored", "dropped", OPTED_OUT, "failed", "removed")
             if any(site.outcomes[n] for site in report.sites)]  # fmt: skip
    cards = "".join(_site(thumbnails, site, report.judged) for site in report.sites)
    return lead(said) + legend(*there) + f'<div class="grid">{cards}</div>'


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
        f"{pictures(thumbnails, site.pictures, 'four')}</article>"
    )


def duplicates(report: Report, thumbnails: ReportThumbnails) -> str:
    """How many of each kind, and clusters side by side."""
    found = report.duplicates
    if found is None:
        return missing("Duplicates were not looked for yet. Find them:", "dedup")
    if not found.duplicates:
        return lead(f"None among {count(found.rows)} images.")
    said = lead(
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
