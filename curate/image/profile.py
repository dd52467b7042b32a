"""ICC profiles -> sRGB, with LittleCMS.

Reads profiles that files carry, writes nothing. A profile that is broken, or of another kind of
colour than the pixels, is ignored, as browsers do. One that moves no colour by more than two levels
of 255 is sRGB under another name and costs nothing. Cost: milliseconds per profile (the last ones
are kept), then about 10 ms per megapixel.
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageCms import ImageCmsTransform

MAX_PROFILE_BYTES = 4 * 2**20
"""Larger ones are ignored: profiles of printing presses have up to 3 MB."""
_SAME = 2  # levels of 255
_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # a profile's colour space -> Pillow's mode
_STEPS = 9  # of each channel, when a profile is compared with sRGB


def changes_colour(profile: bytes | None, mode: str) -> bool:
    """Whether pixels of this mode with this profile are other colours in sRGB."""
    return _transform_of(profile, mode) is not None


def to_srgb(image: Image, profile: bytes | None) -> Image:
    """An image of mode L, RGB, CMYK or LAB, in sRGB: mode RGB."""
    transform = _lab() if image.mode == "LAB" else _transform_of(profile, image.mode)
    if transform is None:
        return image.convert("RGB")
    return transform.apply(image.convert(transform.input_mode))


def _transform_of(profile: bytes | None, mode: str) -> ImageCmsTransform | None:
    if not profile or len(profile) > MAX_PROFILE_BYTES:
        return None
    return _transform(bytes(profile), mode)


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCmsTransform | None:
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        own = _MODES.get(source.profile.xcolor_space.strip(), "")
        # Grey pixels are colours of an RGB profile, too; no other pair fits.
        if own != mode and (own, mode) != ("RGB", "L"):
            return None
        found = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), own, "RGB")
        return None if own != "CMYK" and _is_srgb(found) else found
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


@lru_cache(maxsize=1)
def _lab() -> ImageCmsTransform:
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.buildTransform(lab, srgb, "LAB", "RGB")


def _is_srgb(transform: ImageCmsTransform) -> bool:
    from PIL import Image

    levels = np.linspace(0, 255, _STEPS).round().astype(np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(_STEPS, -1, 3)
    grey = np.arange(256, dtype=np.uint8).reshape(1, -1)
    samples = [grey] if transform.input_mode == "L" else [cube, np.dstack([grey] * 3)]
    for sample in samples:
        image = Image.fromarray(sample)
        seen = np.asarray(transform.apply(image), np.int16)
        if np.abs(seen - np.asarray(image.convert("RGB"), np.int16)).max() > _SAME:
            return False
    return True
