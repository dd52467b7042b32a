"""Which samples make up batch k of an epoch: a pure function of (digest, seed, epoch, k).

There is no shuffle buffer, so nothing needs saving but the numbers (epoch, k), and no state in
workers, so any number of ranks and workers, and any restart, sees the same batches.

The order: within each aspect bucket, shards are permuted and taken in blocks of a few. The draws of
a block are permuted among each other, so that reads stay within a few tars at a time. Batches of
the buckets are then interleaved evenly. What does not fill a batch at a bucket's end is left out;
each epoch leaves out other rows. Weights are honoured by systematic sampling (Madow 1949): in each
epoch row i is drawn floor or ceil of its weight times, w_i on average, by one offset for the whole
epoch.

Cost: an epoch's head is O(shards + batches), 10 bytes per batch; a batch is O(batch log rows),
whatever its place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from frenchcat.train.permutation import key_of, permuted
from frenchcat.train.population import ONE, Places, Population

SHARDS_PER_BLOCK = 8


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples that are trained on together, in this order."""

    rows: NDArray[np.int64]  # (B,) of the selection
    repeats: NDArray[np.int64]  # (B,) how often the same row was drawn before in this epoch
    bucket: int

    def of_rank(self, rank: int, world: int) -> Batch:
        """A rank's part: every world-th sample, so that all parts have the same size."""
        mine = slice(rank, None, world)
        return Batch(self.rows[mine], self.repeats[mine], self.bucket)


@dataclass(frozen=True, eq=False)
class Plan:
    """The order of a training set under one seed."""

    population: Population
    digest: str  # of the selection
    seed: int
    batch: int  # samples in a global batch
    shards_per_block: int = SHARDS_PER_BLOCK

    def __post_init__(self) -> None:
        if self.batch < 1 or self.shards_per_block < 1:
            raise ValueError(
                f"batch {self.batch}, {self.shards_per_block} shards per block: give at least 1"
            )

    def batches(self, epoch: int) -> int:
        """How many full batches an epoch has."""
        return len(self.epoch(epoch).turns)

    def at(self, epoch: int, k: int) -> Batch:
        """Batch k of an epoch. Raises IndexError beyond its end."""
        return self.epoch(epoch).at(k)

    def epoch(self, epoch: int) -> Epoch:
        """The head of an epoch, which determines its batches; a few are cached."""
        return _epoch(self, epoch)


@lru_cache(maxsize=4)
def _epoch(plan: Plan, number: int) -> Epoch:
    return Epoch(plan, number)


@dataclass(eq=False)
class Epoch:
    """One pass over the population."""

    plan: Plan
    number: int
    turns: NDArray[np.int16] = field(init=False)  # (K,) the bucket of each batch

    def __post_init__(self) -> None:
        key = (self.plan.digest, self.plan.seed, self.number)
        offset = 0 if self.plan.population.weights is None else key_of(*key, "offset") % ONE
        segments = self.plan.population.segments
        self._streams = {
            int(bucket): _BucketStream(
                self.plan.population,
                segments[segments[:, 0] == bucket],
                offset,
                key_of(*key, "bucket", bucket),
                self.plan.shards_per_block,
            )
            for bucket in np.unique(segments[:, 0])
        }
        full = {b: stream.draws // self.plan.batch for b, stream in self._streams.items()}
        self.turns, self._nth = _interleaved(full)
        self.left_out = sum(s.draws for s in self._streams.values()) - self.plan.batch * len(
            self.turns
        )

    def at(self, k: int) -> Batch:
        """Batch k."""
        if not 0 <= k < len(self.turns):
            raise IndexError(
                f"batch {k} of epoch {self.number}, which has {len(self.turns)} batches"
            )
        bucket = int(self.turns[k])
        first = int(self._nth[k]) * self.plan.batch
        rows, repeats = self._streams[bucket].draw(np.arange(first, first + self.plan.batch))
        return Batch(rows, repeats, bucket)


class _BucketStream:
    """One bucket's draws in an epoch's order."""

    def __init__(
        self, population: Population, segments: Places, offset: int, key: int, per_block: int
    ) -> None:
        self.population, self.offset, self.key = population, offset, key
        shuffled = segments[permuted(np.arange(len(segments)), len(segments), key)]
        self.first = self._draws_before(shuffled[:, 1])  # numbers of the epoch's draws
        counts = self._draws_before(shuffled[:, 2]) - self.first
        self.starts = np.concatenate([[0], np.cumsum(counts)])  # of segments in this stream
        edges = np.append(np.arange(0, len(segments), per_block), len(segments))
        self.blocks = self.starts[edges]
        self.draws = int(self.starts[-1])

    def _draws_before(self, places: Places) -> Places:
        """How many multiples of ONE the running sum, shifted by the offset, has passed."""
        return (self.population.sums(places) + self.offset) // ONE

    def draw(self, numbers: Places) -> tuple[Places, Places]:
        """Draws by their number in the stream -> rows, and each row's earlier draws."""
        places = np.empty(len(numbers), np.int64)
        block = np.searchsorted(self.blocks, numbers, side="right") - 1
        for which in np.unique(block):
            chosen = block == which
            start, end = int(self.blocks[which]), int(self.blocks[which + 1])
            inside = permuted(numbers[chosen] - start, end - start, key_of(self.key, int(which)))
            places[chosen] = start + inside
        segment = np.searchsorted(self.starts, places, side="right") - 1
        draw = self.first[segment] + places - self.starts[segment]
        # Draw d is the point at which the shifted running sum passes d + 1.
        found = self.population.places((draw + 1) * ONE - self.offset - 1)
        return self.population.row_numbers(found), draw - self._draws_before(found)


def _interleaved(full: dict[int, int]) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """Number of batches per bucket -> the bucket of every batch, and its number there."""
    if len(full) == 1:  # the usual case, without sorting
        ((bucket, count),) = full.items()
        return np.full(count, bucket, np.int16), np.arange(count)
    turns = np.concatenate([np.full(n, b, np.int16) for b, n in full.items()])
    nth = np.concatenate([np.arange(n) for n in full.values()])
    due = np.concatenate([(np.arange(n) + 0.5) / max(n, 1) for n in full.values()])
    order = np.lexsort((turns, due))
    return turns[order], nth[order]
