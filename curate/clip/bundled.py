"""The bundled model, `mini`: two small towers, each loaded when it is first needed.

Reads ``mini/``, a folder that open_clip can load as well. Its towers are our own because of the
start-up: importing open_clip brings torchvision, timm and transformers, several seconds and
hundreds of megabytes, for a query that passes two layers. A test holds both against open_clip.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import cached_property
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.clip.bundled_text import BundledText
from frenchcat.curate.clip.preprocess import Preprocess
from frenchcat.curate.clip.settings import ClipSettings
from frenchcat.curate.clip.weights import MINI, find_weights

if TYPE_CHECKING:
    from frenchcat.curate.clip.image_tower import ImageTower

_WEIGHTS = MINI / "open_clip_model.safetensors"


class Bundled:
    """Both towers. `device`, `precision` and `compile` count for the images alone."""

    def __init__(self, settings: ClipSettings, rows: int | None) -> None:
        self._settings, self._rows = settings, rows
        config = json.loads((MINI / "open_clip_config.json").read_text(encoding="utf-8"))
        self._pixels: dict[str, Any] = config["preprocess_cfg"]
        self.preprocess = Preprocess.of(SimpleNamespace(**self._pixels))

    @cached_property
    def logit_scale(self) -> float:
        """Exp of the stored one: what cosines are multiplied by before a softmax."""
        from safetensors import safe_open

        with safe_open(_WEIGHTS, "np") as file:
            return math.exp(float(file.get_tensor("logit_scale")))

    @cached_property
    def images(self) -> ImageTower:
        """The image side, on its device. Raises `UserError` where that is missing."""
        from frenchcat.curate.clip.efficientnet import EfficientNetTower, image_weights
        from frenchcat.curate.clip.image_tower import ImageTower

        tower = EfficientNetTower(image_weights(_WEIGHTS)).eval()
        pixels = self._pixels
        return ImageTower(tower, pixels["mean"], pixels["std"], self._settings, self._rows)

    def texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Texts -> (N, D) float32 unit rows, those of similar length together."""
        order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
        size = self._settings.batch_size
        parts = [order[start : start + size] for start in range(0, len(order), size)]
        found = np.concatenate([self._text([texts[n] for n in part]) for part in parts])
        rows = np.empty_like(found)
        rows[order] = found
        return rows

    def text_tower(self) -> tuple[Any, Any]:
        """open_clip's tokenizer and text tower over the same weights: they give token states."""
        from frenchcat.curate.clip.open_clip_model import OpenClip

        return OpenClip(self._settings, find_weights(self._settings), None).text_tower()

    @cached_property
    def _text(self) -> BundledText:
        return BundledText(MINI)
