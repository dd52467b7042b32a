"""A network and a pipeline's text encoders as one module, where both are trained (model.lora_text).

Captions go in and are encoded with gradients, so nothing of them is kept from step to step. One
module, so that several ranks add up the gradients of all of it.

Cost: the encoders' forward and backward passes in each step.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from frenchcat.train.families import PipelineFamily
from frenchcat.train.pipeline_text import PipelineText

if TYPE_CHECKING:
    from frenchcat.train.run import Parts

_NETWORK, _ENCODERS = "network.", "encoders."


@dataclass(frozen=True)
class Captions:
    """A batch of captions that are not encoded yet, and the sizes of their images, (B, 6)."""

    texts: Sequence[str]
    sizes: Tensor

    def part(self, start: int, stop: int) -> Captions:
        """Some of them."""
        return Captions(self.texts[start:stop], self.sizes[start:stop])


class NetworkAndText(torch.nn.Module):
    """`forward(x, t, captions)` gives the network's answer, in the shape of x."""

    def __init__(self, network: Any, family: PipelineFamily) -> None:
        super().__init__()
        self.network, self._family = network, family
        self.encoders = torch.nn.ModuleDict(family.trained_encoders())

    def forward(self, x: Tensor, t: Tensor, captions: Captions) -> Tensor:
        """Encode the captions and ask the network."""
        condition = self._family.encode(captions.texts, x.device).sized(captions.sizes)
        return self._family.answer(self.network, x, t, condition)


def network_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of a state of NetworkAndText that of the network alone."""
    return _below(state, _NETWORK)


def text_of(parts: Parts, state: dict[str, Tensor]) -> PipelineText:
    """A text side of its own with the weights in a state of NetworkAndText."""
    family = parts.family
    assert isinstance(family, PipelineFamily)
    pipe = copy.copy(family.pipe)
    for name, encoder in family.trained_encoders().items():
        plain = type(encoder)(encoder.config).float().eval().requires_grad_(False)
        plain.load_state_dict(_below(state, f"{_ENCODERS}{name}."), strict=True)
        setattr(pipe, name, plain)
    device = next(parts.unet.parameters()).device
    return PipelineText(type(family)(pipe), parts.text.digest).to(device)


def _below(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): w for n, w in state.items() if n.startswith(prefix)}
