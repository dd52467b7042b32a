"""Semantic duplicates: pairs of vectors of high cosine, found without comparing all with all.

Reads vectors (an array or a memory-mapped file), writes nothing. A round draws pivots by chance,
one per `CELL` vectors. Every vector is a member of its nearest pivot's cell, and is compared with
the members of its `PROBES` nearest pivots' cells, by one matrix product per cell (an inverted file,
Jegou et al. 2011). A near pair is missed where neither is in a cell that the other looks into; the
next round draws other pivots. Rounds go on until the last one has tied together almost nothing new
(`LOST` of all that was): two or three, whatever the number of rows.

Rows are sent and compared by their sketches (sketches.py), which costs an eighth; only candidates'
vectors are compared themselves.

Pivots are data: where vectors crowd, pivots crowd, and the cells stay small. Vectors that almost
equal a pivot are tied to it and leave the round there, so that an image that was stored a hundred
thousand times costs no square.

After an addition new rows alone look into cells, into `ADDED_PROBES`, in one round.

Rounds know nothing of each other, so each core runs one of its own, on one thread: products of
this size lose more by waiting for the other cores than these bring, above all where other programs
hold them. torch multiplies, since its threads can be counted at run time, and numpy's cannot.

Cost: rounds x rows x (sqrt(pivots) + probes x cell) x 64. Memory: `memory_bytes`.
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

from frenchcat.curate.dedup.cluster import Edges, components, merged, no_edges
from frenchcat.curate.dedup.partition import Pivots, Rows, split_by
from frenchcat.curate.dedup.sketches import Sketches, Vectors
from frenchcat.curate.threads import one_torch_thread

if TYPE_CHECKING:
    import torch

LOST = 0.001
"""Rounds end when one adds less than this part of all that was tied so far."""
ROUNDS = (2, 16)
"""At least, and at most."""
CELL = 160
"""Vectors per pivot."""
PIVOTS = 16_384
"""At most."""
PROBES = 4
ADDED_PROBES = 32
EXHAUSTIVE = 10_000_000
"""Pairs that are compared one and all."""
_ALMOST = 64
"""A vector this many times closer to its pivot (in 1 - cosine) than the threshold asks leaves."""
_BLOCK = 4096  # rows compared at a time
_AT_ONCE = 8  # rounds, at most: each one begun in vain costs memory and work
_ROWS_AT_ONCE = 20_000_000  # of all rounds
_SKETCH_BYTES, _ROUND_BYTES = 128, 150  # per row; the second of each round at work
_SEED = 20_191_112

Told = Callable[[int, int], None]


def memory_bytes(rows: int, dimension: int, cores: int) -> int:
    """What `near_vectors` takes of so many rows, with their vectors in float16, in bytes.

    The vectors may be a memory-mapped file, whose pages are given back; they are counted here.
    """
    return rows * (2 * dimension + _SKETCH_BYTES + _ROUND_BYTES * _at_once(rows, cores))


def near_vectors(
    vectors: Vectors,
    cosine: float,
    told: Told | None = None,
    added: NDArray[np.bool_] | None = None,
) -> Edges:
    """Edges that tie together unit vectors (N, D) whose cosine is at least `cosine`.

    Not every near pair is named: those tied through others already are left out. With `added` (N,)
    only pairs of which one at least is added count; others may be named, too. `told` hears after
    each round its number and how many ties it added.
    """
    rows = len(vectors)
    labels = np.arange(rows, dtype=np.int64)
    found = [no_edges()]
    tied = 0
    seekers = labels if added is None else np.flatnonzero(added)
    exhaustive = len(seekers) * rows <= EXHAUSTIVE
    with contextlib.closing(_rounds(vectors, cosine, seekers, exhaustive)) as rounds:
        for number, edges in enumerate(rounds, 1):
            before = _clusters(labels)
            labels, new = merged(labels, edges)
            ties = before - _clusters(labels)
            found.append(new)
            tied += ties
            if told is not None:
                told(number, ties)
            if exhaustive or added is not None:
                break
            if number >= ROUNDS[0] and ties <= LOST * tied:
                break
    return np.concatenate(found)


def _at_once(rows: int, cores: int) -> int:
    """Rounds at work at a time, each on a core."""
    return min(cores, _AT_ONCE, max(1, _ROWS_AT_ONCE // max(rows, 1)))


def _clusters(labels: NDArray[np.int64]) -> int:
    return int(np.count_nonzero(labels == np.arange(len(labels))))


def _rounds(vectors: Vectors, cosine: float, seekers: Rows, exhaustive: bool) -> Generator[Edges]:
    """The near pairs of each round, in order; each core runs a round; at most `ROUNDS` rounds."""
    import faiss

    rows = len(vectors)
    whole = len(seekers) == rows and not exhaustive
    at_once = _at_once(rows, os.cpu_count() or 1) if whole else 1
    stop: list[bool] = []

    def run(number: int) -> Edges:
        faiss.omp_set_num_threads(1)  # of this thread
        chance = np.random.default_rng((_SEED, number))
        edges = _round(sketches, cosine, seekers, chance, stop)
        return np.concatenate([no_edges(), *edges])

    numbers = iter(range(1, ROUNDS[1] + 1))
    waiting: deque[Future[Edges]] = deque()
    with one_torch_thread(), ThreadPoolExecutor(at_once) as pool:
        sketches = Sketches(vectors, project=not exhaustive)
        if exhaustive:
            yield _compared(sketches, cosine, seekers, np.setdiff1d(np.arange(rows), seekers))
            return
        try:
            waiting.extend(pool.submit(run, next(numbers)) for _ in range(at_once))
            while waiting:
                yield waiting.popleft().result()
                if (number := next(numbers, None)) is not None:
                    waiting.append(pool.submit(run, number))
        finally:
            stop.append(True)  # rounds begun in vain end at their next cell


def _round(
    sketches: Sketches,
    cosine: float,
    seekers: Rows,
    chance: np.random.Generator,
    stop: list[bool],
) -> Iterator[Edges]:
    """The near pairs of each cell of one draw of pivots."""
    every = np.arange(len(sketches), dtype=np.int64)
    count = min(PIVOTS, -(-len(every) // CELL))
    almost = 1 - (1 - cosine) / _ALMOST
    drawn = np.sort(chance.choice(every, count, replace=False))
    pivots = Pivots(sketches, drawn)
    whole = len(seekers) == len(every)
    near, apart = pivots.nearest(every, PROBES if whole else 1)
    home = near[:, 0]
    at = np.flatnonzero((apart <= sketches.limit(almost)) & (pivots.rows[home] != every))
    at = at[_cosines(sketches, pivots.rows[home[at]], at) >= almost]
    yield np.stack([pivots.rows[home[at]], at], axis=1)
    stays = np.ones(len(every), bool)
    stays[at] = False
    seeks = np.zeros(len(every), bool)
    seeks[seekers] = True
    seekers = seekers[stays[seekers]]
    probed = near[seekers] if whole else pivots.nearest(seekers, ADDED_PROBES)[0]
    cells = [split_by(home[each], each, len(pivots)) for each in (seekers, every[stays & ~seeks])]
    for own, old, visitors in zip(
        *cells, _visitors(probed, home[seekers], seekers, len(pivots)), strict=True
    ):
        if stop:
            return
        yield _compared(sketches, cosine, own, old, visitors)


def _visitors(probed: Rows, home: Rows, seekers: Rows, count: int) -> list[Rows]:
    """For each place the rows that look into it, those at home there left out."""
    # Not all but the first: of more places that are asked for, another may be found the nearest.
    away = (probed >= 0) & (probed != home[:, None])
    rows = np.broadcast_to(seekers[:, None], probed.shape)
    return split_by(probed[away], rows[away], count)


def _compared(
    sketches: Sketches,
    cosine: float,
    own: Rows,
    old: Rows,
    visitors: Rows | None = None,
) -> Edges:
    """Near pairs of `own` rows and visitors with the rows `own` and `old`."""
    left = own if visitors is None else np.concatenate([own, visitors])
    right = np.concatenate([own, old])
    found = [no_edges()]
    for at in range(0, len(left), _BLOCK):
        for start in range(0, len(right), _BLOCK):
            one, other = left[at : at + _BLOCK], right[start : start + _BLOCK]
            if sketches.projected:
                near = _may_be_near(sketches, one, other, cosine)
                if at == start and at < len(own):  # both begin with the same rows
                    near[: len(own) - at].fill_diagonal_(False)
                one, other = one[near.any(dim=1).numpy()], other[near.any(dim=0).numpy()]
            if len(one):
                found.append(_near(sketches, one, other, cosine))
    return np.concatenate(found)


def _may_be_near(sketches: Sketches, left: Rows, right: Rows, cosine: float) -> torch.Tensor:
    """(n, m): which pairs have sketches so near that their vectors are to be compared."""
    import torch

    x, y = sketches.of(left), sketches.of(right)
    # The product less half of both squares is minus half of the squared distance.
    products = torch.addmm(y.square().sum(dim=1) / -2, x, y.T)
    return products >= (x.square().sum(dim=1, keepdim=True) - sketches.limit(cosine)) / 2


def _near(sketches: Sketches, left: Rows, right: Rows, cosine: float) -> Edges:
    """Pairs of different rows whose vectors are near; of a crowd only what ties it together."""
    import torch

    near = sketches.full(left) @ sketches.full(right).T >= cosine
    near &= torch.from_numpy(left)[:, None] != torch.from_numpy(right)
    pairs = near.nonzero().numpy()
    pairs[:, 1] += len(left)
    rows = np.concatenate([left, right])
    if len(pairs) > len(rows):
        labels = components(len(rows), pairs)
        pairs = np.stack([labels, np.arange(len(rows))], axis=1)[labels != np.arange(len(rows))]
    edges: Edges = rows[pairs]
    return edges


def _cosines(sketches: Sketches, left: Rows, right: Rows) -> NDArray[np.float32]:
    """(n,): of the vectors of rows, pair by pair."""
    found = np.empty(len(left), np.float32)
    for start in range(0, len(left), _BLOCK):
        part = slice(start, start + _BLOCK)
        found[part] = (sketches.full(left[part]) * sketches.full(right[part])).sum(dim=1).numpy()
    return found
