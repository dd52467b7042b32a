"""Raking: weights that move the shares of attributes within groups to targets, within bounds.

A pure function of arrays. Iterative proportional fitting (Deming & Stephan, Ann. Math. Stat. 11,
1940): each margin in turn multiplies the weights of its members and of the others in its group so
that the share is the target and the group's sum stays; then the next. Weights are cut to the bounds
after each step (Deville & Särndal, J. Am. Stat. Assoc. 87, 1992, case of bounded distances), so a
target that the bounds do not allow is missed, and `reached` says by how much.

Cost: sweeps x the sizes of the groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SWEEPS = 500
TOLERANCE = 1e-4
"""Of a share: smaller changes end the sweeps."""


@dataclass(frozen=True)
class Margin:
    """Of the rows of a group, the members shall have so large a share of the weight."""

    group: NDArray[np.int64]  # (g,) rows
    member: NDArray[np.bool_]  # (g,)
    target: float


@dataclass(frozen=True)
class Raked:
    """Weights, and the share that each margin has with them."""

    weights: NDArray[np.float64]  # (N,)
    reached: NDArray[np.float64]  # (margins,)

    @property
    def effective(self) -> float:
        """Kish's effective number of rows: (sum w)^2 / sum w^2."""
        return float(self.weights.sum() ** 2 / (self.weights**2).sum())


def rake(weights: NDArray[np.float64], margins: Sequence[Margin], bound: float) -> Raked:
    """Weights (N,) that meet the margins, each within 1/bound to bound times what it was.

    A margin that all or no rows of its group are members of cannot move, and is left as it is.
    """
    made = weights.astype(np.float64).copy()
    low, high = made / bound, made * bound
    before = shares_of(made, margins)
    for _ in range(SWEEPS):
        for margin in margins:
            _fit(made, margin, low, high)
        reached = shares_of(made, margins)
        if not len(margins) or np.abs(reached - before).max() < TOLERANCE:
            break
        before = reached
    return Raked(made, shares_of(made, margins))


def shares_of(weights: NDArray[np.float64], margins: Sequence[Margin]) -> NDArray[np.float64]:
    """(margins,) the members' share of their group's weight; 0 for a group without weight."""
    sums = [(weights[m.group[m.member]].sum(), weights[m.group].sum()) for m in margins]
    return np.array([part / whole if whole else 0.0 for part, whole in sums])


def _fit(
    weights: NDArray[np.float64],
    margin: Margin,
    low: NDArray[np.float64],
    high: NDArray[np.float64],
) -> None:
    members, others = margin.group[margin.member], margin.group[~margin.member]
    part, rest = weights[members].sum(), weights[others].sum()
    if not part or not rest:
        return
    for rows, now, target in (
        (members, part, margin.target),
        (others, rest, 1 - margin.target),
    ):
        scaled = weights[rows] * (target * (part + rest) / now)
        weights[rows] = np.clip(scaled, low[rows], high[rows])
