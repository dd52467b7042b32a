"""How large a model is, before it is trained: parameters, and the memory for them alone.

    python -m frenchcat.train.size train-sd-256

Reads a preset or a settings file; builds the U-Net without weights, so that it needs neither a file
of weights nor memory for them. Memory for activations is not included; `frenchcat train --plan`
predicts it (forecast.py).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frenchcat.curate.config import load_settings
from frenchcat.curate.errors import UserError
from frenchcat.train.model import make_unet
from frenchcat.train.settings import TextSettings, TrainSettings
from frenchcat.train.text import TextEncoder

BYTES = 20  # per parameter: weight, gradient, AdamW's two moments, average; float32 each
LATENT = (4, 8)  # channels, pixels per latent: of Stable Diffusion's autoencoders


@dataclass(frozen=True)
class Size:
    """The size of a U-Net."""

    parameters: int
    shape: tuple[int, int, int]  # of x: channels, height, width
    text_width: int

    @property
    def state_bytes(self) -> int:
        """Bytes of weights, gradients, moments and average during training."""
        return BYTES * self.parameters

    def words(self) -> str:
        """The size in one line."""
        x = " x ".join(map(str, self.shape))
        return (
            f"{self.parameters:,} parameters; x is {x}, captions {self.text_width} wide; "
            f"{self.state_bytes / 1e9:.2f} GB of weights, gradients, moments and average"
        )


def size_of(settings: TrainSettings) -> Size:
    """The size of the U-Net for settings. Raises `UserError` if it cannot be built.

    If an autoencoder's folder is missing, it counts as Stable Diffusion's.
    """
    import torch

    channels, shrinks = latent_of(settings.model.vae, settings.model.patch)
    side = settings.data.size // shrinks
    width, pooled = text_widths(settings.text)
    with torch.device("meta"):
        unet = make_unet(settings.model, side, width, channels, pooled)
    count = sum(weight.numel() for weight in unet.parameters())
    return Size(count, (channels, side, side), width)


def text_widths(settings: TextSettings) -> tuple[int, int]:
    """The widths of a text tower's states and embedding, without its weights.

    The bundled tower is loaded. Raises `UserError` for a tower that is not one of open_clip's own
    architectures.
    """
    import open_clip

    if settings.model == "mini":
        encoder = TextEncoder(settings)
        return encoder.width, encoder.pooled_width
    found: dict[str, Any] = open_clip.get_model_config(settings.model) or {}
    width = found.get("text_cfg", {}).get("width")
    if width is None:
        raise UserError(
            f"text.model {settings.model} is not an open_clip architecture of known width; "
            "name one, such as ViT-L-14"
        )
    return int(width), int(found["embed_dim"])


def latent_of(vae: str | None, patch: int) -> tuple[int, int]:
    """Channels of x, and pixels per side of one of its numbers."""
    if vae is None:
        return 3 * patch**2, patch
    file = Path(vae) / "config.json"
    if not file.exists():
        return LATENT
    import json

    about = json.loads(file.read_text(encoding="utf-8"))
    return int(about["latent_channels"]), 2 ** (len(about["block_out_channels"]) - 1)


def main(arguments: list[str]) -> None:
    """Print the size of each preset or settings file."""
    try:
        for name in arguments:
            print(f"{name}: {size_of(load_settings(TrainSettings, name)).words()}")  # noqa: T201
    except UserError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main(sys.argv[1:])
