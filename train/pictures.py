"""A decoded image -> the square or rectangle that the model sees, flipped and cropped at random.

Reads PIL images, returns uint8 arrays; the network's range -1 … 1 is made on the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.config import changed
from frenchcat.train.randomness import SampleRandomness
from frenchcat.train.settings import DataSettings

if TYPE_CHECKING:
    from PIL.Image import Image


def shapes_of(data: DataSettings) -> list[tuple[int, int]]:
    """(width, height) in pixels of each bucket: about size x size pixels.

    Sides are multiples of `data.multiple`: 8 lets a U-Net halve them three times.
    """
    return [_shape(aspect, data.size, data.multiple) for aspect in sorted(data.aspects)]


def squarest(data: DataSettings) -> tuple[int, int]:
    """(width, height) in pixels of the bucket nearest to a square: the default size of drawings."""
    return min(shapes_of(data), key=lambda shape: max(shape) / min(shape))


def without_randomness(data: DataSettings) -> DataSettings:
    """Settings under which an image always looks the same: unflipped, cropped at the centre."""
    return changed(data, flip=False, crop="pad" if data.crop == "pad" else "center")


def edges_of(aspects: Sequence[float]) -> list[float]:
    """The bounds between buckets: the geometric means of neighbouring aspects."""
    ordered = sorted(aspects)
    return [(one * other) ** 0.5 for one, other in pairwise(ordered)]


def enough_of(data: DataSettings) -> tuple[int, int]:
    """The smallest (width, height) to decode at without loss when fitting.

    Twice the sides of the largest bucket, so that the last halving is by our own averaging.
    """
    widths, heights = zip(*shapes_of(data), strict=True)
    return 2 * max(widths), 2 * max(heights)


def fitted(
    picture: Image, shape: tuple[int, int], data: DataSettings, random: SampleRandomness
) -> NDArray[np.uint8]:
    """An RGB image in a bucket's shape: (H, W, 3) uint8."""
    from PIL import Image as Images
    from PIL import ImageOps

    how = Images.Resampling.BICUBIC if max(picture.size) < max(shape) else Images.Resampling.BOX
    if picture.size == shape:
        pass  # resizing would copy it
    elif data.crop == "pad":
        picture = ImageOps.pad(picture, shape, how, color="white")
    else:
        where = (0.5, 0.5)
        if data.crop == "random":
            place = random.uniform("crop")
            where = (place, place)  # one side fits exactly; only the other one is cropped
        picture = ImageOps.fit(picture, shape, how, centering=where)
    if is_mirrored(data, random):
        picture = picture.transpose(
            Images.Transpose.FLIP_LEFT_RIGHT
        )  # numpy takes ten times longer
    return np.asarray(picture, np.uint8)


def is_mirrored(data: DataSettings, random: SampleRandomness) -> bool:
    """Whether a sample is mirrored."""
    return data.flip and random.uniform("flip") < 0.5


def sizes_of(
    size: tuple[int, int], shape: tuple[int, int], data: DataSettings, random: SampleRandomness
) -> tuple[int, ...]:
    """What SDXL is told of an image (2307.01952), in pixels: six whole numbers.

    Height and width before it is scaled, top and left of its cut once it is scaled (and flipped),
    height and width in the bucket. `size` and `shape` are (width, height); `fitted` cuts there.
    """
    (width, height), (wide, high) = size, shape
    top = left = 0
    if data.crop != "pad":
        place = random.uniform("crop") if data.crop == "random" else 0.5
        scale = max(wide / width, high / height)
        left = round((scale * width - wide) * place)
        top = round((scale * height - high) * place)
        if is_mirrored(data, random):
            left = round(scale * width) - wide - left
    return height, width, top, left, high, wide


def plain_sizes(shape: tuple[int, int]) -> tuple[int, ...]:
    """The same of an image of (width, height) that was neither scaled nor cut."""
    return shape[1], shape[0], 0, 0, shape[1], shape[0]


def _shape(aspect: float, size: int, multiple: int) -> tuple[int, int]:
    width, height = size * aspect**0.5, size / aspect**0.5
    return _rounded(width, multiple), _rounded(height, multiple)


def _rounded(side: float, multiple: int) -> int:
    return max(multiple, round(side / multiple) * multiple)
