"""One image file -> upright, 8-bit RGB in sRGB, on white: what is stored, embedded and compared.

Reads bytes, a path or an opened Pillow image; writes nothing. What a file is, its first bytes say,
and only decoders of the kinds in `sniff.IMAGE_KINDS` are tried. Of several frames the first counts.
An image is turned as its file says: by EXIF in JPEG, MPO, TIFF, WebP and PNG, by `irot` and `imir`
in AVIF and HEIC, by the codestream in JPEG XL. A size above the limit is refused before decoding.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frenchcat.curate.errors import NotFound, UnreadableImage
from frenchcat.curate.image import jpeg2000
from frenchcat.curate.image.colour import to_levels, to_rgb
from frenchcat.curate.image.header import jpeg_bits, stated_size
from frenchcat.curate.image.orientation import (
    ORIENTATION,
    orientation_of,
    png_without_exif,
    turned,
)
from frenchcat.curate.image.plugins import PACKAGES, register
from frenchcat.curate.image.profile import changes_colour
from frenchcat.curate.image.quiet import quiet
from frenchcat.curate.image.sniff import IMAGE_KINDS, SNIFF_BYTES, sniff

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 100_000_000
"""Of one image: more than any camera has; what claims more is a decompression bomb."""

_FORMATS = {
    **{"jpeg": ("JPEG",), "png": ("PNG",), "gif": ("GIF",), "webp": ("WEBP",)},
    **{"avif": ("AVIF",), "heic": ("HEIF",), "bmp": ("BMP",), "tiff": ("TIFF",)},
    **{"jxl": ("JXL",), "jpeg2000": ("JPEG2000",)},
}
_PLAIN = ("JPEG", "PNG", "WEBP")
_PROFILE = 34675  # the tag, ICC.1 annex B
_PNG_SCALE = {"L;2": 85, "L;4": 17}  # of samples, when Pillow decodes them


def open_image(
    source: bytes | str | Path | Image,
    at_least: tuple[int, int] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Image:
    """A file (its bytes or path) or a Pillow image as a loaded image of mode RGB.

    `at_least` (width, height) in pixels lets a JPEG be decoded smaller, but no smaller than that:
    several times as fast. Raises `NotFound` for a path without a file, `UnreadableImage` for what
    is not an image, is broken, has no decoder here, or claims more than `max_pixels`.
    """
    from PIL import Image as Images

    if isinstance(source, Images.Image):
        with quiet():
            return _finished(source, source.copy())
    name, data = "the image", source
    if not isinstance(data, bytes):
        name, data = str(source), read_image(Path(str(source)))
    kind = sniff(data)
    if kind not in IMAGE_KINDS:
        raise UnreadableImage(name, f"it is not an image but {kind}")
    if not register(kind):
        raise UnreadableImage(name, f"{kind} is not read; pip install {PACKAGES[kind]}")
    try:
        with quiet():
            return _decoded(data, kind, at_least, max_pixels)
    except (_TooLarge, Images.DecompressionBombError) as error:
        raise UnreadableImage(name, str(error), f"give one of at most {max_pixels:,}") from None
    except MemoryError:
        raise
    except Exception as error:  # decoders fail in any way they like
        if kind == "jpeg" and (bits := _bits_of_jpeg(data)) != 8:
            raise UnreadableImage(
                name, f"a jpeg of {bits} bits is not read; save it in 8"
            ) from None
        raise UnreadableImage(name, f"the {kind} is broken: {_said(error)}") from None


def is_plain(data: bytes) -> bool:
    """Whether a file is so simple that every decoder makes the same of it as `open_image` does.

    A JPEG, PNG or WebP of one frame, upright, 8-bit grey or RGB in sRGB, without transparency.
    False for what cannot be opened.
    """
    from PIL import Image as Images

    try:
        with quiet(), Images.open(io.BytesIO(data), formats=_PLAIN) as opened:
            return (
                opened.mode in ("L", "RGB")
                and _bits(opened) == 8
                and not opened.has_transparency_data
                and (opened.format == "MPO" or not getattr(opened, "is_animated", False))
                and not changes_colour(opened.info.get("icc_profile"), opened.mode)
                and (png_without_exif(opened, data) or orientation_of(opened) == 1)
            )
    except Exception:  # decoders fail in any way they like; `open_image` says how
        return False


def upright_size(data: bytes) -> tuple[int, int]:
    """(width, height) in pixels of an image file once it is turned as it says.

    Nothing is decoded, but for a TIFF of samples that Pillow does not know.

    Raises `UnreadableImage` for what is not an image or states no size.
    """
    kind = sniff(data)
    if kind not in IMAGE_KINDS:
        raise UnreadableImage("the image", f"it is not an image but {kind}")
    try:
        if not register(kind) or kind == "jxl":  # its plugin decodes as it opens
            return stated_size(data, kind)
        with quiet(), _opened(data, kind) as opened:
            upright = (
                kind == "tiff"  # Pillow has turned its size already
                or png_without_exif(opened, data)
                or orientation_of(opened) < 5
            )
            width, height = opened.size
    except Exception as error:  # decoders fail in any way they like
        raise UnreadableImage("the image", f"the {kind} is broken: {_said(error)}") from None
    return (width, height) if upright else (height, width)


def _opened(data: bytes, kind: str) -> Image:
    """A file as Pillow opens it; a TIFF that Pillow does not know, as `_decoded` decodes it."""
    from PIL import Image as Images
    from PIL import UnidentifiedImageError

    try:
        return Images.open(io.BytesIO(data), formats=_FORMATS[kind])
    except UnidentifiedImageError:
        if kind != "tiff":
            raise
        return _odd_tiff(data, MAX_PIXELS)


class _TooLarge(Exception):
    """A size above the limit."""


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise _TooLarge(f"it claims {width} x {height} pixels")


def _decoded(data: bytes, kind: str, at_least: tuple[int, int] | None, max_pixels: int) -> Image:
    from PIL import Image as Images
    from PIL import UnidentifiedImageError

    if kind == "jxl":  # its plugin decodes as it opens
        _check_size(*stated_size(data, kind), max_pixels)
    try:
        opened = Images.open(io.BytesIO(data), formats=_FORMATS[kind])
    except UnidentifiedImageError:
        if kind != "tiff":
            raise
        return _odd_tiff(data, max_pixels)
    with opened:
        _check_size(*opened.size, max_pixels)
        if at_least is not None and opened.format in ("JPEG", "MPO"):
            lies = orientation_of(opened) > 4
            opened.draft(None, at_least[::-1] if lies else at_least)
        _mend_png_key(opened)
        if kind == "jpeg2000":
            return _bare(to_rgb(_jpeg2000(opened, data)))
        opened.load()
        return _finished(opened, opened)


def _jpeg2000(opened: Image, data: bytes) -> Image:
    """The pixels with the profile and the whole depth of their file."""
    bits = max(jpeg2000.depths(data))
    if bits > 8:
        pixels = jpeg2000.deep(data, bits)
    else:
        opened.load()
        pixels = jpeg2000.scaled(opened, bits) if bits < 8 and opened.mode != "P" else opened
    if profile := jpeg2000.profile(data):
        pixels.info["icc_profile"] = profile
    return pixels


def _finished(opened: Image, pixels: Image) -> Image:
    """Loaded pixels as RGB, turned as the opened file says."""
    return _bare(turned(to_rgb(pixels), orientation_of(opened)))


def _bare(image: Image) -> Image:
    """Without what the file said of pixels that are no longer so: orientation, profile, key."""
    image.info = {}
    return image


def _bits(opened: Image) -> int:
    """Of a sample, as far as Pillow hides it: PNGs of 2, 4 and 16 bits are decoded as 8."""
    raw = _raw_mode(opened)
    if opened.format != "PNG" or ";" not in raw:
        return 8
    return 16 if raw.endswith(";16B") else int(raw[-1])


def _bits_of_jpeg(data: bytes) -> int:
    """8 where the file does not say it."""
    try:
        return jpeg_bits(data)
    except ValueError:
        return 8


def _raw_mode(opened: Image) -> str:
    tiles: Any = getattr(opened, "tile", None)
    found = tiles[0][3] if tiles else ""
    return found if isinstance(found, str) else ""


def _mend_png_key(opened: Image) -> None:
    """The transparent colour of a PNG in the depth that its pixels will have."""
    key, raw = opened.info.get("transparency"), _raw_mode(opened)
    if opened.format != "PNG" or key is None:
        return
    if raw in _PNG_SCALE and isinstance(key, int):
        opened.info["transparency"] = key * _PNG_SCALE[raw]
    elif raw == "RGB;16B" and isinstance(key, tuple):
        opened.info["transparency"] = tuple(part >> 8 for part in key)


def _odd_tiff(data: bytes, max_pixels: int) -> Image:
    """A TIFF of samples that Pillow does not know (floats in colour), by OpenCV."""
    import cv2
    from PIL import Image as Images
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    _check_size(*stated_size(data, "tiff"), max_pixels)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("no decoder knows its samples")
    levels = to_levels(pixels)
    if levels.ndim == 3:
        levels = levels[..., [2, 1, 0, 3][: levels.shape[-1]]]  # OpenCV has BGR
    big = b"+" in data[2:4]  # BigTIFF's version, 43, in either order
    tags = ImageFileDirectory_v2(data[: 16 if big else 8])
    file = io.BytesIO(data)
    file.seek(tags.next)
    tags.load(file)
    image = Images.fromarray(np.ascontiguousarray(levels))
    if profile := tags.get(_PROFILE):
        image.info["icc_profile"] = profile
    return _bare(turned(to_rgb(image), tags.get(ORIENTATION, 1)))


def read_image(path: Path) -> bytes:
    """A file's bytes; of what is not an image, only the first ones.

    Raises `NotFound`, and `UnreadableImage` where it cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(SNIFF_BYTES)
            return head + file.read() if sniff(head) in IMAGE_KINDS else head
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file") from None
    except OSError as error:
        raise UnreadableImage(str(path), error.strerror or type(error).__name__) from None


def _said(error: Exception) -> str:
    """A decoder's error on one line; without its words where they hold an address in memory."""
    words = " ".join(str(error).split())[:120]
    return type(error).__name__ if not words or " at 0x" in words else words
