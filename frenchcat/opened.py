"""An open dataset: search, read, judge, select from and clean it by method calls.

    cats = frenchcat.open("data/mine")
    cats.search("french cat", k=5)
    cats.rows(["key", "caption"], where="width >= 256")

Each method is one verb of the command line. Methods that write hold the dataset's lock while they
do; calling one again resumes what was interrupted. Nothing is loaded before it is needed.
"""

from __future__ import annotations

from pathlib import Path

from frenchcat.curate.dataset import Dataset
from frenchcat.verbs.deciding import DecisionVerbs
from frenchcat.verbs.rechecking import RecheckVerbs
from frenchcat.verbs.reporting import ReportVerbs
from frenchcat.verbs.selecting import SelectionVerbs
from frenchcat.verbs.stages import StageVerbs
from frenchcat.verbs.using import UseVerbs


def open(root: str | Path) -> OpenDataset:
    """Open the dataset at a local path or an fsspec address. Raises `NotFound` if there is none."""
    return OpenDataset(Dataset.open(root))


class OpenDataset(ReportVerbs, StageVerbs, DecisionVerbs, SelectionVerbs, RecheckVerbs, UseVerbs):
    """A dataset folder, as `frenchcat.open` returns it."""

    def __repr__(self) -> str:
        return f"frenchcat.open({self.root!r})"


__all__ = ["OpenDataset", "open"]
