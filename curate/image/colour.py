"""Pixels of any mode and depth -> 8-bit RGB in sRGB, on white.

Reads a decoded Pillow image, gives another; no files. 16-bit samples are divided by 257. For 32-bit
integers and floats no standard says what is white, so their largest value decides: floats up to 1
are shares, numbers up to 255 are levels, up to 65535 they are 16-bit, beyond that the largest value
is white. Cost: linear in pixels; up to 16 bytes per pixel for samples of 32 bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.image.profile import to_srgb

if TYPE_CHECKING:
    from PIL.Image import Image

_TIFF_SAMPLE_FORMAT = 339  # 1: unsigned integers


def to_rgb(image: Image) -> Image:
    """A loaded image as mode RGB: profile applied, what is transparent on white; not turned."""
    from PIL import Image as Images

    colour, alpha = _parts(image)
    colour = to_srgb(_eight_bits(colour), image.info.get("icc_profile"))
    if alpha is None:
        return colour
    ground = Images.new("RGB", image.size, "white")
    ground.paste(colour, mask=alpha)
    return ground


def to_levels(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Samples of any depth as levels of 255, by the rules above; NaN is black."""
    if pixels.dtype == np.uint8:
        return np.asarray(pixels, np.uint8)
    if pixels.dtype.kind == "u" and pixels.dtype.itemsize == 2:
        return np.asarray((pixels.astype(np.uint32) + 128) // 257, np.uint8)
    wide = np.nan_to_num(pixels.astype(np.float32), nan=0.0, posinf=np.inf, neginf=0.0)
    finite = wide[np.isfinite(wide)]
    top = float(finite.max(initial=0.0))
    if top <= 1 and pixels.dtype.kind == "f":
        scale = 255.0
    elif top <= 255:
        scale = 1.0
    else:
        scale = 1 / 257 if top <= 65535 else 255 / top
    return np.asarray(np.rint(np.clip(wide * np.float32(scale), 0, 255)), np.uint8)


def _parts(image: Image) -> tuple[Image, Image | None]:
    """Colour without transparency, and the opacity (mode L); None where all is opaque."""
    if image.mode in ("La", "RGBa"):  # multiplied by their opacity
        image = image.convert(image.mode.upper())
    elif image.mode in ("P", "PA"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    elif "transparency" in image.info:
        return image, _opacity_by_key(image)
    if image.mode in ("LA", "RGBA"):
        return image.convert(image.mode[:-1]), image.getchannel("A")
    return image, None


def _opacity_by_key(image: Image) -> Image:
    """Of an image in which one colour means transparent."""
    from PIL import Image as Images

    pixels, key = np.asarray(image), np.asarray(image.info["transparency"])
    hit = pixels == key
    return Images.fromarray(np.where(hit if hit.ndim == 2 else hit.all(-1), 0, 255).astype("u1"))


def _eight_bits(image: Image) -> Image:
    """As L, RGB, CMYK or LAB."""
    from PIL import Image as Images

    if image.mode in ("L", "RGB", "CMYK", "LAB"):
        return image
    if image.mode == "1":
        return image.convert("L")
    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return image.convert("RGB")
    pixels = np.asarray(image)
    if image.mode == "I" and _is_unsigned(image):
        pixels = pixels.view(np.uint32)  # Pillow reads them as signed
    return Images.fromarray(to_levels(pixels))


def _is_unsigned(image: Image) -> bool:
    tags = getattr(image, "tag_v2", None)
    return tags is not None and tags.get(_TIFF_SAMPLE_FORMAT, (1,))[0] == 1
