"""Fingerprints of an image: SHA-256 of its bytes, and PDQ, a hash that is similar for near copies.

Reads one image, writes nothing. PDQ (Meta, ThreatExchange, "The TMK+PDQF Video-Hashing Algorithm
and the PDQ Image-Hashing Algorithm", 2019) keeps the signs of 16 x 16 low frequencies: scaling and
coarser compression change a few of its 256 bits, another image about half of them. It is blind
to turning, mirroring and deep cuts. Cost: linear in pixels.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

PDQ_DISTANCE = 31
"""Bits by which two hashes of one image may differ: the threshold that PDQ's authors give."""
PDQ_QUALITY = 50
"""Least quality of a hash that says anything; below it the same paper discards: an even colour or
a gradient has a hash by chance, and would be a copy of every other."""

_LEAST = 256
"""Pixels of the longer side, to which smaller images are enlarged: PDQ takes 64 x 64 points of an
image, and other points from few pixels than from many. Without it the hashes of a small drawing
and of its half are 20 bits apart, with it 6, in the median of 300 of the bundled sample's."""
_ENOUGH = 512
"""Pixels of the shorter side, to which larger images are averaged, as PDQ's own tools do: it
moves 2 to 16 of the 256 bits, mostly 4, and PDQ takes .3 s for 4000 x 3000 without it."""


def sha256(data: bytes) -> str:
    """SHA-256 of bytes, as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def pdq(picture: Image.Image | NDArray[np.uint8]) -> bytes:
    """The PDQ hash: 32 bytes, the most significant bit first; see `pdq_and_quality`."""
    return pdq_and_quality(picture)[0]


def pdq_and_quality(picture: Image.Image | NDArray[np.uint8]) -> tuple[bytes, int]:
    """The PDQ hash (32 bytes) and its quality, 0 to 100: how much detail it rests on.

    `picture` is a Pillow image of any mode and size, or (H, W, 3) uint8 in RGB. Small and large
    ones are brought to a middle size first.
    """
    from PIL import Image

    from frenchcat.curate.image import open_image
    from frenchcat.curate.pdq import compute

    if not isinstance(picture, np.ndarray):
        return compute(np.asarray(_fitted(open_image(picture))))
    if _is_middling(picture.shape[1], picture.shape[0]):
        return compute(picture)
    return compute(np.asarray(_fitted(Image.fromarray(picture))))


def _fitted(picture: Image.Image) -> Image.Image:
    """At a size that PDQ reads well and quickly; most images stay as they are."""
    from PIL import Image

    if _is_middling(*picture.size):
        return picture
    factor = min(picture.size) // _ENOUGH
    if factor > 1:
        return picture.reduce(factor)
    scale = _LEAST / max(picture.size)
    width, height = (max(1, round(scale * side)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BICUBIC)


def _is_middling(width: int, height: int) -> bool:
    return max(width, height) >= _LEAST and min(width, height) < 2 * _ENOUGH
