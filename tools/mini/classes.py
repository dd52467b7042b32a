"""ImageNet's 1,000 classes as vectors: of the sentence encoder, or of the trained text tower.

Reads open_clip's class names and timm's lemmas and definitions. Four wordings are added up:
better on held-out photographs than any one.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

CLASSES = 1000
NAME, PHOTO, LEMMAS, DEFINITION = 1.0, 0.5, 0.5, 0.75  # weights of the wordings

Rows = NDArray[np.float32]


def class_vectors(encode: Callable[[list[str]], Rows]) -> Rows:
    """(1000, D) float32, unit rows, in ImageNet's class order.

    ``encode`` turns texts into unit rows.
    """
    from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES
    from timm.data import ImageNetInfo

    info = ImageNetInfo("imagenet-1k")
    lemmas = [info.index_to_description(index) for index in range(CLASSES)]
    defined = [info.index_to_description(index, detailed=True) for index in range(CLASSES)]
    names = [f"a {name}" for name in IMAGENET_CLASSNAMES]
    photos = [f"a photo of {name}" for name in names]
    summed = NAME * encode(names) + PHOTO * encode(photos)
    summed += LEMMAS * encode(lemmas) + DEFINITION * encode(defined)
    unit: Rows = summed / np.linalg.norm(summed, axis=1, keepdims=True)
    return unit
