"""Relations between rows -> clusters: union-find over whole arrays.

Reads and writes nothing. Every relation counts alike, and is followed from row to row: in a chain
of near-copies the ends may be less alike than the threshold says. The alternative, clusters in
which every pair is near, has no single answer and changes when rows are added.

Cost: a few passes over rows and edges, for each doubling of the longest chain.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Edges = NDArray[np.int64]
"""(E, 2) row numbers that belong together; in any order, repeats allowed."""


def no_edges() -> Edges:
    """None."""
    return np.empty((0, 2), np.int64)


def components(rows: int, edges: Edges, labels: NDArray[np.int64] | None = None) -> Edges:
    """Row -> the smallest row number of its cluster, (rows,) int64.

    `labels` are such labels from other edges, onto which these are put.
    """
    found = np.arange(rows, dtype=np.int64) if labels is None else labels.copy()
    while len(edges):
        ends = np.sort(found[edges], axis=1)
        edges = ends[ends[:, 0] != ends[:, 1]]  # roots only, from here on
        np.minimum.at(found, edges[:, 1], edges[:, 0])
        while not np.array_equal(nearer := found[found], found):
            found = nearer
    return found


def merged(labels: NDArray[np.int64], edges: Edges) -> tuple[NDArray[np.int64], Edges]:
    """The labels with `edges` put onto them, and the edges that said anything new."""
    new = edges[labels[edges[:, 0]] != labels[edges[:, 1]]]
    return (components(len(labels), new, labels) if len(new) else labels), new


def stars(codes: NDArray[np.int64]) -> Edges:
    """Edges that tie every row to the first row of the same code; negative codes tie nothing."""
    rows = np.flatnonzero(codes >= 0)
    _, first, inverse = np.unique(codes[rows], return_index=True, return_inverse=True)
    edges = np.stack([rows[first[inverse]], rows], axis=1).astype(np.int64)
    kept: Edges = edges[edges[:, 0] != edges[:, 1]]
    return kept


def sizes(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Row -> how many rows its cluster has."""
    counts: NDArray[np.int64] = np.bincount(labels, minlength=len(labels))[labels]
    return counts
