"""Sends rows to their nearest pivots, without comparing every row with every pivot.

Reads sketches, writes nothing. faiss groups the pivots by the nearest of a few heads, which are
pivots too, and compares a row with all heads, then with the pivots of its nearest groups (an
inverted file, Jegou et al. 2011). What comes of it are almost always the nearest pivots; where they
are not, near rows still go the same way. Of equal pivots one counts: else those of an image that is
there a thousand times would be all that a row beside them is sent to.

Cost: rows x sqrt(pivots), on the threads that OpenMP gives the caller. Memory: a block of rows
beside the answer.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.dedup.sketches import Sketches

GROUPS = 2
"""Groups whose pivots a row is compared with, per nearest pivot that is asked for; and 4 more."""
_FEW = 256
"""Pivots with all of which every row is compared."""
_BLOCK = 16_384  # rows at a time

Rows = NDArray[np.int64]
Floats = NDArray[np.float32]


class Pivots:
    """Rows that others are sent to, (K,) `rows`, sorted."""

    def __init__(self, sketches: Sketches, chosen: Rows) -> None:
        """`chosen` are rows, sorted; of those whose sketches are equal the first is taken."""
        import faiss

        points = sketches.of(chosen).numpy()
        first = np.sort(np.unique(points, axis=0, return_index=True)[1])
        self.rows: Rows = chosen[first]
        self._sketches, points = sketches, points[first]
        groups = 1 if len(first) <= _FEW else math.isqrt(8 * len(first))
        heads = np.linspace(0, len(first) - 1, groups).astype(np.int64)
        self._quantizer = faiss.IndexFlatL2(points.shape[1])
        self._quantizer.add(points[heads])
        self._index = faiss.IndexIVFFlat(self._quantizer, points.shape[1], groups)
        self._index.is_trained = True  # the heads are given
        self._index.add(points)

    def __len__(self) -> int:
        return len(self.rows)

    def nearest(self, rows: Rows, count: int) -> tuple[Rows, Floats]:
        """(n, count) places in `rows` of the nearest pivots, the nearest first, -1 where there are
        too few; and (n,) the squared distance to the nearest.
        """
        self._index.nprobe = 4 + GROUPS * count
        places = np.empty((len(rows), count), np.int64)
        apart = np.empty(len(rows), np.float32)
        for start in range(0, len(rows), _BLOCK):
            part = slice(start, start + _BLOCK)
            squares, places[part] = self._index.search(self._sketches.of(rows[part]).numpy(), count)
            apart[part] = squares[:, 0]
        return places, apart


def split_by(places: Rows, rows: Rows, count: int) -> list[Rows]:
    """The rows of each of `count` places, in the order given."""
    order = np.argsort(places, kind="stable")
    return np.split(rows[order], np.cumsum(np.bincount(places, minlength=count))[:-1])
