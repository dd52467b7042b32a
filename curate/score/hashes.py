"""Fingerprints of a picture: SHA-256 of its bytes, and PDQ, which near-copies share but for bits.

Reads one picture, writes nothing. PDQ (Meta, ThreatExchange, "The TMK+PDQF Video-Hashing Algorithm
and the PDQ Image-Hashing Algorithm", 2019) keeps the signs of 16 x 16 low frequencies: scaling and
coarser compression change a few of its 256 bits, another picture about half of them. It is blind
to turning, mirroring and deep cuts. Cost: linear in pixels.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

PDQ_BYTES = 32
PDQ_DISTANCE = 31
"""Bits by which two hashes of one picture may differ: the threshold that PDQ's authors give."""
PDQ_QUALITY = 50
"""Least quality of a hash that says anything; below it the same paper discards: an even colour or
a gradient has a hash by chance, and would be a copy of every other."""


def sha256(data: bytes) -> str:
    """SHA-256 of bytes, as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def pdq(picture: Image.Image | NDArray[np.uint8]) -> bytes:
    """The PDQ hash: 32 bytes, the most significant bit first; see `pdq_and_quality`."""
    return pdq_and_quality(picture)[0]


def pdq_and_quality(picture: Image.Image | NDArray[np.uint8]) -> tuple[bytes, int]:
    """The PDQ hash (32 bytes) and its quality, 0 to 100: how much detail it rests on.

    `picture` is a Pillow picture of any mode and size, or (H, W, 3) uint8 in RGB.
    """
    import pdqhash

    pixels = picture if isinstance(picture, np.ndarray) else np.asarray(_on_white(picture))
    bits, quality = pdqhash.compute(np.ascontiguousarray(pixels))
    return np.packbits(bits).tobytes(), int(quality)


def _on_white(picture: Image.Image) -> Image.Image:
    """As RGB; what is see-through lies on white, as the stored pictures have it."""
    from PIL import Image

    if not picture.has_transparency_data:
        return picture.convert("RGB")
    ground = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(ground, picture.convert("RGBA")).convert("RGB")
