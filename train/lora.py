"""LoRA (2106.09685): low-rank updates to a frozen network's attention, in its weights' place.

By peft, on the layers that diffusers' own scripts take. A checkpoint holds the updates as
diffusers' `load_lora_weights` reads them (lora/), and the network with the updates merged into its
weights, which is what draws. PixArt's pipelines have no `load_lora_weights`; their updates are
written as peft reads them: `PeftModel.from_pretrained(pipe.transformer, folder)`.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frenchcat.curate.config import resolve
from frenchcat.curate.errors import UserError
from frenchcat.train.settings import ModelSettings

if TYPE_CHECKING:
    from torch import Tensor

    from frenchcat.train.checkpoint import State
    from frenchcat.train.families import Family
    from frenchcat.train.run import Parts
    from frenchcat.train.start import Start

TEXT_LAYERS = ("q_proj", "k_proj", "v_proj", "out_proj")
"""Of a text encoder: those of diffusers' train_dreambooth_lora.py."""
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
    config = _config(settings, family.lora_layers)
    network.requires_grad_(False)
    importlib.import_module("peft").inject_adapter_in_model(config, network)


def add_text_lora(start: Start, settings: ModelSettings, family: Family) -> None:
    """The same for a pipeline's CLIP text encoders. Raises `UserError` where it has none."""
    import diffusers

    pipeline: Any = getattr(diffusers, family.pipeline or "DiffusionPipeline")
    if not family.pipeline or not hasattr(pipeline, "save_lora_weights"):
        raise UserError(
            f"model.lora_text is for the CLIP text encoders of a pipeline, and {start.folder} has "
            "none that diffusers could load updates for; leave it out"
        )
    for encoder in family.trained_encoders().values():
        config = _config(settings, TEXT_LAYERS)
        importlib.import_module("peft").inject_adapter_in_model(config, encoder)


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


def unmerge(parts: Parts, state: State, checkpoint: Path, scale: float) -> None:
    """Have an opened checkpoint draw with its updates beside the weights, counted `scale` times.

    Its weights have the updates merged into them: they are taken out, and added as layers of peft.
    `scale` 0 draws as before the training, 1 as trained. Changes the network of `parts`, and its
    text encoders where they were trained. Raises `UserError` for a run without updates.
    """
    check_lora()
    settings = resolve(ModelSettings, state.settings.get("model", {}))
    if not settings.lora or not (checkpoint / FOLDER).is_dir():
        raise UserError(
            f"{checkpoint} has no updates of low rank, which --lora-scale scales; leave it out, or "
            "train with model.lora"
        )
    layers = parts.family.lora_layers
    _unmerge(parts.unet, _updates(checkpoint / FOLDER, ""), settings, layers, scale)
    if settings.lora_text:
        for name, encoder in parts.family.trained_encoders().items():
            updates = _updates(checkpoint / FOLDER, name)
            _unmerge(encoder, updates, settings, TEXT_LAYERS, scale)


def _unmerge(
    module: Any,
    updates: dict[str, Tensor],
    settings: ModelSettings,
    layers: Sequence[str],
    scale: float,
) -> None:
    import torch

    once = _alpha(settings) / settings.lora
    names = {name.removesuffix(".lora_A.weight") for name in updates if "lora_A" in name}
    with torch.no_grad():
        for name in names:
            weight = module.get_submodule(name).weight
            b, a = (updates[f"{name}.lora_{one}.weight"].to(weight) for one in "BA")
            weight -= once * b @ a
    config = _config(settings, layers)
    importlib.import_module("peft").inject_adapter_in_model(config, module)
    with torch.no_grad():
        for name in names:
            layer = module.get_submodule(name)
            for one, part in (("A", layer.lora_A), ("B", layer.lora_B)):
                part["default"].weight.copy_(updates[f"{name}.lora_{one}.weight"])
            layer.scaling["default"] = once * scale
    module.eval().requires_grad_(False)


def _updates(folder: Path, encoder: str) -> dict[str, Tensor]:
    """The updates that save_lora wrote, by the names of the network or of a text encoder."""
    from diffusers.utils import state_dict_utils
    from safetensors.torch import load_file

    found: dict[str, Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        found |= load_file(file)
    prefixes = (f"{encoder}.",) if encoder else ("unet.", "transformer.", "base_model.model.")
    told = {
        name.removeprefix(prefix): weight
        for name, weight in found.items()
        for prefix in prefixes
        if name.startswith(prefix)
    }
    convert: Any = state_dict_utils.convert_state_dict_to_peft
    if not encoder:
        convert = state_dict_utils.convert_unet_state_dict_to_peft
    renamed: dict[str, Tensor] = convert(told)
    return renamed


def save_lora(
    folder: Path, state: dict[str, Tensor], settings: ModelSettings, family: Family
) -> None:
    """Write the updates of a state as diffusers reads them: `load_lora_weights(folder)`.

    The state is a network's, or with `model.lora_text` that of a NetworkAndText.
    """
    import diffusers

    layers = {name.replace(".default.", "."): w for name, w in state.items() if ".lora_" in name}
    trained = {"": layers}
    if settings.lora_text:
        names = {f"encoders.{name}.": name for name in family.trained_encoders()}
        trained = {
            name: {n.removeprefix(prefix): w for n, w in layers.items() if n.startswith(prefix)}
            for prefix, name in {"network.": "", **names}.items()
        }
    config = _config(settings, family.lora_layers)
    pipeline: Any = getattr(diffusers, family.pipeline or "StableDiffusionPipeline")
    if not hasattr(pipeline, "save_lora_weights"):
        _save_for_peft(folder, layers, config)
        return
    named: dict[str, Any] = {f"{family.part}_lora_adapter_metadata": config.to_dict()}
    for name, updates in trained.items():
        named[f"{name or family.part}_lora_layers"] = _as_diffusers(updates, name, family)
        if name:
            about = _config(settings, TEXT_LAYERS).to_dict()
            named[f"{name}_lora_adapter_metadata"] = about
    pipeline.save_lora_weights(str(folder), **named)


def _as_diffusers(layers: dict[str, Tensor], encoder: str, family: Family) -> dict[str, Tensor]:
    """The names that diffusers' scripts give updates of a U-Net or a text encoder."""
    from diffusers.utils import state_dict_utils

    if not encoder and family.part != "unet":
        return layers
    converted: Any = state_dict_utils.convert_state_dict_to_diffusers
    found: dict[str, Tensor] = converted(layers)
    return found


def _save_for_peft(folder: Path, layers: dict[str, Tensor], config: Any) -> None:
    """As peft's own models write them."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    named = {f"base_model.model.{name}": weight for name, weight in layers.items()}
    save_file(named, folder / "adapter_model.safetensors", {"format": "pt"})
    config.save_pretrained(str(folder))


def _alpha(settings: ModelSettings) -> float:
    return float(settings.lora if settings.lora_alpha is None else settings.lora_alpha)


def _config(settings: ModelSettings, layers: Sequence[str]) -> Any:
    config: Any = importlib.import_module("peft").LoraConfig
    return config(
        r=settings.lora,
        lora_alpha=_alpha(settings),
        init_lora_weights="gaussian",
        target_modules=list(layers),
    )
