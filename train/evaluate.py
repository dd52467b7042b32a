"""How good a run is: the held-out loss by timestep, and the distance of its pictures to real ones.

Reads a run, its held-out rows and its dataset's CLIP model, writes `evaluation.json` into the run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from curate.config import changed
from train.loader import noise_of
from train.model import unet_output
from train.pictures import fitted
from train.plan import Batch
from train.randomness import Chance
from train.reader import Reader
from train.rows import Rows
from train.run import Parts

if TYPE_CHECKING:
    import torch

TIMES = 10
"""Timesteps at which the held-out loss is measured, evenly spaced."""
_BATCH = 64


@dataclass(frozen=True)
class HeldOutLoss:
    """Squared errors of what the model predicts, on pictures that it never trained on."""

    by_time: dict[int, float]

    @property
    def mean(self) -> float:
        """Over all times."""
        return sum(self.by_time.values()) / len(self.by_time)


def held_out_loss(parts: Parts, unet: Any, rows: Rows, device: torch.device) -> HeldOutLoss | None:
    """The loss by timestep on the run's held-out rows; None where it has none.

    The same noise for every checkpoint, so that two of them can be compared.
    """
    import numpy as np
    import torch

    if not rows.held_out:
        return None
    data, process = parts.settings.data, parts.settings.diffusion
    numbers = np.array(rows.held_out)
    read = Reader(rows.folder).read(Batch(numbers, np.zeros_like(numbers), 0))
    still = Chance(0, 0, "held out")
    shape = (data.size, data.size)
    plain = changed(data, flip=False, crop="pad" if data.crop == "pad" else "center")
    pixels = np.stack([fitted(s.picture, shape, plain, still) for s in read.samples])
    x_0 = parts.codec.encode(torch.from_numpy(pixels).permute(0, 3, 1, 2).to(device))
    noise = noise_of([Chance(0, 0, s.key).number("noise") for s in read.samples], x_0.shape[1:])
    noise = noise.to(device)
    condition = parts.text([sample.caption for sample in read.samples]).to(device)
    found = {}
    for n in range(TIMES):
        time = int((n + 0.5) * process.steps / TIMES)
        t = torch.full((len(x_0),), time, device=device)
        x_t = parts.diffusion.noised(x_0, t, noise)
        target = parts.diffusion.target(process.target, x_0, noise, t)
        total = 0.0
        for start in range(0, len(x_0), _BATCH):
            chosen = slice(start, start + _BATCH)
            with torch.no_grad():
                output = unet_output(
                    unet, x_t[chosen], t[chosen], condition.part(start, start + _BATCH)
                )
            total += float((output.float() - target[chosen]).square().flatten(1).mean(1).sum())
        found[time] = total / len(x_0)
    return HeldOutLoss(found)
