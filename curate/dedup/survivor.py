"""A cluster of duplicates -> the row that stays, by stated rules in order.

Reads and writes nothing. What a rule leaves undecided, the next decides; the first key decides
what all of them leave. Cost: one sort of the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.dedup.settings import Rule


def survivors(
    labels: NDArray[np.int64], qualities: Mapping[Rule, NDArray[Any]], rules: Sequence[Rule]
) -> NDArray[np.int64]:
    """Row -> the row of its cluster that stays, (N,) int64; rows are in the order of their keys.

    `labels` name the clusters; `qualities` give for each rule but ``key`` a number per row, the
    highest wins, NaN loses to any.
    """
    rows = np.arange(len(labels), dtype=np.int64)
    columns: list[NDArray[Any]] = [labels]
    for rule in rules:
        if rule == "key":
            break  # decides everything
        quality = qualities[rule].astype(np.float64)
        columns.append(-np.where(np.isnan(quality), -np.inf, quality))
    order = np.lexsort([rows, *reversed(columns)])
    _, first = np.unique(labels[order], return_index=True)
    winner = np.empty(len(labels), np.int64)
    best = order[first]
    winner[labels[best]] = best
    chosen: NDArray[np.int64] = winner[labels]
    return chosen
