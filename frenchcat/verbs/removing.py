"""Removing rows from an open dataset: at once, for good, undone before it is compacted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from frenchcat.only_one import only_one
from frenchcat.verbs.base import DatasetVerbs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from frenchcat.curate.removals import Request
    from frenchcat.curate.remove import Match, RemovalQuery
    from frenchcat.curate.stage import Progress


Agree = Callable[[Sequence["Match"]], bool]
"""Called with the rows that a removal names, before anything is removed."""


class RemovalVerbs(DatasetVerbs):
    """Remove rows, and find those that a removal names."""

    def matches(self, *, near: bool = False, **what: str | Path) -> list[Match]:
        """The rows that a removal would match, by one of url, domain, sha256, uid, key, like."""
        from frenchcat.curate.remove import matches

        asked_for = removal_query(what, near)
        return matches(
            self.dataset, asked_for, self._encode_image() if asked_for.by == "like" else None
        )

    def remove(
        self,
        *,
        near: bool = False,
        note: str = "",
        agree: Agree | None = None,
        **what: str | Path,
    ) -> Request | None:
        """Remove rows by one of url, domain, sha256, uid, key, like: they vanish at once, for good.

        `near` includes near-duplicates. `agree` is called with the rows first; if it returns false,
        nothing is removed and the result is None. `compact` deletes the bytes.
        """
        from frenchcat.curate.remove import remove

        asked_for = removal_query(what, near)
        with self.dataset.lock():
            found = self.matches(near=near, **what)
            if agree is not None and not agree(found):
                return None
            return remove(self.dataset, asked_for, found, note)

    def undo_removal(self, number: int, note: str = "") -> Request:
        """Undo a removal request before it is compacted; returns the request."""
        from frenchcat.curate.remove import undo

        with self.dataset.lock():
            return undo(self.dataset, number, note)

    def compact(self, *, progress: Progress | None = None) -> Mapping[str, int]:
        """Rewrite every file without the removed rows; returns counts of rows and shards."""
        from frenchcat import pipeline
        from frenchcat.curate.remove import compact

        stages = self.dataset.manifest().stages

        def remake(stale: bool) -> None:
            pipeline.made_anew(self.dataset, stages, progress, stale)

        with self.dataset.lock():
            return compact(self.dataset, progress, remake)

    def _encode_image(self) -> Callable[[Path], NDArray[np.float32]] | None:
        """The dataset's own model, as `matches` needs it; None if nothing is embedded."""
        from frenchcat.curate.embeddings import STAGE

        if STAGE not in self.dataset.manifest().stages:
            return None
        from frenchcat.curate.image import open_image
        from frenchcat.index.search import clip_of

        clip = clip_of(self.dataset)
        return lambda path: clip.encode_images([open_image(path)])[0]


def removal_query(what: Mapping[str, str | Path], near: bool) -> RemovalQuery:
    """The query of a removal by one of url, domain, sha256, uid, key, like. Raises `UserError`."""
    from frenchcat.curate.remove import KINDS, RemovalQuery

    by, value = only_one(what, "say what to remove", KINDS)
    return RemovalQuery(by, str(value), near)
