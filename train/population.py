"""What a plan must know about a training set: how often each row is drawn, and what goes
together in a batch.

Made once from a selection's rows, kept as three arrays that are memory-mapped, so that a set of
100,000,000 rows opens in milliseconds and costs no memory::

    order.npy     (N,) int64    row numbers by bucket, then by shard; missing: 0 … N-1
    weights.npy   (N + 1,) int64  running sum of the weights in that order, in units of 2^-20;
                                missing: every weight is 1
    segments.npy  (S, 3) int64  bucket, first place, place after the last, of a shard in a bucket

Weights are fixed-point numbers, so that their sums are exact whatever the machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ONE = 1 << 20
"""A weight of 1."""
Places = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Population:
    """The rows of a training set, as draws."""

    rows: int
    segments: Places  # (S, 3): bucket, first place, place after the last
    order: Places | None = None  # (N,) row of each place; None: place = row
    weights: Places | None = None  # (N + 1,) running sums; None: all 1

    @classmethod
    def of(
        cls,
        shards: Places,
        weights: NDArray[np.float64] | None = None,
        buckets: Places | None = None,
    ) -> Population:
        """Make it from each row's shard number, weight (None: 1 each) and bucket (None: a single
        one).

        Raises ValueError for no rows, or a weight that is negative, not finite or above 2^20.
        """
        if not len(shards):
            raise ValueError("a training set without rows")
        group = np.zeros(len(shards), np.int64) if buckets is None else buckets
        order: Places | None = None
        if bool((np.diff(group) < 0).any() or (np.diff(shards) < 0).any()):
            order = np.lexsort((np.arange(len(shards)), shards, group))
            shards, group = shards[order], group[order]
        new = (np.diff(shards) != 0) | (np.diff(group) != 0)
        edges = np.concatenate([[0], np.flatnonzero(new) + 1, [len(shards)]])
        segments = np.stack([group[edges[:-1]], edges[:-1], edges[1:]], axis=1)
        return cls(len(shards), segments, order, _running(weights, order))

    def save(self, folder: Path) -> None:
        """Write the arrays into a folder, replacing those that are there."""
        np.save(folder / "segments.npy", self.segments)
        for name in ("order", "weights"):
            values = getattr(self, name)
            (folder / f"{name}.npy").unlink(missing_ok=True)
            if values is not None:
                np.save(folder / f"{name}.npy", values)

    @classmethod
    def open(cls, folder: Path) -> Population:
        """Map the arrays that `save` wrote."""
        segments = np.load(folder / "segments.npy")
        there = {
            name: np.load(folder / f"{name}.npy", mmap_mode="r")
            for name in ("order", "weights")
            if (folder / f"{name}.npy").exists()
        }
        return cls(int(segments[-1, 2]), segments, there.get("order"), there.get("weights"))

    def sums(self, places: Places) -> Places:
        """The sum of weights of all places before each of `places`, in units of 1/ONE."""
        found: Places = places * ONE if self.weights is None else self.weights[places]
        return found

    def places(self, points: Places) -> Places:
        """The place whose weight contains each point of the running sum."""
        if self.weights is None:
            return points // ONE
        return np.searchsorted(self.weights, points, side="right") - 1

    def row_numbers(self, places: Places) -> Places:
        """Places -> rows of the selection."""
        return places if self.order is None else np.asarray(self.order[places])


def _running(weights: NDArray[np.float64] | None, order: Places | None) -> Places | None:
    if weights is None or bool((weights == 1).all()):
        return None
    if not bool(np.isfinite(weights).all()) or weights.min() < 0 or weights.max() > ONE:
        raise ValueError("weights must be finite, at least 0, and at most 2^20")
    fixed = np.rint(weights * ONE).astype(np.int64)
    if not fixed.any():
        raise ValueError("every weight is 0: there is nothing to train on")
    return np.concatenate([[0], np.cumsum(fixed if order is None else fixed[order])])
