"""The scores of `score_table.py`, each an instance of its class."""

from __future__ import annotations

from importlib import import_module

from frenchcat.curate.score.kinds import Score
from frenchcat.curate.score_table import BUILTIN


def _made(place: str) -> Score:
    module, _, name = place.partition(":")
    score: Score = getattr(import_module(f"frenchcat.curate.score.{module}"), name)()
    return score


SCORES = {name: _made(entry.place) for name, entry in BUILTIN.items()}
"""Name -> score."""
COLUMNS = {name: entry.columns for name, entry in BUILTIN.items()}
"""The columns of each score, in the order of the file."""
