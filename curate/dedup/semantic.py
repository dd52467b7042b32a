"""Semantic duplicates: pairs of vectors of high cosine, found without comparing all with all.

Reads vectors (an array or a memory-mapped file), writes nothing. A round sends every vector to the
nearest of many pivots, vectors drawn by chance, and compares those of one pivot all with all by one
matrix product; where too many have the same pivot, they are sent on to pivots of their own. A near
pair may be parted on the way; the next round draws other pivots. Rounds go on until the last one
has tied together almost nothing new (`LOST` of all that was), so easy data ends early.

Rows are sent and compared by their sketches (sketches.py), which costs an eighth; only candidates'
vectors are compared themselves. There are so many pivots that one choice among them is enough: of
two choices, one within the other, each would part pairs of its own, and more of them the more rows
there are, which would take more rounds.

Pivots are data: where vectors crowd, pivots crowd, and the leaves stay small. Vectors that almost
equal a pivot are tied to it and leave the round there, so that an image that was stored a hundred
thousand times costs no square.

Rounds know nothing of each other, so each core runs one of its own, on one thread: products of
this size lose more by waiting for the other cores than these bring, above all where other programs
hold them. torch multiplies, since its threads can be counted at run time, and numpy's cannot.

Cost: rounds x rows x (sqrt(pivots) + leaf) x 64. Memory: 128 bytes per row, and about 60 per row
and core.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.dedup.cluster import Edges, components, no_edges
from frenchcat.curate.dedup.partition import split_by, to_pivots
from frenchcat.curate.dedup.sketches import Sketches, Vectors
from frenchcat.curate.threads import one_torch_thread

LOST = 0.001
"""Rounds end when one adds less than this part of all that was tied so far."""
ROUNDS = (4, 32)
"""At least, and at most."""
LEAF = 1024
"""Vectors that are compared all with all; smaller parts pairs more often, larger costs more."""
PIVOTS = 16_384
"""At most, in one choice."""
_ALMOST = 64
"""A vector this many times closer to its pivot (in 1 - cosine) than the threshold asks leaves."""
_BLOCK = 8192  # rows turned into float32 at a time
_AT_ONCE = 8  # rounds, at most: each one begun in vain costs memory and work
_SEED = 20_191_112


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
        return np.concatenate([no_edges(), *_round(sketches, cosine, chance, stop)])

    numbers = iter(range(1, ROUNDS[1] + 1))
    waiting: deque[Future[Edges]] = deque()
    with one_torch_thread(), ThreadPoolExecutor(at_once) as pool:
        sketches = Sketches(vectors)
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
    sketches: Sketches, cosine: float, chance: np.random.Generator, stop: list[bool]
) -> Iterator[Edges]:
    """One descent of all rows to their pivots, near pairs of each leaf."""
    waiting = [np.arange(len(sketches), dtype=np.int64)]
    almost = 1 - (1 - cosine) / _ALMOST
    while waiting and not stop:
        rows = waiting.pop()
        if len(rows) <= LEAF:
            yield _compared(sketches, rows, cosine)
            continue
        pivots = np.sort(chance.choice(rows, min(PIVOTS, -(-2 * len(rows) // LEAF)), replace=False))
        nearest, apart = to_pivots(sketches, rows, pivots)
        at = np.flatnonzero((apart <= sketches.limit(almost)) & (pivots[nearest] != rows))
        at = at[cosines(sketches, pivots[nearest[at]], rows[at]) >= almost]
        yield np.stack([pivots[nearest[at]], rows[at]], axis=1)
        stay = np.ones(len(rows), bool)
        stay[at] = False
        rows, side = rows[stay], nearest[stay]
        waiting += [part for part in split_by(side, rows, len(pivots)) if len(part) > 1]


def cosines(
    sketches: Sketches, left: NDArray[np.int64], right: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Of the vectors of rows, (n,) float32, pair by pair."""
    found = np.empty(len(left), np.float32)
    for start in range(0, len(left), _BLOCK):
        part = slice(start, start + _BLOCK)
        found[part] = (sketches.full(left[part]) * sketches.full(right[part])).sum(dim=1).numpy()
    return found


def _compared(sketches: Sketches, rows: NDArray[np.int64], cosine: float) -> Edges:
    """Near pairs of a leaf, all compared with all; of a crowd only what ties it together."""
    if len(rows) < 2:
        return no_edges()
    rows = rows[_may_have_near(sketches, rows, cosine)]
    if not len(rows):
        return no_edges()
    x = sketches.full(rows)
    near = (x @ x.T >= cosine).fill_diagonal_(False)
    return tied(rows, near.triu().nonzero().numpy())


def tied(rows: NDArray[np.int64], pairs: NDArray[np.int64]) -> Edges:
    """The pairs of places as pairs of rows; of a crowd only what ties it together."""
    if len(pairs) > len(rows):
        labels = components(len(rows), pairs)
        pairs = np.stack([labels, np.arange(len(rows))], axis=1)[labels != np.arange(len(rows))]
    edges: Edges = rows[pairs]
    return edges


def _may_have_near(sketches: Sketches, rows: NDArray[np.int64], cosine: float) -> NDArray[np.bool_]:
    """Which rows are candidates: another one of them has a sketch that is near enough."""
    import torch

    x = sketches.of(rows)
    half = x.square().sum(dim=1, keepdim=True) / 2
    one = torch.ones_like(half)
    # Minus half the squared distance, by one product.
    near = torch.cat([x, half, one], dim=1) @ torch.cat([x, -one, -half], dim=1).T
    near.fill_diagonal_(-torch.inf)
    found: NDArray[np.bool_] = (near.amax(dim=1) >= sketches.limit(cosine) / -2).numpy()
    return found
