"""Searching an open dataset: hits, facets, and the searcher behind them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frenchcat.verbs.reading import ReadVerbs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from frenchcat.curate.stage import Progress
    from frenchcat.index.publish import Published
    from frenchcat.index.search import Hit, Searcher
    from frenchcat.index.terms import Terms


class SearchVerbs(ReadVerbs):
    """Search a dataset's index."""

    _searcher: Searcher | None = None

    def search(
        self,
        query: str | None = None,
        *,
        image: str | Path | bytes | Image | None = None,
        vector: Sequence[float] | NDArray[np.floating[Any]] | None = None,
        terms: Terms | None = None,
        k: int = 10,
        by: str = "image",
        where: str | None = None,
        unsafe: bool = False,
        duplicates: bool = False,
        dropped: bool = False,
        hybrid: bool = False,
        min_similarity: float | None = None,
    ) -> list[Hit]:
        """The k rows nearest to a text, an image, a vector or weighted terms, nearest first.

        Hits whose cosine to the query is below `min_similarity` are left out. The index is opened
        at the first search, and again when a build or a compaction has replaced it. See
        `frenchcat.index.search.Searcher.query` for terms. Raises `NotFound` without an index,
        `BadCondition`, and `UserError` unless there is exactly one kind of query.
        """
        return self.searcher().query(
            text=query,
            picture=image,
            vector=vector,
            terms=terms,
            k=k,
            by=by,
            where=where,
            safe=not unsafe,
            duplicates=duplicates,
            dropped=dropped,
            hybrid=hybrid,
            min_similarity=min_similarity,
        )

    def facets(
        self,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        *,
        bins: int = 20,
        top: int = 10,
        unsafe: bool = False,
        duplicates: bool = False,
        dropped: bool = False,
    ) -> dict[str, dict[str, Any]]:
        """How the indexed rows that a search may find are spread over columns.

        Of numbers a histogram (`min`, `max`, `mean` and `bins`: `from`, `to`, `rows`), of texts
        the `top` most frequent `values` (`value`, `rows`), how many are `distinct`, and `others`;
        of both `rows` and `missing`. `columns` default to the usual ones. Raises `NotFound`
        without an index, `BadCondition` and `UnknownColumn`.
        """
        from frenchcat.index.service.column_values import ColumnValues, usual_of
        from frenchcat.index.visible import View

        searcher = self.searcher()
        mask = searcher.visible.mask(View(where, not unsafe, duplicates, dropped))
        positions = None if mask is None else mask.nonzero()[0]
        names = usual_of(self.columns()) if columns is None else columns
        return ColumnValues(searcher).facets(names, positions, bins, top)

    def publish(
        self, to: str, *, replace: bool = False, progress: Progress | None = None
    ) -> Published:
        """Bring what is published in a vector database up to date with the dataset.

        `to` is an address such as ``postgresql://user@host/db?table=cats``. `replace` deletes rows
        of another dataset that are there. See docs/publish.md. Raises `AlreadyThere`,
        `Unreachable`, `NoSpace` and `Unwritable`.
        """
        from frenchcat.index.publish import publish

        return publish(self.dataset, to, replace=replace, progress=progress)

    def searcher(self) -> Searcher:
        """The current index, open; the model stays loaded when the index is replaced."""
        from frenchcat.index.build import index_version
        from frenchcat.index.search import Searcher

        found = self._searcher
        if found is None or found.version != index_version(self.dataset):
            found = Searcher(self.dataset, None if found is None else found.loaded_clip())
            self._searcher = found
        return found
