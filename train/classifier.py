"""A noise-aware classifier, p(label | x_t, t), whose gradient steers a diffusion model.

Classifier guidance (2105.05233, section 4) needs log p(y | x_t) at every noise, so the network sees
images noised by the process of the model that it is to steer, and is told t. It is the half of a
U-Net that goes down, then a mean over the image. There is no dropout: a step's randomness
would then depend on more than the sample's name.

Written by classifier_loop.py into each checkpoint of a run with run.task `classifier`::

    classifier/config.json          channels, classes
    classifier/model.safetensors    the averaged weights
    classifier/accuracy.json        on held-out images, by timestep
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.unets.unet_2d_blocks import DownBlock2D
from torch import Tensor, nn

from frenchcat.curate.command_text import train_command
from frenchcat.curate.config import resolve
from frenchcat.curate.dataset import file_sha256
from frenchcat.curate.errors import UserError
from frenchcat.curate.json_text import json_text
from frenchcat.train import checkpoint
from frenchcat.train.model import groups_of
from frenchcat.train.run import Parts
from frenchcat.train.settings import ClassifierSettings, TrainSettings

FOLDER, WEIGHTS, ACCURACY = "classifier", "model.safetensors", "accuracy.json"


class Classifier(nn.Module):
    """x_t (N, C, H, W) float32, t (N,) int64 -> logits (N, classes)."""

    def __init__(self, settings: ClassifierSettings, channels: int, classes: int) -> None:
        super().__init__()
        widths = settings.channels
        told, groups = 4 * widths[0], groups_of(widths)
        self.wave = Timesteps(widths[0], flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time = TimestepEmbedding(widths[0], told)
        self.first = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.levels = nn.ModuleList(
            DownBlock2D(
                in_channels=before,
                out_channels=width,
                temb_channels=told,
                num_layers=settings.layers_per_block,
                resnet_groups=groups,
                add_downsample=n < len(widths) - 1,
            )
            for n, (before, width) in enumerate(zip((widths[0], *widths), widths, strict=False))
        )
        self.norm = nn.GroupNorm(groups, widths[-1])
        self.last = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """The logits; their softmax is p(label | x_t)."""
        told = self.time(self.wave(t).to(x.dtype))
        x = self.first(x)
        for level in self.levels:
            x, _ = level(x, told)
        x = nn.functional.silu(self.norm(x)).mean((2, 3))
        logits: Tensor = self.last(x)
        return logits


@dataclass(frozen=True)
class TrainedClassifier:
    """A classifier from a run's checkpoint, without gradients for its weights."""

    run: Path
    settings: TrainSettings
    step: int
    digest: str  # SHA-256 of its weights
    classes: tuple[str, ...]
    network: Callable[[Tensor, Tensor], Tensor]

    def number_of(self, label: str) -> int:
        """A label's index. Raises `UserError` for a label that it did not learn."""
        if label not in self.classes:
            raise UserError(
                f"{self.run} does not know the label {label!r}; known: {', '.join(self.classes)}"
            )
        return self.classes.index(label)

    def check_fits(self, parts: Parts) -> None:
        """Raise `UserError` if it was trained on other noise or images than the model draws."""
        ours, theirs = _seen(self.settings), _seen(parts.settings)
        if ours != theirs:
            name = next(name for name in ours if ours[name] != theirs[name])
            raise UserError(
                f"the classifier {self.run} was trained with {name} = {ours[name]}, and the model "
                f"that it should steer with {theirs[name]}; train one with --set "
                f"{name}={theirs[name]}"
            )


def open_classifier(run: Path) -> TrainedClassifier:
    """The classifier of a run's best checkpoint, on the CPU.

    Raises `UserError` for a folder that is not a classifier's run, or has no checkpoint yet.
    """
    from safetensors.torch import load_file

    found = checkpoint.best(run)
    if found is None:
        raise UserError(f"{run} has no classifier checkpoint; {_HOW}")
    if not (found / FOLDER).is_dir():
        raise UserError(f"{run} is the run of a diffusion model, not of a classifier; {_HOW}")
    state = checkpoint.read_state(found)
    settings = resolve(TrainSettings, state.settings, str(found / "state.json"))
    about = json.loads((found / FOLDER / "config.json").read_text(encoding="utf-8"))
    network = Classifier(settings.classifier, about["channels"], len(about["classes"]))
    network.load_state_dict(load_file(found / FOLDER / WEIGHTS), strict=True)
    network.eval().requires_grad_(False)
    digest = file_sha256(found / FOLDER / WEIGHTS)
    return TrainedClassifier(run, settings, state.step, digest, tuple(about["classes"]), network)


def save_classifier(
    folder: Path, weights: dict[str, Tensor], classes: list[str], channels: int, accuracy: Any
) -> None:
    """Write what `open_classifier` reads, and the accuracy beside it."""
    from safetensors.torch import save_file

    folder = folder / FOLDER
    folder.mkdir()
    about = {"channels": channels, "classes": classes}
    (folder / "config.json").write_text(json_text(about, indent=1), encoding="utf-8")
    save_file({name: one.contiguous() for name, one in weights.items()}, folder / WEIGHTS)
    (folder / ACCURACY).write_text(json_text(accuracy, indent=1), encoding="utf-8")


_HOW = f"make one with: {train_command('classifier-demo', 'NEW')}"


def _seen(settings: TrainSettings) -> dict[str, Any]:
    """Settings that decide which x_t a network sees."""
    process = settings.diffusion
    return {
        "data.size": settings.data.size,
        "diffusion.schedule": process.schedule,
        "diffusion.steps": process.steps,
        "diffusion.zero_terminal": process.zero_terminal,
        "model.vae": settings.model.vae,
        "model.patch": settings.model.patch,
    }
