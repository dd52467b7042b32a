"""ImageNet's 1,000 classes as sentence vectors.

Reads open_clip's class names and timm's lemmas and definitions; ConSE (Norouzi et al.,
arXiv:1312.5650) places a picture at the mean of its classes' vectors, weighted by the classifier's
probabilities. Three wordings are added up: better on held-out photographs than any one.
"""

import numpy as np
from numpy.typing import NDArray

from tools.mini.teacher import embed

CLASSES = 1000


def class_vectors() -> NDArray[np.float32]:
    """(1000, 384) float32, unit rows, in ImageNet's class order."""
    from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES
    from timm.data import ImageNetInfo

    info = ImageNetInfo("imagenet-1k")
    lemmas = [info.index_to_description(index) for index in range(CLASSES)]
    defined = [info.index_to_description(index, detailed=True) for index in range(CLASSES)]
    names = [f"a {name}" for name in IMAGENET_CLASSNAMES]
    summed = embed(names) + 0.5 * embed(lemmas) + 0.5 * embed(defined)
    unit: NDArray[np.float32] = summed / np.linalg.norm(summed, axis=1, keepdims=True)
    return unit
