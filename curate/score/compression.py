"""How hard a stored image is compressed: `bits_per_pixel` and `jpeg_quality`.

Reads the stored file's size and, of a JPEG, its luminance table. `bits_per_pixel` is small for
flat drawings and for ruined photographs. `jpeg_quality` is the setting (1 to 100) of the
Independent JPEG Group's encoder whose table is nearest (Annex K of the standard, scaled as
`jpeg_set_quality` does); None for other formats.

Of an image that the download encoded again this is what the download was told, not what the
original suffered: set `download.resize.skip_reencode` to keep original bytes. Cost: microseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.score.kinds import Column, Columns, DecodedImage, Measure

if TYPE_CHECKING:
    from PIL.Image import Image

_LUMINANCE = """
    16 11 10 16  24  40  51  61  12 12 14 19  26  58  60  55
    14 13 16 24  40  57  69  56  14 17 22 29  51  87  80  62
    18 22 37 56  68 109 103  77  24 35 55 64  81 104 113  92
    49 64 78 87 103 121 120 101  72 92 95 98 112 100 103  99
"""  # ITU-T T.81, table K.1


class Compression:
    """The score."""

    name = "compression"
    version = 1
    columns = (
        Column("bits_per_pixel", "float32", "bits spent on a pixel; flat drawings to the left"),
        Column("jpeg_quality", "int32", "with how much quality the original was compressed"),
    )

    def settings(self) -> Mapping[str, Any]:
        """It depends on the file alone."""
        return {}

    def load(self) -> Measure:
        """Nothing to load."""
        return _measure


def _measure(batch: Sequence[DecodedImage]) -> Columns:
    return {
        "bits_per_pixel": [8 * len(s.data) / (s.rgb.shape[0] * s.rgb.shape[1]) for s in batch],
        "jpeg_quality": [jpeg_quality(stored.picture) for stored in batch],
    }


def jpeg_quality(picture: Image) -> int | None:
    """The nearest quality setting of an opened JPEG; None where it is none."""
    tables = getattr(picture, "quantization", None)
    if not tables or 0 not in tables:
        return None
    # Sorted, since readers disagree on whether tables come in zigzag order.
    found = np.sort(np.asarray(tables[0], np.int64))
    return 1 + int(np.abs(_tables() - found).sum(axis=1).argmin())


@cache
def _tables() -> NDArray[np.int64]:
    """The luminance tables of qualities 1 to 100, each sorted: (100, 64)."""
    base = np.array(_LUMINANCE.split(), np.int64)
    quality = np.arange(1, 101)[:, None]
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return np.sort(np.clip((base * scale + 50) // 100, 1, 255), axis=1)
