"""A dataset's report: everything that the page shows, gathered.

Reads a dataset through DuckDB and its tars, writes nothing (page.py does). The page is bounded
whatever the dataset's size: numbers are aggregates, images a fixed number. Cost: some thirty
passes over the columns named, one over the captions. Memory: no list of rows; what DuckDB holds of
joins and groups is bounded, and the rest lies in temporary files (connections.py).
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.manifest import Manifest
from frenchcat.curate.report import gather, histograms
from frenchcat.curate.report.audit import TermAudit, audit_terms
from frenchcat.curate.report.examples import ExampleImage, Examples
from frenchcat.curate.report.outcomes import kept_sql, open_outcomes
from frenchcat.curate.report.settings import ReportSettings
from frenchcat.curate.report.terms import load_terms


@dataclass(frozen=True)
class Report:
    """What is in a dataset, what was dropped, and whom that touched."""

    manifest: Manifest
    judged: bool  # whether there are verdicts
    outcomes: dict[str, int]
    reasons: list[gather.ReasonCount]
    kept: list[ExampleImage]
    scores: list[histograms.Histogram]
    sizes: list[histograms.Histogram]
    heat: dict[tuple[int, int], int]
    languages: list[gather.Bar]
    licences: list[gather.Bar]
    opt_outs: list[gather.SignalCounts] | None
    sites: list[gather.SiteCounts]
    domains: int
    duplicates: gather.Duplicates | None
    audit: TermAudit

    @property
    def rows(self) -> int:
        """Rows of the list; the outcomes sum to it."""
        return sum(self.outcomes.values())

    def pictures(self) -> list[ExampleImage]:
        """All that the page shows, the most telling first."""
        found = [*self.kept]
        found += [picture for reason in self.reasons for picture in reason.pictures]
        if self.duplicates is not None:
            shown = (*self.duplicates.shown, *self.duplicates.contradicting)
            found += [each for cluster in shown for each in cluster.members]
        found += [each for score in self.scores for each in (*score.least, *score.greatest)]
        return found + [each for site in self.sites for each in site.pictures]


def make_report(dataset: Dataset, settings: ReportSettings | None = None) -> Report:
    """Gather a dataset's report. Raises `UserError` where nothing was downloaded."""
    settings = settings or ReportSettings()
    terms = load_terms(settings.terms)
    manifest = dataset.manifest()
    with (
        tempfile.TemporaryDirectory(prefix="frenchcat-report-") as spill,
        open_outcomes(dataset, Path(spill)) as catalog,
    ):
        examples = Examples(catalog)
        cards, domains = gather.sites(catalog, examples, settings.blur_above)
        return Report(
            manifest=manifest,
            judged=kept_sql(catalog) is not None,
            outcomes=gather.outcome_counts(catalog),
            reasons=gather.lost_by_reason(catalog, examples),
            kept=gather.kept_images(examples, catalog),
            scores=histograms.score_histograms(catalog, examples),
            sizes=histograms.size_histograms(catalog),
            heat=gather.sizes(catalog),
            languages=gather.languages(catalog),
            licences=gather.licences(catalog),
            opt_outs=gather.opt_outs(catalog),
            sites=cards,
            domains=domains,
            duplicates=gather.duplicates(catalog, examples),
            audit=audit_terms(catalog, terms, manifest, settings),
        )
