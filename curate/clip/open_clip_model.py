"""A model that open_clip makes: its two towers, tokenizer and preprocessing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import open_clip
import torch
from open_clip.model import get_model_preprocess_cfg
from open_clip.transform import PreprocessCfg

from frenchcat.curate.clip.image_tower import ImageTower, Vectors, placed, unit
from frenchcat.curate.clip.preprocess import Preprocess
from frenchcat.curate.clip.settings import ClipSettings
from frenchcat.curate.clip.text import TextTower, shortened
from frenchcat.curate.clip.weights import ClipWeights
from frenchcat.curate.errors import UserError, first_line
from frenchcat.curate.unset_weights import UnsetWeights

_PARTS = {"hf_model_name": "text tower", "hf_tokenizer_name": "tokenizer"}


class OpenClip:
    """A loaded model."""

    def __init__(self, settings: ClipSettings, weights: ClipWeights, rows: int | None) -> None:
        """Load it. Raises `UserError` where the weights do not fit."""
        device, dtype = placed(settings)
        model = create(weights)
        self.tokenizer = tokenizer_of(weights)
        model = model.to(device=device, dtype=dtype).eval()
        config = PreprocessCfg(**get_model_preprocess_cfg(model))
        self.preprocess = Preprocess.of(config)
        self.logit_scale = float(model.logit_scale.detach().exp().cpu())
        self.images = ImageTower(model.visual, config.mean, config.std, settings, rows)
        self._text_tower = TextTower(model)
        self._batch_size, self._dimension = settings.batch_size, weights.dimension

    def text_tower(self) -> tuple[Callable[[list[str]], torch.Tensor], TextTower]:
        """The tokenizer and the text tower."""
        return self.tokenizer, self._text_tower

    def texts(self, texts: Sequence[str]) -> Vectors:
        """Texts -> (N, D) float32 unit rows."""
        tokens = self.tokenizer(list(texts))
        order = torch.argsort(self._text_tower.lengths(tokens), stable=True)
        rows = np.empty((len(texts), self._dimension), np.float32)
        for start in range(0, len(texts), self._batch_size):
            chosen = order[start : start + self._batch_size]
            batch = self._text_tower.cut(tokens[chosen])
            with torch.inference_mode():
                rows[chosen.numpy()] = unit(self._text_tower(batch.to(self.images.device)))
        return rows


def create(weights: ClipWeights) -> Any:
    """The model with a text tower of its own (`model.text`), weights loaded."""
    logging.getLogger().setLevel(max(logging.getLogger().level, logging.WARNING))
    try:
        with UnsetWeights():
            return open_clip.create_model(
                weights.open_clip_name,
                pretrained=weights.checkpoint,
                force_quick_gelu=weights.quick_gelu,  # open_clip only warns where they differ
                force_custom_text=True,
                pretrained_text=False,
                require_pretrained=True,
            )
    except OSError as error:
        raise _lacks(weights, "hf_model_name", error) from None
    except Exception as error:  # wrong shapes, half a file, no pickle: each raises its own kind
        raise UserError(
            f"{weights.name} does not load ({first_line(error)}); give weights of that architecture"
        ) from None


@lru_cache(4)  # the vocabulary is megabytes of JSON, and a run loads its text tower several times
def tokenizer_of(weights: ClipWeights) -> Callable[[list[str]], torch.Tensor]:
    """Texts -> (N, L) int64. Raises `UserError` where its files cannot be had."""
    try:
        tokenizer: Callable[..., torch.Tensor] = open_clip.get_tokenizer(weights.open_clip_name)
    except (OSError, ValueError) as error:
        raise _lacks(weights, "hf_tokenizer_name", error) from None

    def bounded(texts: Sequence[str], **how: Any) -> torch.Tensor:
        return tokenizer([shortened(text) for text in texts], **how)

    return bounded


def _lacks(weights: ClipWeights, part: str, error: Exception) -> UserError:
    """A text tower of transformers brings a configuration and a tokenizer of its own."""
    config = open_clip.get_model_config(weights.open_clip_name) or {}
    wanted = config.get("text_cfg", {}).get(part) or weights.name
    return UserError(
        f"{weights.name} needs the {_PARTS[part]} {wanted}, which is unavailable "
        f"({first_line(error)}); download it to the Hugging Face cache while there is a network, "
        "or give a folder that contains it: --set clip.model=local-dir:FOLDER"
    )
