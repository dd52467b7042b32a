"""An invisible mark that says "drawn by a model", in the pixels: it outlives lost metadata.

The scheme is JAWS (Kalker, Depovere, Haitsma and Maes 1999, "A video watermarking system for
broadcast monitoring"): a tile of noise, one side of the image long, is added to the brightness,
less where the image is flat. The search folds the whitened image to one tile and correlates it with
the noise at all shifts at once, by FFT with whitened magnitudes; it is repeated over scales. The
mark has no payload: it says that a model drew the image, not which. Whoever has this file can add
it to any image, or take it out of one.

Other libraries were measured and not chosen (docs/answering.md). Reads and writes images in
memory. Cost: 20 ms to mark 512 x 512 pixels; to search, some 10 ms if the image is whole, and about
2 s if it has no mark, since every scale is then tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import shake_256
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

TILE = 128
"""Samples per side of the tile in which the search works."""
LOWEST, HIGHEST = 5, 48
"""Frequencies of the noise, in periods per shorter side: below are the image's own large shapes,
above is what resizing to 96 pixels loses.
"""
AMPLITUDE = 2.5
"""Of the noise, in brightness (0 to 255): the standard deviation where the image is neither flat
nor busy. Images below 128 pixels get more, since they have fewer pixels to find it by.
"""
SMALLEST = 48
"""Pixels of the shorter side that can be marked."""
AT_PLACE, ANYWHERE = 5.0, 7.5
"""How many standard deviations a correlation has to reach: at the place and scale of a whole image,
and at any. `python -m bench.mark` counts what images without a mark reach.
"""
_SCALES = np.exp(np.arange(np.log(0.45), np.log(2.05), 0.012))
"""Lengths of the tile that are tried, in shorter sides: down to a screenshot that the image fills
to 45 %, up to a crop of half the side.
"""
_KEY = b"frenchcat mark 1"
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)

Pixels = NDArray[np.float32]


@dataclass(frozen=True)
class Mark:
    """What a search found."""

    found: bool
    score: float  # standard deviations of the highest correlation
    limit: float  # from which it counts
    whole: bool  # searched at the place and scale of an image that was neither cropped nor framed
    scale: float  # the original's shorter side, in shorter sides of this image


def check_size(width: int, height: int) -> None:
    """Raise `UserError` for an image that is too small for the mark."""
    if min(width, height) < SMALLEST:
        raise UserError(
            f"{width}x{height} pixels are too few for an invisible mark; draw at "
            f"{SMALLEST} or more per side, or leave out --mark"
        )


def marked(picture: Image) -> Image:
    """The image with the mark, mode RGB. Raises `UserError` for one that is too small for it."""
    import cv2
    from PIL import Image as Images

    check_size(*picture.size)
    side = min(picture.size)
    values = np.asarray(picture.convert("RGB"), np.float32)
    bright = values @ _LUMA
    mean = cv2.GaussianBlur(bright, (0, 0), side / 40)
    variance = cv2.GaussianBlur(bright * bright, (0, 0), side / 40) - mean * mean
    busy = np.clip(0.6 + np.sqrt(variance.clip(min=0)) / 15, 0.6, 1.8)
    strength = AMPLITUDE * min(2.0, max(1.0, TILE / side)) ** 0.5
    noise = strength * busy * _noise(side, picture.size)
    return Images.fromarray(np.rint(values + noise[..., None]).clip(0, 255).astype(np.uint8))


def find_mark(picture: Image, unchanged: bool = False) -> Mark:
    """Search an image for the mark: whole first, then at every scale and shift.

    Finds it in images that were resized (sides in proportion), cropped, framed as in a screenshot
    and re-encoded; not in mirrored or turned ones. An image that is known to be `unchanged` since
    it was drawn is searched whole only.
    """
    import cv2

    bright = np.asarray(picture.convert("RGB"), np.float32) @ _LUMA
    side = min(bright.shape)
    if side < SMALLEST // 3:
        return Mark(False, 0.0, ANYWHERE, False, 1.0)
    bright = bright[: 4 * side, : 4 * side]  # of a strip, the first four tiles
    if (excess := side / (4 * TILE)) > 1:
        height, width = (round(n / excess) for n in bright.shape)
        bright = np.asarray(
            cv2.resize(bright, (width, height), interpolation=cv2.INTER_AREA), np.float32
        )
        side = min(bright.shape)
    whole = _correlation(bright, side)
    score = float(max(whole[y, x] for y in (-1, 0, 1) for x in (-1, 0, 1)))
    if score >= AT_PLACE:
        return Mark(True, score, AT_PLACE, True, 1.0)
    if unchanged:
        return Mark(False, score, AT_PLACE, True, 1.0)
    peaks = [(float(_correlation(bright, side * scale).max()), scale) for scale in _SCALES.tolist()]
    best, scale = max(peaks)
    return Mark(best >= ANYWHERE, best, ANYWHERE, False, scale)


def _correlation(bright: Pixels, side: float) -> NDArray[np.float64]:
    """(TILE, TILE) correlations with the noise at each shift, in standard deviations.

    `side` is the length of the noise's tile in pixels of the image.
    """
    import cv2

    height, width = (max(8, round(n * TILE / side)) for n in bright.shape)
    method = cv2.INTER_AREA if side > TILE else cv2.INTER_CUBIC
    small = np.asarray(cv2.resize(bright, (width, height), interpolation=method), np.float32)
    # An edge of the image is not evidence: only what stands out from its surroundings counts.
    small = small - np.asarray(cv2.GaussianBlur(small, (0, 0), 2.0), np.float32)
    around = np.sqrt(cv2.GaussianBlur(small * small, (0, 0), 4.0) + 1.0)
    small = np.clip(small / around, -3, 3)
    shape = [cv2.getOptimalDFTSize(n + n % 2) for n in (height, width)]
    spectrum = np.fft.rfft2(small, shape)
    size = np.abs(spectrum)
    usual = cv2.blur(size, (9, 9)) + 1e-3 * size.max() + 1e-9
    spectrum *= np.minimum(1, 3 * usual / (size + 1e-9)) / usual  # stripes weigh no more than 3
    periods = np.hypot(
        np.fft.fftfreq(shape[0])[:, None] * TILE, np.fft.rfftfreq(shape[1])[None] * TILE
    )
    spectrum[(periods < LOWEST - 0.5) | (periods > HIGHEST + 0.5)] = 0
    white = np.fft.irfft2(spectrum, shape)[:height, :width]
    rows, columns = -(-height // TILE), -(-width // TILE)
    tiles = np.zeros((rows * TILE, columns * TILE))
    tiles[:height, :width] = white
    folded = tiles.reshape(rows, TILE, columns, TILE).sum((0, 2))
    found = np.fft.ifft2(np.fft.fft2(folded) * np.conj(_spectrum())).real
    return np.asarray(found / (found.std() + 1e-12))


def _noise(side: int, size: tuple[int, int]) -> Pixels:
    """(height, width) noise of standard deviation 1: tiles of `side` pixels a side."""
    half = min(TILE, side) // 2
    kept = np.arange(1 - half, half)
    spectrum = np.zeros((side, side), complex)
    spectrum[np.ix_(kept % side, kept % side)] = _spectrum()[np.ix_(kept % TILE, kept % TILE)]
    tile = np.fft.ifft2(spectrum).real
    tile /= tile.std()
    width, height = size
    repeated = np.tile(tile, (-(-height // side), -(-width // side)))
    return repeated[:height, :width].astype(np.float32)


@cache
def _spectrum() -> NDArray[np.complex128]:
    """(TILE, TILE) the noise's spectrum: magnitude 1 and random phases within the band."""
    drawn = np.frombuffer(shake_256(_KEY).digest(2 * TILE * TILE), "<u2").reshape(TILE, TILE)
    noise = np.fft.ifft2(np.exp(2j * np.pi * drawn / 65_536)).real  # real, so both halves agree
    spectrum = np.fft.fft2(noise)
    periods = np.fft.fftfreq(TILE, 1 / TILE)
    radius = np.hypot(periods[:, None], periods[None])
    spectrum *= (radius >= LOWEST) & (radius <= HIGHEST)
    return np.asarray(spectrum / np.maximum(np.abs(spectrum), 1e-9))
