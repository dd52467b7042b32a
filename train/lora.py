"""LoRA (2106.09685): low-rank updates to a frozen network's attention, in its weights' place.

By peft, on the layers that diffusers' own scripts take. A checkpoint holds the updates as
diffusers' `load_lora_weights` reads them (lora/), and the network with the updates merged into its
weights, which is what draws. PixArt's pipelines have no `load_lora_weights`; their updates are
written as peft reads them: `PeftModel.from_pretrained(pipe.transformer, folder)`.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frenchcat.curate.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from frenchcat.train.families import Family
    from frenchcat.train.settings import ModelSettings

FOLDER = "lora"
_A, _B, _BASE = ".lora_A.default.weight", ".lora_B.default.weight", ".base_layer."


def check_lora() -> None:
    """Raise `UserError` without peft."""
    try:
        importlib.import_module("peft")
    except ImportError as error:
        raise UserError(
            f"model.lora needs peft ({error}); pip install 'frenchcat[lora]', or train all weights"
        ) from None


def add_lora(network: Any, settings: ModelSettings, family: Family) -> None:
    """Freeze a network and give it updates to train, which change nothing at first."""
    config = _config(settings, family)
    network.requires_grad_(False)
    importlib.import_module("peft").inject_adapter_in_model(config, network)


def merged(state: dict[str, Tensor], settings: ModelSettings) -> dict[str, Tensor]:
    """The weights of a network with updates -> those of a plain one that answers the same."""
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


def save_lora(
    folder: Path, state: dict[str, Tensor], settings: ModelSettings, family: Family
) -> None:
    """Write the updates of a state as diffusers reads them: `load_lora_weights(folder)`."""
    import diffusers

    layers = {name.replace(".default.", "."): w for name, w in state.items() if ".lora_" in name}
    config = _config(settings, family)
    pipeline: Any = getattr(diffusers, family.pipeline or "StableDiffusionPipeline")
    if not hasattr(pipeline, "save_lora_weights"):
        _save_for_peft(folder, layers, config)
        return
    if family.part == "unet":
        from diffusers.utils import state_dict_utils

        converted: Any = state_dict_utils.convert_state_dict_to_diffusers
        layers = converted(layers)
    named = {f"{family.part}_lora_layers": layers}
    named[f"{family.part}_lora_adapter_metadata"] = config.to_dict()
    pipeline.save_lora_weights(str(folder), **named)


def _save_for_peft(folder: Path, layers: dict[str, Tensor], config: Any) -> None:
    """As peft's own models write them."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    named = {f"base_model.model.{name}": weight for name, weight in layers.items()}
    save_file(named, folder / "adapter_model.safetensors", {"format": "pt"})
    config.save_pretrained(str(folder))


def _alpha(settings: ModelSettings) -> float:
    return float(settings.lora if settings.lora_alpha is None else settings.lora_alpha)


def _config(settings: ModelSettings, family: Family) -> Any:
    config: Any = importlib.import_module("peft").LoraConfig
    return config(
        r=settings.lora,
        lora_alpha=_alpha(settings),
        init_lora_weights="gaussian",
        target_modules=list(family.lora_layers),
    )
