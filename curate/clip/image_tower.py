"""The image side of a CLIP model on its device: batches of pixels -> (N, D) float32 unit rows.

bfloat16 weights where the processor has the instructions, torch.compile where the caller says the
work is long enough to pay for compiling.

A compiled tower sees one batch shape only (a short last batch is padded), so nothing is compiled
twice; the cost is at most one padded batch per call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from frenchcat.curate.clip.hardware import can_compile, device_of, precision_of
from frenchcat.curate.clip.settings import ClipSettings
from frenchcat.curate.errors import first_line
from frenchcat.curate.notices import say_once

Vectors = NDArray[np.float32]  # (N, D), unit rows
Pixels = NDArray[np.uint8]  # (N, H, W, 3)

COMPILE_PAYS_FROM = 2_000  # images; compiling a ViT-B-32 costs about half a minute on 2 cores


class ImageTower:
    """A loaded tower."""

    def __init__(
        self,
        tower: torch.nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        settings: ClipSettings,
        rows: int | None,
    ) -> None:
        """`rows` is how many images will be encoded in all, None for a few."""
        self.device, self.dtype = placed(settings)
        self.batch_size = settings.batch_size
        self.tower: Callable[[torch.Tensor], torch.Tensor] = tower.to(self.device, self.dtype)
        # Of the channels, (1, 3, 1, 1).
        self.mean = torch.tensor(mean, device=self.device).view(1, 3, 1, 1)
        self.std = torch.tensor(std, device=self.device).view(1, 3, 1, 1)
        self.compiled = _wants_compile(settings, self.device, rows)

    def __call__(self, batch: Pixels) -> Vectors:
        """At most a batch of pixels (N, H, W, 3) uint8 -> (N, D) float32 unit rows."""
        rows = len(batch)
        if self.compiled and rows < self.batch_size:
            padding = np.zeros((self.batch_size - rows, *batch.shape[1:]), np.uint8)
            batch = np.concatenate([batch, padding])
        tensor = torch.from_numpy(batch).to(self.device).permute(0, 3, 1, 2)
        with torch.inference_mode():
            scaled = (tensor.to(torch.float32) / 255 - self.mean) / self.std
            return unit(self._run(scaled.to(self.dtype)))[:rows]

    def _run(self, batch: torch.Tensor) -> torch.Tensor:
        if not self.compiled:
            return self.tower(batch)
        if self.compiled == "pending":
            self.compiled, eager = "done", self.tower
            try:
                self.tower = _compile(eager)
                return self.tower(batch)
            except Exception as error:  # a compiler may fail in any way it likes
                self.compiled, self.tower = "", eager
                say_once(f"torch.compile failed ({first_line(error)}); running uncompiled")
        return self.tower(batch)


def placed(settings: ClipSettings) -> tuple[str, torch.dtype]:
    """The device and the type of the weights. Raises `UserError` for a device that is missing."""
    device = device_of(settings.device)
    precision = precision_of(settings.precision, device)
    return device, torch.bfloat16 if precision == "bf16" else torch.float32


def unit(rows: torch.Tensor | tuple[torch.Tensor, ...]) -> Vectors:
    """A tower's output as float32 unit rows in numpy; zeros become NaN."""
    if isinstance(rows, tuple):  # CoCa's towers give their tokens beside the vector
        rows = rows[0]
    found: Vectors = torch.nn.functional.normalize(rows.float(), dim=-1, eps=0.0).cpu().numpy()
    return found


def _wants_compile(settings: ClipSettings, device: str, rows: int | None) -> str:
    """How to run the tower: "" is eager, "pending" compiles at the first batch."""
    long_enough = rows is not None and rows >= COMPILE_PAYS_FROM
    if settings.compile == "no" or (settings.compile == "auto" and not long_enough):
        return ""
    if obstacle := can_compile(device):
        say_once(f"running uncompiled: {obstacle}")
        return ""
    return "pending"


def _compile(tower: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    return torch.compile(tower, dynamic=False)
