"""A map of a dataset: 2-D positions at which similar images are near each other.

Reads an index's stored image vectors, writes nothing: a map is made when first viewed and kept in
memory with the version of the index. Linear in rows except for the neighbours (quadratic), with at
most MOST rows; a larger dataset is represented by that many rows, drawn evenly and always the same.

The start are the first two principal components. Then, as in UMAP (McInnes et al. 2018,
arXiv:1802.03426, eq. 16 and 17 with a = b = 1), each row is pulled towards its nearest neighbours
and pushed away from random rows. Here all rows move at once, by the mean of their forces, which
takes a few numpy calls per epoch. Not implemented: UMAP's fuzzy edge weights; all edges weigh the
same.

The same vectors give the same map. What is near on the map is near in the model; a large distance
says little.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from frenchcat.index.search import Positions, Searcher

Rows = NDArray[np.float32]  # (n, D)
Places = NDArray[np.float32]  # (n, 2), within -1 to 1
MOST = 10_000
NEIGHBOURS = 12
COMPONENTS = 64  # of the vectors, used to find neighbours
EPOCHS = 200
DRAWN = 12  # rows that push each row per epoch
PUSH = 5.0  # pushes per pull; UMAP's negative samples per edge
CLOSE = 1e-3  # keeps the push finite; UMAP's epsilon


@dataclass(frozen=True)
class Map:
    """Rows of an index and their places."""

    rows: Positions  # (n,) positions in the index, ascending
    places: Places  # (n, 2)


class LazyMap:
    """A map that is made once, for the first caller."""

    def __init__(self, make: Callable[[], Map]) -> None:
        self._make, self._lock = make, Lock()
        self._made: Map | None = None

    def get(self) -> Map:
        """The map; other callers wait while it is made."""
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made


def made_of(searcher: Searcher) -> Map:
    """The map of a searcher's images."""
    return map_of(np.arange(len(searcher)), searcher.vectors)


def map_of(rows: Positions, vectors: Callable[[Positions, str], Rows]) -> Map:
    """The map of rows, of `MOST` drawn by chance where there are more, by their image vectors."""
    if len(rows) > MOST:
        rows = np.sort(np.random.default_rng(0).choice(rows, MOST, replace=False))
    return Map(rows, places_of(vectors(rows, "image")))


def places_of(vectors: Rows) -> Places:
    """(n, D) vectors -> (n, 2) places."""
    if len(vectors) < 3:
        return np.linspace(-0.5, 0.5, 2 * len(vectors), dtype=np.float32).reshape(-1, 2)
    reduced = principal(vectors, COMPONENTS)
    start = reduced[:, :2] / max(float(reduced[:, :2].std()), 1e-9) * len(vectors) ** 0.25
    edges = neighbours(reduced, min(NEIGHBOURS, len(vectors) - 1))
    return _scaled(_settled(start, edges, np.random.default_rng(0)))


def principal(vectors: Rows, components: int) -> Rows:
    """(n, D) vectors -> (n, c) principal components with fixed signs."""
    centred = vectors - vectors.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)  # ascending
    axes = axes[:, ::-1][:, :components]
    axes *= np.where(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])] < 0, -1, 1)
    found = np.asarray(centred @ axes, np.float32)
    return found if found.shape[1] > 1 else np.pad(found, ((0, 0), (0, 1)))


def neighbours(vectors: Rows, count: int) -> NDArray[np.int64]:
    """(e, 2) pairs of rows of which one is among the other's nearest, each pair once."""
    import faiss

    index = faiss.IndexFlatL2(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors))
    _, found = index.search(np.ascontiguousarray(vectors), count + 1)
    pairs = np.column_stack([np.repeat(np.arange(len(vectors)), count + 1), found.reshape(-1)])
    pairs = np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1)
    return np.asarray(np.unique(pairs, axis=0))


def _settled(start: Places, edges: NDArray[np.int64], rng: np.random.Generator) -> Places:
    """The places at which pulls and pushes balance."""
    at = start.astype(np.float32)
    ends = np.concatenate([edges, edges[:, ::-1]])
    degrees = np.maximum(np.bincount(ends[:, 0], minlength=len(at)), 1)[:, None]
    for epoch in range(EPOCHS):
        apart = at[ends[:, 0]] - at[ends[:, 1]]
        pulls = apart * (-2 / (1 + _squares(apart)))
        pull = np.column_stack(
            [np.bincount(ends[:, 0], pulls[:, axis], minlength=len(at)) for axis in (0, 1)]
        )
        apart = at[:, None] - at[rng.integers(len(at), size=(len(at), DRAWN))]  # (n, drawn, 2)
        squares = _squares(apart)
        pushes = np.clip(apart * (2 / ((CLOSE + squares) * (1 + squares))), -4, 4)
        move = pull / degrees + PUSH * pushes.mean(axis=1)
        at += np.float32(1 - epoch / EPOCHS) * np.asarray(move, np.float32) / 2
    return at


def _squares(apart: Places) -> NDArray[np.float32]:
    return np.asarray((apart * apart).sum(axis=-1, keepdims=True))


def _scaled(at: Places) -> Places:
    """Centre the places and scale them: nearly all lie within 1, outliers are clipped to it."""
    at = np.asarray(at - np.median(at, axis=0), np.float32)
    reach = max(float(np.quantile(np.abs(at), 0.998)), 1e-9)
    return np.asarray(np.clip(at / reach, -1, 1), np.float32)
