"""Photographs as a phone takes them, made: a natural spectrum, a lens, a sensor's noise, EXIF.

Natural images have about the same contrast at every scale: their amplitudes fall as 1 / frequency
(Field, "Relations between the statistics of natural images", 1987). A lens and the interpolation of
a sensor's colours take some of it from the last pixels.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIZES = {1: (1152, 864), 4: (2304, 1728), 12: (4032, 3024)}
"""Megapixels -> width and height as phones have them."""
CONTRAST = 50.0  # standard deviation, levels of 255
_MEAN = 118.0
_SHARED = 0.8  # of the brightness, in each colour: natural colours go with it
_LENS_PX = 0.6  # standard deviation of its blur
_NOISE = 2.5  # standard deviation, levels
_MAKER_NOTE, _EXPOSURE, _APERTURE, _SPEED = 0x927C, 0x829A, 0x829D, 0x8827
_EXIF, _GPS, _MAKE, _MODEL, _ORIENTATION, _TAKEN = 0x8769, 0x8825, 0x10F, 0x110, 0x112, 0x132


def natural(width: int, height: int, seed: int, contrast: float = CONTRAST) -> NDArray[np.float32]:
    """(height, width, 3): amplitudes fall as 1 / frequency down to the last pixel; in levels."""
    rng = np.random.default_rng(seed)
    across, down = np.fft.rfftfreq(width)[None, :], np.fft.fftfreq(height)[:, None]
    frequency = np.hypot(down, across)
    frequency[0, 0] = np.inf
    layers = []
    for _ in range(3):
        phases = rng.standard_normal((2, *frequency.shape), np.float32)
        layer = np.fft.irfft2((phases[0] + 1j * phases[1]) / frequency, (height, width))
        layers.append(layer / layer.std())
    brightness = layers[0]
    colours = [_SHARED * brightness + (1 - _SHARED) * layer for layer in layers]
    return (_MEAN + contrast * np.stack(colours, axis=-1)).astype(np.float32)


def photograph(width: int, height: int, seed: int, orientation: int = 1) -> bytes:
    """A JPEG of quality 90 as a phone writes it."""
    import cv2
    from PIL import Image

    seen = cv2.GaussianBlur(natural(width, height, seed), (0, 0), _LENS_PX)
    seen += np.random.default_rng(seed).normal(0, _NOISE, seen.shape)
    pixels = np.clip(seen, 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=90, exif=phone_exif(orientation))
    return out.getvalue()


def phone_exif(orientation: int) -> Any:
    """EXIF as a phone writes it: exposure, place, 20 kB of the maker's own."""
    from PIL import Image

    exif = Image.Exif()
    exif[_MAKE], exif[_MODEL], exif[_ORIENTATION] = "Maker", "Phone 7", orientation
    exif[_TAKEN] = "2024:05:01 12:00:00"
    details = exif.get_ifd(_EXIF)
    details[_EXPOSURE], details[_APERTURE], details[_SPEED] = 0.01, 1.8, 100
    details[_MAKER_NOTE] = bytes(range(256)) * 80
    place = exif.get_ifd(_GPS)
    place[1], place[2], place[3], place[4] = "N", (48.0, 51.0, 30.0), "E", (2.0, 17.0, 40.0)
    return exif
