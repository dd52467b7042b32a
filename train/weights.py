"""The U-Net's weights during training: wrapped for several ranks, averaged, saved and loaded.

Used alone, under DDP (every rank has all weights), or under FSDP2 (every rank has a part).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from frenchcat.curate.notices import say_once
from frenchcat.train.attention import PlainAttention
from frenchcat.train.distributed import Ranks
from frenchcat.train.families import Family
from frenchcat.train.lora import merged
from frenchcat.train.settings import TrainSettings
from frenchcat.train.text import TextEncoder

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from frenchcat.train.run import Parts

_GIVEN = frozenset({"lr", "weight_decay", "eps"})
"""Options of an optimizer that the settings determine; others, such as Prodigy's, it finds
itself.
"""


class TrainableWeights:
    """The parameters that the optimizer changes."""

    def __init__(
        self,
        unet: Any,
        settings: TrainSettings,
        device: torch.device,
        ranks: Ranks,
        family: Family | None = None,
    ) -> None:
        import torch

        self.settings, self.device = settings, device
        self.bf16 = _wants_bf16(settings, device)
        # Convolutions are faster with channels last; torch's group norm is not, and in bfloat16 on
        # a processor it takes eight times as long then, which is more than they save.
        plain = self.bf16 and device.type == "cpu"
        in_parts = ranks.world > 1 and settings.run.shard_model  # FSDP2 takes no other layout
        self.layout = torch.contiguous_format if plain or in_parts else torch.channels_last
        unet = unet.to(device).to(memory_format=self.layout).train()
        family = family or Family()
        network = getattr(unet, "network", unet)  # of a NetworkAndText
        if plain and family.part == "unet" and hasattr(network, "set_attn_processor"):
            # a classifier has no attention, and a transformer's is of other kinds
            network.set_attn_processor(PlainAttention())
        self.module: Any = unet
        self.root: Any = unet  # what the module wraps
        if in_parts:
            from torch.distributed.fsdp import fully_shard

            for block in family.blocks(unet):
                fully_shard(block)
            fully_shard(unet)
        elif ranks.world > 1:
            from torch.nn.parallel import DistributedDataParallel

            gpu = [device.index] if device.type == "cuda" else None
            self.module = DistributedDataParallel(unet, device_ids=gpu)
        trained = [(n, p) for n, p in unet.named_parameters() if p.requires_grad]
        self.names = [name for name, _ in trained]
        self.parameters: list[Any] = [parameter for _, parameter in trained]
        self.averaged: list[Tensor] = [p.detach().clone() for p in self.parameters]
        self.uncompiled: Any = None  # the module that was compiled
        if settings.run.compile:
            self._compile()

    def plain(self) -> list[Tensor]:
        """The weights without their gradients' graph."""
        return [parameter.detach() for parameter in self.parameters]

    def autocast(self) -> AbstractContextManager[Any]:
        """bfloat16 arithmetic over float32 weights, if requested."""
        import torch

        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def no_sync(self, more: bool) -> AbstractContextManager[Any]:
        """Keep gradients on their rank while more parts of the batch follow."""
        if more and hasattr(self.module, "no_sync"):
            context: AbstractContextManager[Any] = self.module.no_sync()
            return context
        return contextlib.nullcontext()

    def tensors(self, optimizer: Any) -> dict[str, Tensor]:
        """Weights, averages and moments by name, whole, on the CPU. Every rank must call it."""
        import torch

        found: dict[str, Tensor] = {}
        for name, weight, mean in zip(self.names, self.parameters, self.averaged, strict=True):
            found[f"weights.{name}"] = _whole(weight)
            found[f"averaged.{name}"] = _whole(mean)
            for moment, value in optimizer.state[weight].items():
                if hasattr(value, "to"):
                    found[f"{moment}.{name}"] = _whole(value)
                elif isinstance(value, int | float):
                    found[f"{moment}.{name}"] = torch.tensor(value, dtype=torch.float64)
        for name, value in optimizer.param_groups[0].items():
            if (
                name not in _GIVEN
                and isinstance(value, int | float)
                and not isinstance(value, bool)
            ):
                found[f"group.{name}"] = torch.tensor(value, dtype=torch.float64)
        return found

    def load(self, tensors: dict[str, Tensor], optimizer: Any) -> None:
        """Restore what `tensors` returned."""
        import torch

        moments = {name.partition(".")[0] for name in tensors} - {"weights", "averaged", "group"}
        with torch.no_grad():
            for n, (name, weight) in enumerate(zip(self.names, self.parameters, strict=True)):
                weight.copy_(_like(tensors[f"weights.{name}"], weight))
                self.averaged[n].copy_(_like(tensors[f"averaged.{name}"], weight))
                there = {m: f"{m}.{name}" for m in moments if f"{m}.{name}" in tensors}
                if there:
                    optimizer.state[weight] = {
                        m: _moment(m, tensors[full], weight) for m, full in there.items()
                    }
        for group in optimizer.param_groups:
            for name in group:
                if f"group.{name}" in tensors:
                    group[name] = type(group[name])(float(tensors[f"group.{name}"]))

    def averaged_state(self) -> dict[str, Tensor]:
        """The averages of the trained weights, by name, on the CPU. Every rank must call it."""
        return {n: _whole(mean) for n, mean in zip(self.names, self.averaged, strict=True)}

    def averaged_parts(self, parts: Parts) -> Parts:
        """The parts with a network (and text encoders) of its own that have the averaged weights.

        For sampling and saving. Every rank has to call it: under FSDP2 each holds a part of them.
        """
        from frenchcat.train.run import unet_of

        model = self.settings.model
        kept = {name for name, _ in self.root.named_buffers()}
        whole = {
            name: _whole(tensor)
            for name, tensor in self.root.state_dict().items()
            if model.lora or name in kept
        }
        state = whole | self.averaged_state()
        if model.lora:
            state = merged(state, model)
        text = parts.text
        if model.lora_text:
            from frenchcat.train.text_updates import network_state, text_of

            text, state = text_of(parts, state), network_state(state)
        if parts.start is None:
            assert isinstance(parts.text, TextEncoder)
            unet = unet_of(self.settings, parts.text, parts.codec)
        else:
            unet = type(parts.unet).from_config(parts.unet.config)
        unet.load_state_dict(state, strict=True)
        return replace(parts, unet=unet.to(self.device).eval(), text=text)

    def _compile(self) -> None:
        import torch

        from frenchcat.curate.clip.hardware import can_compile

        if obstacle := can_compile(str(self.device)):
            say_once(f"training uncompiled: {obstacle}")
            return
        self.uncompiled, self.module = self.module, torch.compile(self.module)

    @contextlib.contextmanager
    def without_compiling(self) -> Iterator[None]:
        """The same weights through the module as it was before it was compiled."""
        compiled, self.module = self.module, self.uncompiled
        try:
            yield
        finally:
            self.module = compiled


def _wants_bf16(settings: TrainSettings, device: torch.device) -> bool:
    from frenchcat.curate.clip.hardware import precision_of

    return precision_of(settings.run.precision, device.type) == "bf16"


def _whole(tensor: Tensor) -> Tensor:
    """A whole tensor from all its parts, on the CPU."""
    full = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return full.detach().to("cpu", copy=True)


def _like(tensor: Tensor, other: Any) -> Tensor:
    """A whole tensor, distributed as `other` is on this rank."""
    if not hasattr(other, "full_tensor"):
        return tensor.to(other.device)
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(other.device), other.device_mesh, other.placements)


def _moment(name: str, tensor: Tensor, weight: Tensor) -> Any:
    import torch

    if tensor.dtype == torch.float64 and not tensor.dim():  # a number, which is not a tensor there
        return int(tensor) if float(tensor).is_integer() else float(tensor)
    if tensor.shape != weight.shape:  # a scalar, which fused AdamW keeps on the weight's device
        return tensor.to(weight.device)
    moved = _like(tensor, weight)
    return torch.empty_like(weight, dtype=moved.dtype).copy_(moved)  # 8 bits stay 8 bits
