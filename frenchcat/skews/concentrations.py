"""From how few domains and clusters of duplicates the results of a query come.

Compared with as many rows drawn at random. Cost: CHANCE draws per audit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.statistics import effective
from frenchcat.skews.report import Concentration
from frenchcat.skews.request import Query
from frenchcat.skews.rows import BaseRows
from frenchcat.skews.shares import (
    effective_by_chance,
)

CHANCE = 20_000
"""Random draws that a concentration is compared with."""


def chances_of(
    rows: BaseRows, k: int, random: np.random.Generator
) -> dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Kind -> the groups of all rows, and effective numbers of k rows drawn at random."""
    groups = {"domains": rows.domains}
    if rows.clusters is not None:
        groups["clusters"] = rows.clusters
    return {
        kind: (of_rows, effective_by_chance(of_rows, k, CHANCE, random))
        for kind, of_rows in groups.items()
        if len(np.unique(of_rows)) not in (1, len(of_rows))
    }


def concentrations_of(
    query: Query,
    rows: BaseRows,
    places: NDArray[np.int64],
    chances: dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]],
) -> list[Concentration]:
    """The concentrations of a query's results; `chances` are those of `chances_of`."""
    made = []
    for kind, (groups, chance) in chances.items():
        _, sizes = np.unique(groups[places], return_counts=True)
        found = effective(sizes)
        # One-sided: few sources are the question. The least p is 1 / (CHANCE + 1).
        fewer = int(np.searchsorted(chance, found * (1 + 1e-9), side="right"))
        low, high = np.quantile(chance, [0.025, 0.975])
        p = (1 + fewer) / (1 + len(chance))
        made.append(Concentration(query.name, kind, found, float(low), float(high), p))
    return made
