"""How far two rankings agree: pure functions of two lists of items, best first."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

PERSISTENCE = 0.9
"""Of rank-biased overlap: the first ten ranks carry 86 % of the weight (Webber et al., 4.2)."""


def overlap(one: Sequence[Hashable], other: Sequence[Hashable]) -> float:
    """The share of k items that two rankings of k items have in common, 0 to 1."""
    if not one or len(one) != len(other):
        raise ValueError(f"rankings of {len(one)} and {len(other)} items; give two of equal length")
    return len(set(one) & set(other)) / len(one)


def rank_biased_overlap(
    one: Sequence[Hashable], other: Sequence[Hashable], persistence: float = PERSISTENCE
) -> float:
    """Extrapolated rank-biased overlap of two rankings of equal length, 0 to 1.

    Equation 30 of Webber, Moffat & Zobel, "A similarity measure for indefinite rankings", ACM
    Trans. Inf. Syst. 28, 2010: the agreement at each depth, weighted by `persistence` to the
    depth's power, with the agreement at the last depth taken to go on. No item may stand in a
    ranking twice.
    """
    if not one or len(one) != len(other):
        raise ValueError(f"rankings of {len(one)} and {len(other)} items; give two of equal length")
    place = {item: at for at, item in enumerate(other)}
    met = np.zeros(len(one))  # items that the first d + 1 of both share, but not the first d
    for at, item in enumerate(one):
        if item in place:
            met[max(at, place[item])] += 1
    depth = np.arange(1, len(one) + 1)
    agreement = np.cumsum(met) / depth
    weights = persistence**depth
    summed = (1 - persistence) / persistence * float(agreement @ weights)
    return summed + float(agreement[-1] * weights[-1])
