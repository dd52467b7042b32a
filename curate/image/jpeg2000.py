"""What Pillow does not take from a JPEG 2000: its profile, and samples of more than 8 bits.

Reads a file's bytes. Pillow ignores ICC profiles in `colr`, makes black of what is white in samples
of 9 to 16 bits (its rounding overflows), and leaves white of fewer than 8 bits grey. So deep
samples are decoded by OpenCV, which gives them as they are stored. ISO/IEC 15444-1.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from frenchcat.curate.image.header import boxes, codestream

if TYPE_CHECKING:
    from PIL.Image import Image

_ICC = (2, 3)  # methods of `colr`: a restricted profile (I.5.3.3), any profile (15444-2)


def depths(body: bytes) -> list[int]:
    """Bits per sample of each component, by SIZ (A.5.1)."""
    at = codestream(body) + 4
    (components,) = struct.unpack_from(">H", body, at + 36)
    return [(body[at + 38 + 3 * n] & 0x7F) + 1 for n in range(components)]


def profile(body: bytes) -> bytes | None:
    """The ICC profile of the first `colr` box that has one."""
    if body[4:8] != b"jP  ":
        return None
    for start, end in boxes(body, b"jp2h", 0, len(body)):
        for at, until in boxes(body, b"colr", start, end):
            if until > at + 3 and body[at] in _ICC:
                return body[at + 3 : until]
    return None


def deep(body: bytes, bits: int) -> Image:
    """A file with samples of `bits` > 8, as 8 bits: mode L, RGB or RGBA.

    Raises ValueError where OpenCV does not know its components.
    """
    import cv2
    from PIL import Image as Images

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    samples = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_UNCHANGED)
    if samples is None:
        raise ValueError("no decoder knows its samples")
    levels = np.rint(samples * np.float32(255 / (2**bits - 1))).clip(0, 255).astype(np.uint8)
    if levels.ndim == 3:
        levels = levels[..., [2, 1, 0, 3][: levels.shape[-1]]]  # OpenCV has BGR
    return Images.fromarray(np.ascontiguousarray(levels))


def scaled(pixels: Image, bits: int) -> Image:
    """Loaded pixels of `bits` < 8, whose white Pillow has left at less than 255."""
    white = (2**bits - 1) << (8 - bits)
    table = [min(255, round(level * 255 / white)) for level in range(256)]
    return pixels.point(table * len(pixels.getbands()))
