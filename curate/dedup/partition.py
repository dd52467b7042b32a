"""Sends rows to the nearest of many pivots, without comparing every row with every pivot.

Reads sketches, writes nothing. Pivots are grouped by the nearest of a few heads, which are pivots
too. A row is compared with all heads, and then with the pivots of its `BEAM` nearest groups. What
comes of it is almost always the nearest pivot; where it is not, near rows still go the same way.

Cost: rows x sqrt(pivots). Memory: a block of rows beside the answer, 12 bytes per row.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.dedup.sketches import Sketches

BEAM = 4
_FEW = 192
"""Pivots with all of which every row is compared."""
_BLOCK = 32_768  # rows at a time

Rows = NDArray[np.int64]
Floats = NDArray[np.float32]


def to_pivots(sketches: Sketches, rows: Rows, pivots: Rows) -> tuple[Rows, Floats]:
    """For each row the place of its nearest pivot among `pivots`, and their squared distance."""
    nearest = np.empty(len(rows), np.int64)
    apart = np.empty(len(rows), np.float32)
    send = _Flat(sketches, pivots) if len(pivots) <= _FEW else _Grouped(sketches, pivots)
    for start in range(0, len(rows), _BLOCK):
        part = slice(start, start + _BLOCK)
        nearest[part], apart[part] = send(rows[part])
    return nearest, apart


def split_by(places: Rows, rows: Rows, count: int) -> list[Rows]:
    """The rows of each of `count` places, in the order given."""
    order = np.argsort(places, kind="stable")
    return np.split(rows[order], np.cumsum(np.bincount(places, minlength=count))[:-1])


class _Flat:
    """Compares every row with every pivot."""

    def __init__(self, sketches: Sketches, pivots: Rows) -> None:
        self._sketches = sketches
        self._pivots = sketches.of(pivots)
        self._half = self._pivots.square().sum(dim=1) / -2

    def __call__(self, rows: Rows) -> tuple[Rows, Floats]:
        import torch

        x = self._sketches.of(rows)
        best = torch.addmm(self._half, x, self._pivots.T).max(dim=1)
        return best.indices.numpy(), (x.square().sum(dim=1) - 2 * best.values).numpy()


class _Grouped:
    """Compares every row with the heads of all groups and the pivots of the nearest ones."""

    def __init__(self, sketches: Sketches, pivots: Rows) -> None:
        import torch

        self._sketches = sketches
        heads = np.linspace(0, len(pivots) - 1, math.isqrt(BEAM * len(pivots))).astype(np.int64)
        # Of heads that are equal one alone has pivots; the others would lead rows nowhere.
        chosen, group = np.unique(_Flat(sketches, pivots[heads])(pivots)[0], return_inverse=True)
        self._heads = sketches.of(pivots[heads[chosen]])
        self._head_half = self._heads.square().sum(dim=1) / -2
        self._places = split_by(group, np.arange(len(pivots)), len(chosen))
        self._groups = [sketches.of(pivots[places]) for places in self._places]
        self._halves = [each.square().sum(dim=1) / -2 for each in self._groups]
        self._torch = torch

    def __call__(self, rows: Rows) -> tuple[Rows, Floats]:
        torch = self._torch
        x = self._sketches.of(rows)
        beam = min(BEAM, len(self._heads))
        near = torch.addmm(self._head_half, x, self._heads.T).topk(beam, dim=1).indices
        of_row = np.repeat(np.arange(len(rows)), beam)
        members = split_by(near.flatten().numpy(), of_row, len(self._groups))
        place = np.zeros(len(rows), np.int64)
        score = np.full(len(rows), -np.inf, np.float32)
        for group, here in enumerate(members):  # a row is once in a group
            if not len(here):
                continue
            products = torch.addmm(
                self._halves[group], x[torch.from_numpy(here)], self._groups[group].T
            )
            best = products.max(dim=1)
            values = best.values.numpy()
            better = values > score[here]
            taken = here[better]
            score[taken] = values[better]
            place[taken] = self._places[group][best.indices.numpy()[better]]
        return place, x.square().sum(dim=1).numpy() - 2 * score
