"""How an image lies in its file, and turning it upright.

Reads the metadata of an opened Pillow image; no files. JPEG, MPO, TIFF, WebP and PNG say it in EXIF
(TIFF 6.0, tag 274); AVIF and HEIC in boxes of their own, which Pillow gives as EXIF.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

ORIENTATION = 0x0112
"""EXIF's tag."""


def orientation_of(opened: Image) -> int:
    """EXIF's number, 1 to 8. Of a PNG that is not loaded, this loads it: eXIf may come last."""
    if opened.format == "JXL" and not getattr(opened, "jpeg", False):
        return 1  # its decoder has turned it, and the standard says to pass over EXIF
    if opened.format in ("AVIF", "HEIF") and "exif" not in opened.info:
        return 1  # their own boxes count alone, and Pillow tells them as EXIF
    try:
        found = opened.getexif().get(ORIENTATION, 1)
    except Exception:  # a broken EXIF block costs the EXIF, not the image
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def png_without_exif(opened: Image, data: bytes) -> bool:
    """Whether that is clear from a PNG's bytes; asking Pillow would decode it."""
    marks = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")
    return opened.format == "PNG" and not any(mark in data for mark in marks)


def turned(image: Image, orientation: int) -> Image:
    """An image upright; `orientation` is EXIF's number of how it lies."""
    from PIL.Image import Transpose

    how = {
        **{2: Transpose.FLIP_LEFT_RIGHT, 3: Transpose.ROTATE_180, 4: Transpose.FLIP_TOP_BOTTOM},
        **{5: Transpose.TRANSPOSE, 6: Transpose.ROTATE_270},
        **{7: Transpose.TRANSVERSE, 8: Transpose.ROTATE_90},
    }.get(orientation)
    return image if how is None else image.transpose(how)
