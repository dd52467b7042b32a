"""A permutation of 0 … n-1 that is computed, not stored: random access to any place.

A Feistel network on the bits of the next power of four permutes that range for any round function
(Luby & Rackoff 1988); values of n and above are mapped again until they are below n (cycle walking,
Black & Rogaway 2002), which keeps it a permutation. The round function is the finaliser of
SplitMix64 (Steele, Lea & Flood 2014): good enough for a shuffle, not a cipher. Cost: O(1) memory,
fewer than four passes on average per value; vectorised over arrays.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 6
_U64 = np.uint64


def key_of(*parts: object) -> int:
    """A 64-bit key from anything with a stable text: digests, seeds, epochs, names."""
    text = "\x1f".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def permuted(places: NDArray[np.int64], n: int, key: int) -> NDArray[np.int64]:
    """Places (M,) int64 in 0 … n-1 -> their values in the permutation of n with this `key`.

    Raises ValueError for a place outside.
    """
    if len(places) and not (int(places.min()) >= 0 and int(places.max()) < n):
        raise ValueError(f"places from {places.min()} to {places.max()} of {n}")
    half = max(1, ((n - 1).bit_length() + 1) // 2)
    keys = _round_keys(key)
    values = _feistel(places.astype(_U64), half, keys)
    outside = np.flatnonzero(values >= _U64(n))
    while len(outside):
        values[outside] = _feistel(values[outside], half, keys)
        outside = outside[values[outside] >= _U64(n)]
    return values.astype(np.int64)


@lru_cache(maxsize=64)
def _round_keys(key: int) -> tuple[np.uint64, ...]:
    return tuple(_U64(key_of(key, number)) for number in range(_ROUNDS))


def _feistel(
    values: NDArray[np.uint64], half: int, keys: tuple[np.uint64, ...]
) -> NDArray[np.uint64]:
    """One pass over `2 * half` bits."""
    width, mask = _U64(half), _U64((1 << half) - 1)
    left, right = values >> width, values & mask
    for key in keys:
        left, right = right, left ^ (_mixed(right ^ key) & mask)
    return (left << width) | right


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    # Arithmetic is modulo 2^64; numpy warns of that for single numbers, not for arrays.
    x = (x ^ (x >> _U64(30))) * _U64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> _U64(27))) * _U64(0x94D049BB133111EB)
    return x ^ (x >> _U64(31))
