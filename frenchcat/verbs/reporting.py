"""Reports about an open dataset: the page of all of it, and the audit of queries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from frenchcat.verbs.searching import SearchVerbs

if TYPE_CHECKING:
    from frenchcat.curate.config import Overrides
    from frenchcat.skews.report import SkewReport


class ReportVerbs(SearchVerbs):
    """Write pages about a dataset."""

    def report(
        self,
        out: str | Path | None = None,
        *,
        terms: Sequence[str] = (),
        set: Overrides = (),
    ) -> Path:
        """Write one HTML page about the dataset; returns its path."""
        from frenchcat.curate.config import as_overrides, changed, load_settings
        from frenchcat.curate.report.page import write_report
        from frenchcat.curate.report.settings import ReportSettings

        settings = load_settings(ReportSettings, overrides=as_overrides(set))
        settings = changed(settings, terms=(*settings.terms, *terms))
        return write_report(self.dataset, None if out is None else Path(out), settings)

    def skews(
        self,
        terms: Sequence[str] = ("occupations",),
        *,
        attributes: Sequence[str] = ("people", "places"),
        concepts: str | Path | None = None,
        k: int = 100,
        language: str = "en",
        template: str = "{}",
        where: str | None = None,
        duplicates: bool = False,
        run: str | Path | None = None,
        drawings: int = 16,
        rebalance: str | None = None,
        selection: str | None = None,
        bound: float = 5.0,
        replace: bool = False,
        out: str | Path | None = None,
        seed: int = 0,
    ) -> tuple[Path, SkewReport]:
        """Audit queries: what the results and drawings of each show, beside the base rates.

        `terms` and `attributes` are word lists; `concepts` is a file of prompts of your own.
        Returns the path of an HTML page, and what was measured. With `rebalance`, a selection of
        that name is written whose weights undo what stands out. See docs/answering.md. Raises
        `UserError` for a bad list, `NotFound` without an index, and `AlreadyThere` where another
        selection has the name, unless `replace` is true.
        """
        from frenchcat.curate.outputs import page_path, write_page
        from frenchcat.index.visible import View
        from frenchcat.skews.audit import audit_queries
        from frenchcat.skews.page import page
        from frenchcat.skews.rebalance import rebalanced
        from frenchcat.skews.request import SkewRequest

        request = SkewRequest(
            terms=tuple(terms),
            attributes=tuple(attributes),
            concepts=None if concepts is None else Path(concepts),
            k=k,
            language=language,
            template=template,
            view=View(where, duplicates=duplicates),
            run=None if run is None else Path(run),
            drawings=drawings,
            seed=seed,
        )
        path = page_path(self.dataset, None if out is None else Path(out), "skews")
        report = audit_queries(self.dataset, self.searcher(), request)
        if rebalance is not None:
            with self.dataset.lock():
                report = rebalanced(self.dataset, report, rebalance, selection, bound, replace)
        write_page(path, page(report), "--out")
        return path, report
