"""The selections of an open dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from frenchcat.verbs.base import DatasetVerbs

if TYPE_CHECKING:
    from frenchcat.selected import OpenSelection


class SelectionVerbs(DatasetVerbs):
    """Freeze rows under a name."""

    def select(
        self,
        name: str,
        where: str | None = None,
        *,
        limit: int | None = None,
        balance: str | None = None,
        weight: str | None = None,
        label: str | None = None,
        seed: int = 0,
        replace: bool = False,
        licences: Sequence[str] = (),
    ) -> OpenSelection:
        """Freeze the rows that meet a condition under a name.

        `licences` keeps only rows that state one of them: "CC BY" (every version), CC0-1.0.
        Raises `BadCondition`, `UnknownColumn`, `UserError` if no row meets the condition, and
        `AlreadyThere` if another selection has the name, unless `replace` is true.
        """
        from frenchcat.curate.select import Choice, of_licences, select
        from frenchcat.selected import OpenSelection

        where = of_licences(where, licences)
        with self.dataset.lock():
            choice = Choice(where, limit, balance, weight, seed, label)
            return OpenSelection(self.dataset, select(self.dataset, name, choice, replace))

    def selection(self, name: str) -> OpenSelection:
        """A frozen selection. Raises `NotFound`."""
        from frenchcat.curate.select import open_selection
        from frenchcat.selected import OpenSelection

        return OpenSelection(self.dataset, open_selection(self.dataset, name))

    def selections(self) -> list[str]:
        """The names of the selections."""
        from frenchcat.curate.select import names

        return names(self.dataset)
