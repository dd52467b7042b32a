"""The network behind `pwatermark`: the bundled model's trunk to its third stage, and three heads.

Reads `curate/clip/mini` and `head.safetensors` beside this file. Images are taken as the bundled
model takes them (224 px, padded with white). Marks are fine and repeat: an image's one pooled
vector has lost them, while the third stage still has a cell every 8 pixels. A head looks at
patches of those cells, and at their mean and maximum over the image.

Runs with one thread, so that an image's number does not depend on the machine's cores.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from frenchcat.curate.clip.efficientnet import image_weights, trunk
from frenchcat.curate.clip.preprocess import Preprocess
from frenchcat.curate.clip.weights import MINI
from frenchcat.curate.threads import one_torch_thread

WEIGHTS = Path(__file__).resolve().parent / "head.safetensors"
TRUNK_WEIGHTS = MINI / "open_clip_model.safetensors"
STAGES = 3  # of the trunk's seven
HEADS = 3
CHANNELS = 40  # that the third stage gives, at 28 x 28
PREPROCESS = Preprocess(224, 224, "longest", "bicubic", 255)


class WatermarkHead(nn.Module):
    """(N, 40, 28, 28) -> (N,) logits."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Sequential(
            nn.BatchNorm2d(CHANNELS),
            nn.Conv2d(CHANNELS, 48, 3, stride=2, padding=1),
            nn.BatchNorm2d(48),
            nn.ReLU(),
            nn.Conv2d(48, 64, 3, stride=2, padding=1),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.BatchNorm2d(64),
            nn.ReLU(),
        )
        self.drop = nn.Dropout(0.3)
        self.last = nn.Linear(128, 1)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """How much rather marked than not."""
        cells = self.patches(maps)
        pooled = torch.cat([cells.mean((2, 3)), cells.amax((2, 3))], dim=1)
        logits: torch.Tensor = self.last(self.drop(pooled))[:, 0]
        return logits


class Heads(nn.Module):
    """Several heads, each fitted from another start; their mean hangs less on chance."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList(WatermarkHead() for _ in range(HEADS))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(N, 40, 28, 28) -> (N,) logits."""
        return torch.stack([head(maps) for head in self.heads]).mean(0)


class Network:
    """Trunk and heads, loaded; gives probabilities."""

    def __init__(self) -> None:
        from safetensors.torch import load_file

        self.trunk = load_trunk()
        self.heads = Heads()
        self.heads.load_state_dict(load_file(WEIGHTS))
        self.heads.eval()

    def __call__(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Images (H, W, 3) in RGB -> (N,) in [0, 1]."""
        with torch.inference_mode(), one_torch_thread():
            logits = self.heads(self.trunk(inputs([Image.fromarray(each) for each in pictures])))
            found: NDArray[np.float32] = logits.sigmoid().numpy()
        return found


def inputs(pictures: Sequence[Image.Image]) -> torch.Tensor:
    """Images -> (N, 3, 224, 224) float32 in [-1, 1]."""
    pixels = np.stack([np.asarray(PREPROCESS(picture), np.float32) for picture in pictures])
    return torch.from_numpy(pixels / 127.5 - 1).permute(0, 3, 1, 2)  # channels stay last in memory


def load_trunk() -> nn.Module:
    """(N, 3, 224, 224) -> (N, 40, 28, 28): the trunk's first stages, float32, ready to run."""
    return trunk(image_weights(TRUNK_WEIGHTS), STAGES)
