"""PDQ of an image's pixels by matrix products: the bits that pdqhash gives, in less time.

Reads and writes nothing. PDQ averages an image to 64 x 64 points, by two box filters in either
direction, and takes 16 x 16 of their frequencies. Both steps are linear, so that one small matrix
per side of the image does all of the averaging, and a second one the frequencies.

pdqhash adds up its boxes in float32 along whole rows and columns, and rounds on the way. Where that
rounding could decide a bit or the quality (a frequency at the very median, gradients at the very
step of the quality), pdqhash itself is asked. The results are equal, bit for bit, for every image.

Cost: linear in pixels; the matrices are made once per length of a side.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

POINTS = 64
FREQUENCIES = 16
MEDIAN = FREQUENCIES**2 // 2 - 1
"""The rank, from 0, of the frequency that the others are compared with: the lower middle one."""
ROUNDING = 0.004
"""What pdqhash's rounding may change of a point (0 to 255) or of a frequency."""
_LONGEST = 4096  # pixels of a side: rounding grows with it
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_PER_QUALITY = 90  # the sum of gradients that is one step of the quality
_BEST = 100


def compute(pixels: NDArray[np.uint8]) -> tuple[bytes, int]:
    """The hash (32 bytes, most significant bit first) and the quality, 0 to 100.

    `pixels` are (H, W, 3) in RGB.
    """
    height, width = pixels.shape[:2]
    if min(height, width) < POINTS or max(height, width) > _LONGEST:
        return _by_pdqhash(pixels)
    points = _averaged(pixels)
    bits, quality = _bits(_dct() @ points @ _dct().T), _quality(points)
    if bits is None or quality is None:
        return _by_pdqhash(pixels)
    return bits, quality


def _by_pdqhash(pixels: NDArray[np.uint8]) -> tuple[bytes, int]:
    import pdqhash

    bits, quality = pdqhash.compute(np.ascontiguousarray(pixels))
    return np.packbits(bits).tobytes(), int(quality)


def _averaged(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(64, 64) points of the image's luma."""
    height, width = pixels.shape[:2]
    luma = (pixels.reshape(-1, 3).astype(np.float32) @ _LUMA).reshape(height, width)
    points: NDArray[np.float64] = (_averaging(height) @ luma @ _averaging(width).T).astype(float)
    return points


@lru_cache(maxsize=256)
def _averaging(side: int) -> NDArray[np.float32]:
    """(64, side): the weights with which a side's pixels make up each point."""
    window = -(-side // (2 * POINTS))
    ahead = (window + 2) // 2 - 1
    start = np.maximum(0, np.arange(side) + ahead + 1 - window)
    end = np.minimum(side, np.arange(side) + ahead + 1)
    weights = np.zeros((POINTS, side))
    for point in range(POINTS):
        centre = int((point + 0.5) * side / POINTS)
        outer = range(start[centre], end[centre])
        for inner in outer:  # the box of boxes
            share = len(outer) * (end[inner] - start[inner])
            weights[point, start[inner] : end[inner]] += 1 / share
    return weights.astype(np.float32)


@lru_cache(maxsize=1)
def _dct() -> NDArray[np.float64]:
    """(16, 64): the frequencies 1 to 16 of a cosine transform of 64 points."""
    frequency = np.arange(1, FREQUENCIES + 1)[:, None]
    place = 2 * np.arange(POINTS) + 1
    cosines = np.cos(np.pi / (2 * POINTS) * frequency * place)
    matrix: NDArray[np.float64] = cosines * np.sqrt(2 / POINTS)
    return matrix


def _bits(frequencies: NDArray[np.float64]) -> bytes | None:
    """Which frequencies are above their median; None where rounding could decide."""
    flat = frequencies.ravel()
    median, above = np.partition(flat, (MEDIAN, MEDIAN + 1))[MEDIAN : MEDIAN + 2]
    if above - median <= 2 * ROUNDING:
        return None
    return np.packbits(flat[::-1] > median).tobytes()


def _quality(points: NDArray[np.float64]) -> int | None:
    """How much the points change, in percent; None where rounding could decide."""
    across, down = np.diff(points, axis=1).ravel(), np.diff(points, axis=0).ravel()
    gradients = np.abs(np.concatenate([across, down])) * (100 / 255)
    least, most = (
        min(_BEST, int(np.maximum(gradients + slack, 0).astype(np.int64).sum()) // _PER_QUALITY)
        for slack in (-ROUNDING, ROUNDING)
    )
    return least if least == most else None
