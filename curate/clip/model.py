"""A CLIP model behind two calls: images or texts -> (N, D) float32 unit rows.

Reads weights, writes nothing. open_clip makes every model but the bundled one; `mini` has towers
of its own (see `bundled`), each loaded when it is first needed, so that a text query imports
neither open_clip nor torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.clip.preprocess import Preprocess
from frenchcat.curate.clip.settings import ClipSettings
from frenchcat.curate.clip.weights import ClipWeights, find_weights

if TYPE_CHECKING:
    from PIL.Image import Image

    from frenchcat.curate.clip.bundled import Bundled
    from frenchcat.curate.clip.image_tower import ImageTower
    from frenchcat.curate.clip.open_clip_model import OpenClip

Vectors = NDArray[np.float32]  # (N, D), unit rows
Pixels = NDArray[np.uint8]  # (N, H, W, 3)


class Clip:
    """A loaded model. Not thread-safe: one caller at a time."""

    def __init__(
        self, settings: ClipSettings, weights: ClipWeights, rows: int | None = None
    ) -> None:
        self.name, self.digest = weights.name, weights.digest
        self.dimension = weights.dimension
        self.batch_size = settings.batch_size
        self._model: Bundled | OpenClip
        if weights.bundled:
            from frenchcat.curate.clip.bundled import Bundled

            self._model = Bundled(settings, rows)
        else:
            from frenchcat.curate.clip.open_clip_model import OpenClip

            self._model = OpenClip(settings, weights, rows)
        self.preprocess: Preprocess = self._model.preprocess
        self.logit_scale: float = self._model.logit_scale

    @property
    def images(self) -> ImageTower:
        """The image side, loaded."""
        return self._model.images

    def text_tower(self) -> tuple[Any, Any]:
        """open_clip's tokenizer, and its text tower as a `TextTower`: what gives token states."""
        return self._model.text_tower()

    def encode_images(self, images: Sequence[Image] | Pixels) -> Vectors:
        """Images (PIL images, or what `pixels` made of them) -> (N, D) float32 unit rows."""
        if not len(images):
            return self._nothing()
        if not isinstance(images, np.ndarray):
            images = pixels(self.preprocess, images)
        return np.concatenate(
            [
                self.images(images[start : start + self.batch_size])
                for start in range(0, len(images), self.batch_size)
            ]
        )

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Texts -> (N, D) float32 unit rows, in the order given; encoded in order of length."""
        if not texts:
            return self._nothing()
        return self._model.texts(texts)

    def _nothing(self) -> Vectors:
        return np.empty((0, self.dimension), np.float32)


def load_clip(settings: ClipSettings, rows: int | None = None) -> Clip:
    """Load a model; `rows` is how many images will be encoded in all, None for a few.

    Raises `UserError` where the weights cannot be had or do not fit.
    """
    return Clip(settings, find_weights(settings), rows)


def pixels(preprocess: Preprocess, pictures: Sequence[Image]) -> Pixels:
    """Images as the model's preprocessing leaves them, before normalisation: (N, H, W, 3)."""
    return np.stack([np.asarray(preprocess(picture), np.uint8) for picture in pictures])
