"""LoRA (2106.09685): low-rank updates to a frozen U-Net's attention, trained in its weights' place.

By peft, on the layers that diffusers' `train_text_to_image_lora.py` takes. A checkpoint holds the
updates as diffusers' `load_lora_weights` reads them (lora/), and the U-Net with the updates merged
into its weights, which is what draws.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frenchcat.curate.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from frenchcat.train.settings import ModelSettings

LAYERS = ("to_k", "to_q", "to_v", "to_out.0")
FOLDER = "lora"
_A, _B, _BASE = ".lora_A.default.weight", ".lora_B.default.weight", ".base_layer."


def add_lora(unet: Any, settings: ModelSettings) -> None:
    """Freeze a U-Net and give it updates to train, which change nothing at first.

    Raises `UserError` without peft.
    """
    config = _config(settings)
    unet.requires_grad_(False)
    unet.add_adapter(config)


def merged(state: dict[str, Tensor], settings: ModelSettings) -> dict[str, Tensor]:
    """The weights of a U-Net with updates -> those of a plain one that answers the same."""
    scale = _alpha(settings) / settings.lora
    found = {}
    for name, weight in state.items():
        if ".lora_" in name:
            continue
        layer = name.removesuffix(".base_layer.weight")
        if layer != name and f"{layer}{_A}" in state:
            weight = weight + scale * state[f"{layer}{_B}"] @ state[f"{layer}{_A}"]
        found[name.replace(_BASE, ".")] = weight
    return found


def save_lora(folder: Path, state: dict[str, Tensor], settings: ModelSettings) -> None:
    """Write the updates of a state as diffusers reads them: `load_lora_weights(folder)`."""
    import diffusers
    from diffusers.utils import state_dict_utils

    layers = {name.replace(".default.", "."): w for name, w in state.items() if ".lora_" in name}
    pipeline: Any = diffusers.StableDiffusionPipeline
    converted: Any = state_dict_utils.convert_state_dict_to_diffusers
    pipeline.save_lora_weights(
        str(folder),
        unet_lora_layers=converted(layers),
        unet_lora_adapter_metadata=_config(settings).to_dict(),
    )


def _alpha(settings: ModelSettings) -> float:
    return float(settings.lora if settings.lora_alpha is None else settings.lora_alpha)


def _config(settings: ModelSettings) -> Any:
    try:
        config: Any = importlib.import_module("peft").LoraConfig
    except ImportError as error:
        raise UserError(
            f"model.lora needs peft ({error}); pip install 'frenchcat[lora]', or train all weights"
        ) from None
    return config(
        r=settings.lora,
        lora_alpha=_alpha(settings),
        init_lora_weights="gaussian",
        target_modules=list(LAYERS),
    )
