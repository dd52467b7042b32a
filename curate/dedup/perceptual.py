"""Perceptual duplicates: hashes that lie in one another's Hamming ball.

Reads and writes nothing. Up to `EXACT_ROWS` distinct hashes, faiss compares all of them. Beyond,
all pairs would be quadratic: hashes are sorted by a random choice of their bits, many times over,
and compared with their neighbours in that order (locality-sensitive hashing by bit sampling, Indyk
and Motwani 1998). So many choices are made that a pair at the very edge of the ball is missed with
probability `MISS` at most; closer ones meet far more often.

Mirrored copies are found by the hash that the mirrored image has. Copies of which something was cut
off are far apart in most of their bits: they are sought by the coarsest 64, and are near where the
256 do not contradict (`CUT_COARSEST`, `CUT_DISTANCE`).

Cost of the latter: rows x log(rows), times the choices (about 80 for a million rows and 31 bits).
Memory: about 300 bytes per row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.dedup.cluster import Edges, merged, no_edges, stars
from frenchcat.curate.dedup.pdq_variants import coarsest, mirrored

EXACT_ROWS = 50_000
MISS = 0.002
NEIGHBOURS = 32
"""Compared with each hash, at most: where a bucket holds more, nearest by further bits."""
CUT_COARSEST = 12
"""Bits of the coarsest 64 by which the hashes of a cut copy and its original may differ."""
CUT_DISTANCE = 88
"""Bits of all 256: hashes of different images differ by 128, 8 more or less."""
CUT_SURE = 8
"""Of the coarsest 64: beyond `EXACT_ROWS`, pairs up to here are missed with probability `MISS`."""
_SEED = 20_190_101
_BATCH = 4096  # queries at a time, so that a dense ball does not fill memory


@dataclass(frozen=True)
class Copies:
    """Which copies are sought beside those whose hashes are near."""

    mirrored: bool = False
    cut: bool = False


def near_hashes(
    hashes: NDArray[np.uint8],
    distance: int,
    added: NDArray[np.bool_] | None = None,
    copies: Copies = Copies(),
) -> Edges:
    """Edges that tie together all hashes (N, B) uint8 at most `distance` bits apart.

    Not every near pair is named: those tied through others already may be left out. With `added`
    (N,) only pairs of which one at least is added count; others may be named, too. `copies` are
    sought among PDQ hashes (N, 32).
    """
    if not len(hashes):
        return no_edges()
    _, first, inverse = np.unique(hashes, axis=0, return_index=True, return_inverse=True)
    inverse = inverse.astype(np.int64).ravel()
    distinct = np.ascontiguousarray(hashes[first])
    sought = np.ones(len(distinct), bool)
    if added is not None:
        sought[inverse[~added]] = False  # these were compared when their first row was added
    near = _near_distinct(distinct, np.flatnonzero(sought), distance, copies)
    return np.concatenate([stars(inverse), first.astype(np.int64)[near]])


def _near_distinct(
    hashes: NDArray[np.uint8], sought: NDArray[np.int64], distance: int, copies: Copies
) -> Edges:
    rows = len(hashes)
    labels = np.arange(rows, dtype=np.int64)
    found = [no_edges()]
    if copies.mirrored:
        hashes = np.concatenate([hashes, mirrored(hashes)])
    for edges in _candidates(hashes, sought, distance, copies):
        labels, new = merged(labels, edges % rows)
        found.append(new)
    return np.concatenate(found)


def _candidates(
    hashes: NDArray[np.uint8], sought: NDArray[np.int64], distance: int, copies: Copies
) -> Iterator[Edges]:
    yield from _within(hashes, sought, distance, distance)
    if not copies.cut:
        return
    words = hashes.view(np.uint64)
    for edges in _within(coarsest(hashes), sought, CUT_COARSEST, CUT_SURE):
        yield edges[_apart(words, *edges.T) <= CUT_DISTANCE]


def _within(
    hashes: NDArray[np.uint8], sought: NDArray[np.int64], distance: int, sure: int
) -> Iterator[Edges]:
    """Pairs at most `distance` apart with one of `sought` among them, and perhaps others.

    Where not all are compared, those up to `sure` apart are missed with probability `MISS`.
    """
    if len(sought) * len(hashes) <= EXACT_ROWS**2:
        return _all_pairs(hashes, distance, sought)
    return _by_sampled_bits(hashes, distance, sure)


def _all_pairs(
    hashes: NDArray[np.uint8], distance: int, sought: NDArray[np.int64]
) -> Iterator[Edges]:
    import faiss

    index = faiss.IndexBinaryFlat(8 * hashes.shape[1])
    index.add(hashes)
    for start in range(0, len(sought), _BATCH):
        part = sought[start : start + _BATCH]
        limits, _, near = index.range_search(hashes[part], distance + 1)
        rows = np.repeat(part, np.diff(limits).astype(np.int64))
        yield np.stack([rows, near], axis=1).astype(np.int64)


def _by_sampled_bits(hashes: NDArray[np.uint8], distance: int, sure: int) -> Iterator[Edges]:
    bits = 8 * hashes.shape[1]
    # A pair `sure` apart agrees in `chosen` sampled bits with probability `meet`.
    chosen = math.ceil(math.log2(len(hashes)))
    meet = math.prod((bits - sure - k) / (bits - k) for k in range(chosen))
    rounds = math.ceil(math.log(MISS) / math.log1p(-meet))
    chance = np.random.default_rng(_SEED)
    columns = np.ascontiguousarray(np.unpackbits(hashes, axis=1).T)  # (bits, N)
    words = hashes.view(np.uint64)
    for _ in range(rounds):
        keys = _keys(columns, chance.permutation(bits)[:64])
        yield _near_in_order(words, keys, chosen, distance)


def _keys(columns: NDArray[np.uint8], order: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The bits `order` of each hash as one number, the first chosen the most significant."""
    packed = np.packbits(columns[order], axis=0)  # (8, N)
    keys: NDArray[np.uint64] = np.ascontiguousarray(packed.T).view(">u8").ravel().astype(np.uint64)
    return keys


def _near_in_order(
    words: NDArray[np.uint64], keys: NDArray[np.uint64], chosen: int, distance: int
) -> Edges:
    """Near pairs among neighbours in the order of `keys` that agree in the first `chosen` bits."""
    order = np.argsort(keys)
    buckets = keys[order] >> np.uint64(64 - chosen)
    found = [no_edges()]
    at = np.arange(len(order))
    for step in range(1, NEIGHBOURS + 1):
        at = at[at + step < len(order)]
        at = at[buckets[at] == buckets[at + step]]
        if not len(at):
            break
        left, right = order[at], order[at + step]
        near = _apart(words, left, right) <= distance
        found.append(np.stack([left[near], right[near]], axis=1).astype(np.int64))
    return np.concatenate(found)


def _apart(
    words: NDArray[np.uint64], left: NDArray[np.int64], right: NDArray[np.int64]
) -> NDArray[np.int64]:
    """(n,): in how many bits the hashes of each pair differ."""
    bits: NDArray[np.int64] = np.bitwise_count(words[left] ^ words[right]).sum(
        axis=1, dtype=np.int64
    )
    return bits
