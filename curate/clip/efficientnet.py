"""EfficientNet-Lite0 (Tan and Le 2019; Google's "lite" variant) for inference, and CLIP's head.

Reads the bundled model's weights, which are named as timm names them. It gives what timm's
`tf_efficientnet_lite0` gives, to rounding; a test holds them together. There are two reasons to
have it: importing timm costs seconds, and batch normalisation is folded into the convolutions
(`fuse_conv_bn_weights`), which is the same function at half the cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_weights

if TYPE_CHECKING:
    from pathlib import Path

_EPS = 1e-3  # of the batch normalisations
_STRIDES = (1, 2, 2, 2, 1, 2, 1)  # of the seven stages' first blocks
_INNER = ("conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3")
_FIRST = ("conv_dw", "bn1", "conv_pw", "bn2")  # stage 0 does not widen

Weights = Mapping[str, torch.Tensor]


class Convolution(nn.Module):
    """A convolution with its batch normalisation, TensorFlow's "same" padding, and ReLU6."""

    def __init__(self, state: Weights, conv: str, norm: str, stride: int, active: bool) -> None:
        super().__init__()
        weight, bias = fuse_conv_bn_weights(
            state[f"{conv}.weight"],
            None,
            state[f"{norm}.running_mean"],
            state[f"{norm}.running_var"],
            _EPS,
            state[f"{norm}.weight"],
            state[f"{norm}.bias"],
        )
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)
        self.stride, self.active = stride, active
        self.groups = len(weight) if weight.shape[1] == 1 else 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, C', ceil(H / stride), ceil(W / stride))."""
        kernel = self.weight.shape[-1]
        padding = kernel // 2
        if self.stride > 1:
            high, wide = (_missing(side, kernel, self.stride) for side in x.shape[2:])
            x = functional.pad(x, (wide // 2, wide - wide // 2, high // 2, high - high // 2))
            padding = 0
        x = functional.conv2d(x, self.weight, self.bias, self.stride, padding, 1, self.groups)
        return functional.relu6(x) if self.active else x


class InvertedResidual(nn.Module):
    """An inverted residual block: widen, convolve per channel, narrow."""

    def __init__(self, state: Weights, name: str, stride: int, first: bool) -> None:
        super().__init__()
        names = _FIRST if first else _INNER
        pairs = list(zip(names[::2], names[1::2], strict=True))
        layers = [
            Convolution(
                state,
                f"{name}.{conv}",
                f"{name}.{norm}",
                stride if conv == "conv_dw" else 1,
                active=(conv, norm) != pairs[-1],  # the last one is linear
            )
            for conv, norm in pairs
        ]
        self.layers = nn.Sequential(*layers)
        before = layers[0].weight.shape[0 if first else 1]
        self.skips = stride == 1 and before == layers[-1].weight.shape[0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        result: torch.Tensor = self.layers(x)
        return result + x if self.skips else result


class EfficientNetTower(nn.Module):
    """Normalised pixels (N, 3, H, W) -> (N, D), not of unit length."""

    def __init__(self, state: Weights) -> None:
        super().__init__()
        self.trunk = trunk(state)
        self.last = Convolution(state, "trunk.conv_head", "trunk.bn2", 1, active=True)
        self.fc1 = _linear(state, "head.mlp.fc1")
        self.fc2 = _linear(state, "head.mlp.fc2")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The trunk, its mean over positions, and two layers."""
        pooled = self.last(self.trunk(x)).mean((2, 3))
        result: torch.Tensor = self.fc2(functional.gelu(self.fc1(pooled)))
        return result


def image_weights(file: Path) -> dict[str, torch.Tensor]:
    """The image side of a CLIP checkpoint whose trunk is EfficientNet-Lite0, in float32."""
    from safetensors import safe_open

    prefix = "visual."
    with safe_open(file, "pt") as opened:
        names = [name for name in opened.keys() if name.startswith(prefix)]  # noqa: SIM118
        return {name.removeprefix(prefix): opened.get_tensor(name).float() for name in names}


def trunk(state: Weights, stages: int = len(_STRIDES)) -> nn.Sequential:
    """The stem and the first `stages` of seven: (N, 3, H, W) -> (N, C, H', W')."""
    layers: list[nn.Module] = [Convolution(state, "trunk.conv_stem", "trunk.bn1", 2, active=True)]
    for stage, stride in enumerate(_STRIDES[:stages]):
        number = 0
        while f"trunk.blocks.{stage}.{number}.bn1.weight" in state:
            name = f"trunk.blocks.{stage}.{number}"
            layers.append(
                InvertedResidual(state, name, stride if number == 0 else 1, first=stage == 0)
            )
            number += 1
    made = nn.Sequential(*layers).eval()
    return made.to(memory_format=torch.channels_last)


def _missing(side: int, kernel: int, stride: int) -> int:
    """Pixels that TensorFlow's "same" padding adds to a side."""
    return max((-(-side // stride) - 1) * stride + kernel - side, 0)


def _linear(state: Weights, name: str) -> nn.Linear:
    weight: Any = state[f"{name}.weight"]
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight, "bias": state[f"{name}.bias"]})
    return layer
