"""Decisions by hand about rows of an open dataset."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from frenchcat.verbs.base import DatasetVerbs

if TYPE_CHECKING:
    from frenchcat.curate.decisions import Decision


class DecisionVerbs(DatasetVerbs):
    """Keep or drop rows, whatever the rules of the verdicts say."""

    def keep(
        self, keys: str | Iterable[str] = (), *, where: str | None = None, note: str = ""
    ) -> Decision:
        """Keep rows whatever the rules of the verdicts say; by keys, or all that meet a condition.

        Logged, and undone by `undo_decision`. Search and new selections follow at once. Removed
        rows stay removed, those without a vector dropped. Raises `NotFound` for a key that is no
        stored image's, `BadCondition`, and `UserError` where no row is named.
        """
        return self._decide(True, keys, where, note)

    def drop(
        self, keys: str | Iterable[str] = (), *, where: str | None = None, note: str = ""
    ) -> Decision:
        """Drop rows whatever the rules of the verdicts say; their reason is `by_hand`.

        As `keep`. Nothing is deleted: `remove` takes rows out for good.
        """
        return self._decide(False, keys, where, note)

    def decisions(self) -> list[Decision]:
        """What was kept and dropped by hand, in order; those that undo others among them."""
        from frenchcat.curate.decisions import decisions

        return decisions(self.dataset)

    def undo_decision(self, number: int, note: str = "") -> Decision:
        """Take a decision back: the rules say again what becomes of its rows; gives it."""
        from frenchcat.curate.decisions import undo
        from frenchcat.curate.verdict.stage import judge_again

        with self.dataset.lock():
            found = undo(self.dataset, number, note)
            judge_again(self.dataset)
        return found

    def _decide(
        self, keep: bool, keys: str | Iterable[str], where: str | None, note: str
    ) -> Decision:
        from frenchcat.curate.catalog import Catalog
        from frenchcat.curate.decisions import decide, named
        from frenchcat.curate.verdict.stage import judge_again

        def matching(condition: str) -> list[str]:
            with Catalog(self.dataset) as catalog:
                catalog.add_for(condition)
                return catalog.keys(condition)

        chosen = named(keys, where, matching)
        with self.dataset.lock():
            made = decide(self.dataset, keep, chosen, note)
            judge_again(self.dataset)
        return made
