"""Semantic duplicates: pairs of vectors of high cosine, found without comparing all with all.

Reads vectors (an array or a memory-mapped file), writes nothing. A round sends every vector to the
nearest of a few pivots, vectors drawn by chance, and those of one pivot on to the nearest of some
of their own, until few enough are left to be compared all with all by one matrix product. A
near pair may be parted on the way; the next round draws other pivots. Rounds go on until the last
one has tied together almost nothing new (`LOST` of all that was), so easy data ends early.

Pivots are data: where vectors crowd, pivots crowd, and the leaves stay small. Vectors that almost
equal a pivot are tied to it and leave the round there, so that an image that was stored a hundred
thousand times costs no square.

Rounds know nothing of each other, so each core runs one of its own, on one thread: products of
this size lose more by waiting for the other cores than these bring, above all where other programs
hold them. torch multiplies, since its threads can be counted at run time, and numpy's cannot.

Cost: rounds x rows x (pivots x levels + leaf) x dimensions, that is rows x log(rows).
Memory: the vectors as they are given, and about 100 bytes per row and core.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.dedup.cluster import Edges, components, no_edges
from frenchcat.curate.threads import one_torch_thread

if TYPE_CHECKING:
    import torch

LOST = 0.001
"""Rounds end when one adds less than this part of all that was tied so far."""
ROUNDS = (4, 32)
"""At least, and at most."""
LEAF = 384
"""Vectors that are compared all with all; smaller parts pairs more often, larger costs more."""
PIVOTS = 64
_ALMOST = 64
"""A vector this many times closer to its pivot (in 1 - cosine) than the threshold asks leaves."""
_BLOCK = 8192  # rows turned into float32 at a time
_AT_ONCE = 8  # rounds, at most: each one begun in vain costs memory and work
_SEED = 20_191_112

Vectors = NDArray[np.float16] | NDArray[np.float32]


def near_vectors(
    vectors: Vectors, cosine: float, told: Callable[[int, int], None] | None = None
) -> Edges:
    """Edges that tie together unit vectors (N, D) whose cosine is at least `cosine`.

    Not every near pair is named: those tied through others already are left out. `told` hears
    after each round its number and how many ties it added.
    """
    rows = len(vectors)
    labels = np.arange(rows, dtype=np.int64)
    found = [no_edges()]
    tied = 0
    with contextlib.closing(_rounds(vectors, cosine)) as rounds:
        for number, edges in enumerate(rounds, 1):
            new = edges[labels[edges[:, 0]] != labels[edges[:, 1]]]
            before = _clusters(labels)
            labels = components(rows, new, labels)
            added = before - _clusters(labels)
            found.append(new)
            tied += added
            if told is not None:
                told(number, added)
            if rows <= LEAF or (number >= ROUNDS[0] and added <= LOST * tied):
                break
    return np.concatenate(found)


def _rounds(vectors: Vectors, cosine: float) -> Generator[Edges]:
    """The near pairs of each round, in order; each core runs a round; at most `ROUNDS` rounds."""
    at_once = 1 if len(vectors) <= LEAF else min(os.cpu_count() or 1, _AT_ONCE)
    stop: list[bool] = []

    def run(number: int) -> Edges:
        chance = np.random.default_rng((_SEED, number))
        return np.concatenate([no_edges(), *_round(vectors, cosine, chance, stop)])

    numbers = iter(range(1, ROUNDS[1] + 1))
    waiting: deque[Future[Edges]] = deque()
    with one_torch_thread(), ThreadPoolExecutor(at_once) as pool:
        try:
            waiting.extend(pool.submit(run, next(numbers)) for _ in range(at_once))
            while waiting:
                yield waiting.popleft().result()
                if (number := next(numbers, None)) is not None:
                    waiting.append(pool.submit(run, number))
        finally:
            stop.append(True)  # rounds begun in vain end at their next leaf


def _clusters(labels: NDArray[np.int64]) -> int:
    return int(np.count_nonzero(labels == np.arange(len(labels))))


def _round(
    vectors: Vectors, cosine: float, chance: np.random.Generator, stop: list[bool]
) -> Iterator[Edges]:
    """One descent of all rows from pivot to pivot, near pairs of each leaf."""
    waiting = [np.arange(len(vectors), dtype=np.int64)]
    almost = 1 - (1 - cosine) / _ALMOST
    while waiting and not stop:
        rows = waiting.pop()
        if len(rows) <= LEAF:
            yield _compared(vectors, rows, cosine)
            continue
        pivots = np.sort(chance.choice(rows, min(PIVOTS, -(-2 * len(rows) // LEAF)), replace=False))
        nearest, similarity = _nearest(vectors, rows, pivots)
        gone = (similarity >= almost) & (pivots[nearest] != rows)
        yield np.stack([pivots[nearest[gone]], rows[gone]], axis=1)
        stay, side = rows[~gone], nearest[~gone]
        order = np.argsort(side, kind="stable")
        waiting += np.split(stay[order], np.cumsum(np.bincount(side, minlength=len(pivots)))[:-1])


def _nearest(
    vectors: Vectors, rows: NDArray[np.int64], pivots: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For each row the number of its nearest pivot, and their cosine."""
    among = _float32(vectors, pivots).T
    nearest = np.empty(len(rows), np.int64)
    similarity = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _BLOCK):
        part = slice(start, start + _BLOCK)
        highest = (_float32(vectors, rows[part]) @ among).max(dim=1)
        nearest[part], similarity[part] = highest.indices.numpy(), highest.values.numpy()
    return nearest, similarity


def _float32(vectors: Vectors, rows: NDArray[np.int64]) -> torch.Tensor:
    import torch

    return torch.from_numpy(vectors[rows]).to(torch.float32)


def _compared(vectors: Vectors, rows: NDArray[np.int64], cosine: float) -> Edges:
    """Near pairs of a leaf, all compared with all; of a crowd only what ties it together."""
    x = _float32(vectors, rows)
    near = (x @ x.T >= cosine).fill_diagonal_(False)
    if not near.any():
        return no_edges()
    pairs = near.triu().nonzero().numpy()
    if len(pairs) > len(rows):
        labels = components(len(rows), pairs)
        pairs = np.stack([labels, np.arange(len(rows))], axis=1)[labels != np.arange(len(rows))]
    edges: Edges = rows[pairs]
    return edges
