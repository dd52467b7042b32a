"""Perceptual duplicates: hashes that lie in one another's Hamming ball.

Reads and writes nothing. Up to `EXACT_ROWS` distinct hashes, faiss compares all of them. Beyond,
all pairs would be quadratic: hashes are sorted by a random choice of their bits, many times over,
and compared with their neighbours in that order (locality-sensitive hashing by bit sampling, Indyk
and Motwani 1998). So many choices are made that a pair at the very edge of the ball is missed with
probability `MISS` at most; closer ones meet far more often.

Cost of the latter: rows x log(rows), times the choices (about 80 for a million rows and 31 bits).
Memory: about 150 bytes per row.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.dedup.cluster import Edges, components, no_edges, stars

EXACT_ROWS = 50_000
MISS = 0.002
NEIGHBOURS = 32
"""Compared with each hash, at most: where a bucket holds more, nearest by further bits."""
_SEED = 20_190_101
_BATCH = 4096  # queries at a time, so that a dense ball does not fill memory


def near_hashes(hashes: NDArray[np.uint8], distance: int) -> Edges:
    """Edges that tie together all hashes (N, B) uint8 at most `distance` bits apart.

    Not every near pair is named: those tied through others already may be left out.
    """
    if not len(hashes):
        return no_edges()
    _, first, inverse = np.unique(hashes, axis=0, return_index=True, return_inverse=True)
    same = stars(inverse.astype(np.int64).ravel())
    distinct = np.ascontiguousarray(hashes[first])
    find = _all_pairs if len(distinct) <= EXACT_ROWS else _by_sampled_bits
    return np.concatenate([same, first.astype(np.int64)[find(distinct, distance)]])


def _all_pairs(hashes: NDArray[np.uint8], distance: int) -> Edges:
    import faiss

    index = faiss.IndexBinaryFlat(8 * hashes.shape[1])
    index.add(hashes)
    labels = np.arange(len(hashes), dtype=np.int64)
    found = [no_edges()]
    for start in range(0, len(hashes), _BATCH):
        limits, _, near = index.range_search(hashes[start : start + _BATCH], distance + 1)
        each = np.diff(limits).astype(np.int64)
        rows = np.repeat(np.arange(start, start + len(each)), each)
        edges = np.stack([rows, near], axis=1).astype(np.int64)
        labels, new = _merged(labels, edges)
        found.append(new)
    return np.concatenate(found)


def _by_sampled_bits(hashes: NDArray[np.uint8], distance: int) -> Edges:
    bits = 8 * hashes.shape[1]
    # A pair `distance` apart agrees in `chosen` sampled bits with probability `meet`.
    chosen = math.ceil(math.log2(len(hashes)))
    meet = math.prod((bits - distance - k) / (bits - k) for k in range(chosen))
    rounds = math.ceil(math.log(MISS) / math.log1p(-meet))
    chance = np.random.default_rng(_SEED)
    columns = np.ascontiguousarray(np.unpackbits(hashes, axis=1).T)  # (bits, N)
    words = hashes.view(np.uint64)
    labels = np.arange(len(hashes), dtype=np.int64)
    found = [no_edges()]
    for _ in range(rounds):
        keys = _keys(columns, chance.permutation(bits)[:64])
        labels, new = _merged(labels, _near_in_order(words, keys, chosen, distance))
        found.append(new)
    return np.concatenate(found)


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
        apart = np.bitwise_count(words[left] ^ words[right]).sum(axis=1, dtype=np.int64)
        near = apart <= distance
        found.append(np.stack([left[near], right[near]], axis=1).astype(np.int64))
    return np.concatenate(found)


def _merged(labels: NDArray[np.int64], edges: Edges) -> tuple[NDArray[np.int64], Edges]:
    """The labels with `edges` put onto them, and the edges that said anything new."""
    new = edges[labels[edges[:, 0]] != labels[edges[:, 1]]]
    return (components(len(labels), new, labels), new) if len(new) else (labels, new)
