"""open_clip behind two calls: pictures or texts -> (N, D) float32 unit rows.

Reads weights, writes nothing. bfloat16 weights where the processor has the instructions,
torch.compile where the caller says the work is long enough to pay for compiling.

Compiled towers see one batch shape only (a short last batch is padded), so nothing is compiled
twice; the cost is a padded batch a call.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.clip.hardware import can_compile, device_of, precision_of
from frenchcat.curate.clip.preprocess import Preprocess
from frenchcat.curate.clip.settings import ClipSettings
from frenchcat.curate.clip.weights import ClipWeights, find_weights
from frenchcat.curate.errors import UserError

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

Vectors = NDArray[np.float32]  # (N, D), unit rows
Pixels = NDArray[np.uint8]  # (N, H, W, 3)

_PARTS = {"hf_model_name": "text tower", "hf_tokenizer_name": "tokenizer"}
COMPILE_PAYS_FROM = 2_000  # pictures; compiling a ViT-B-32 costs about half a minute on 2 cores


def say_once(message: str, _said: set[str] = set()) -> None:  # noqa: B006
    """Print a line on stderr the first time it is said in this process."""
    if message not in _said:
        _said.add(message)
        print(f"frenchcat: {message}", file=sys.stderr)  # noqa: T201


class Clip:
    """A loaded model. Not thread-safe: one caller at a time."""

    def __init__(
        self, settings: ClipSettings, weights: ClipWeights, rows: int | None = None
    ) -> None:
        import torch

        from frenchcat.curate.clip.text import TextTower

        self.name, self.digest = weights.name, weights.digest
        self.dimension = weights.dimension
        self.batch_size = settings.batch_size
        self.device = device_of(settings.device)
        self.precision = precision_of(settings.precision, self.device)
        self.dtype = torch.bfloat16 if self.precision == "bf16" else torch.float32
        model = _create(weights)
        self.tokenizer = _tokenizer(weights)
        model = model.to(device=self.device, dtype=self.dtype).eval()
        self.preprocess, self._mean, self._std = _preprocess(model)
        self.logit_scale = float(model.logit_scale.detach().exp().cpu())
        self._picture_tower: Callable[[torch.Tensor], torch.Tensor] = model.visual
        self._text_tower = TextTower(model)
        self.compiled = _wants_compile(settings, self.device, rows)

    def encode_pictures(self, pictures: Sequence[Image] | Pixels) -> Vectors:
        """Pictures (PIL images, or what `pixels` made of them) -> (N, D) float32 unit rows."""
        if not len(pictures):
            return self._nothing()
        if not isinstance(pictures, np.ndarray):
            pictures = pixels(self.preprocess, pictures)
        parts = [
            self._pictures(pictures[start : start + self.batch_size])
            for start in range(0, len(pictures), self.batch_size)
        ]
        return np.concatenate(parts)

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Texts -> (N, D) float32 unit rows, in the order given; encoded in order of length."""
        import torch

        if not texts:
            return self._nothing()
        tokens = self.tokenizer(list(texts))
        order = torch.argsort(self._text_tower.lengths(tokens), stable=True)
        rows = np.empty((len(texts), self.dimension), np.float32)
        for start in range(0, len(texts), self.batch_size):
            chosen = order[start : start + self.batch_size]
            batch = self._text_tower.cut(tokens[chosen])
            with torch.inference_mode():
                rows[chosen.numpy()] = _unit(self._text_tower(batch.to(self.device)))
        return rows

    def _pictures(self, batch: Pixels) -> Vectors:
        import torch

        rows = len(batch)
        if self.compiled and rows < self.batch_size:
            padding = np.zeros((self.batch_size - rows, *batch.shape[1:]), np.uint8)
            batch = np.concatenate([batch, padding])
        tensor = torch.from_numpy(batch).to(self.device).permute(0, 3, 1, 2)
        with torch.inference_mode():
            scaled = (tensor.to(torch.float32) / 255 - self._mean) / self._std
            return _unit(self._run(scaled.to(self.dtype)))[:rows]

    def _run(self, batch: torch.Tensor) -> torch.Tensor:
        if not self.compiled:
            return self._picture_tower(batch)
        if self.compiled == "pending":
            self.compiled, eager = "done", self._picture_tower
            try:
                self._picture_tower = _compile(eager)
                return self._picture_tower(batch)
            except Exception as error:  # a compiler may fail in any way it likes
                self.compiled, self._picture_tower = "", eager
                say_once(f"torch.compile failed ({_first_line(error)}); running uncompiled")
        return self._picture_tower(batch)

    def _nothing(self) -> Vectors:
        return np.empty((0, self.dimension), np.float32)


def load_clip(settings: ClipSettings, rows: int | None = None) -> Clip:
    """Load a model; `rows` is how many pictures will be encoded in all, None for a few.

    Raises `UserError` where the weights cannot be had or do not fit.
    """
    return Clip(settings, find_weights(settings), rows)


def pixels(preprocess: Preprocess, pictures: Sequence[Image]) -> Pixels:
    """Pictures as the model's preprocessing leaves them, before normalisation: (N, H, W, 3)."""
    return np.stack([np.asarray(preprocess(picture), np.uint8) for picture in pictures])


def _unit(rows: torch.Tensor | tuple[torch.Tensor, ...]) -> Vectors:
    import torch

    if isinstance(rows, tuple):  # CoCa's towers give their tokens beside the vector
        rows = rows[0]
    unit: Vectors = torch.nn.functional.normalize(rows.float(), dim=-1, eps=0.0).cpu().numpy()
    return unit


def _create(weights: ClipWeights) -> Any:
    """The model with a text tower of its own (`model.text`), weights loaded."""
    import logging

    import open_clip

    logging.getLogger().setLevel(max(logging.getLogger().level, logging.WARNING))
    try:
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
            f"{weights.name} does not load ({_first_line(error)}); "
            "give weights of that architecture"
        ) from None


def _tokenizer(weights: ClipWeights) -> Callable[[list[str]], torch.Tensor]:
    import open_clip

    try:
        tokenizer: Callable[[list[str]], torch.Tensor] = open_clip.get_tokenizer(
            weights.open_clip_name
        )
    except (OSError, ValueError) as error:
        raise _lacks(weights, "hf_tokenizer_name", error) from None
    return tokenizer


def _lacks(weights: ClipWeights, part: str, error: Exception) -> UserError:
    """A text tower of transformers brings a configuration and a tokenizer of its own."""
    import open_clip

    config = open_clip.get_model_config(weights.open_clip_name) or {}
    wanted = config.get("text_cfg", {}).get(part) or weights.name
    return UserError(
        f"{weights.name} needs the {_PARTS[part]} {wanted}, which cannot be had "
        f"({_first_line(error)}); fetch it into the Hugging Face cache where there is a network, "
        "or give a folder that holds it: --set clip.model=local-dir:FOLDER"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:160]


def _preprocess(model: Any) -> tuple[Preprocess, torch.Tensor, torch.Tensor]:
    """The model's preprocessing, and the mean and deviation of its channels, (1, 3, 1, 1)."""
    import torch
    from open_clip.model import get_model_preprocess_cfg
    from open_clip.transform import PreprocessCfg

    settings = PreprocessCfg(**get_model_preprocess_cfg(model))
    device = next(model.parameters()).device
    mean = torch.tensor(settings.mean, device=device).view(1, 3, 1, 1)
    std = torch.tensor(settings.std, device=device).view(1, 3, 1, 1)
    return Preprocess.of(settings), mean, std


def _wants_compile(settings: ClipSettings, device: str, rows: int | None) -> str:
    """How to run the towers: "" is eager, "pending" compiles at the first batch."""
    long_enough = rows is not None and rows >= COMPILE_PAYS_FROM
    if settings.compile == "no" or (settings.compile == "auto" and not long_enough):
        return ""
    if obstacle := can_compile(device):
        say_once(f"running uncompiled: {obstacle}")
        return ""
    return "pending"


def _compile(tower: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    import torch

    return torch.compile(tower, dynamic=False)
