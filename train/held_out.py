"""The held-out images of a run, and the loss on them by timestep.

Reads a run's rows and their tars. The run never trains on these rows, and their noise is the same
for every checkpoint, so that checkpoints are comparable. Cost: TIMES passes of the network per
image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from frenchcat.train.layout import buckets_of
from frenchcat.train.loader import noise_of
from frenchcat.train.pictures import (
    edges_of,
    enough_of,
    fitted,
    shapes_of,
    sizes_of,
    without_randomness,
)
from frenchcat.train.randomness import SampleRandomness
from frenchcat.train.reader import Reader, Sample
from frenchcat.train.rows import TrainingRows
from frenchcat.train.run import Parts
from frenchcat.train.settings import TextSettings
from frenchcat.train.stored import LatentStore, StoredReader, StoredSample
from frenchcat.train.text import variants_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from frenchcat.train.model import Codec
    from frenchcat.train.settings import DataSettings


TIMES = 10
"""Timesteps at which the held-out loss is measured, evenly spaced."""

_BATCH = 64


@dataclass(frozen=True)
class HeldOutLoss:
    """Squared errors of the prediction, on images that were never trained on."""

    by_time: dict[int, float]

    @property
    def mean(self) -> float:
        """Over all times."""
        return sum(self.by_time.values()) / len(self.by_time)


def held_out_loss(
    parts: Parts,
    unet: Any,
    rows: TrainingRows,
    device: torch.device,
    stored: LatentStore | None = None,
) -> HeldOutLoss | None:
    """The loss by timestep on the run's held-out rows; None if it has none.

    The noise is the same for every checkpoint, so that checkpoints are comparable. With `stored`,
    latents are read instead of encoded.
    """
    import torch

    process = parts.settings.diffusion
    groups = held_out_groups(
        parts.settings.data, parts.codec, rows, device, text=parts.settings.text, stored=stored
    )
    if not groups:
        return None
    totals = dict.fromkeys(held_out_times(process.steps), 0.0)
    for still in groups:
        for start in range(0, len(still.x_0), _BATCH):
            part = still.part(start, start + _BATCH)
            condition = parts.text(part.captions).to(device).sized(part.sizes)
            for time in totals:
                t = torch.full((len(part.x_0),), time, device=device)
                x_t = parts.diffusion.noised(part.x_0, t, part.noise)
                target = parts.diffusion.target(process.target, part.x_0, part.noise, t)
                with torch.no_grad():
                    output = parts.family.answer(unet, x_t, t, condition)
                error = (output.float() - target).square().flatten(1).mean(1)
                totals[time] += float(error.sum())
    count = sum(len(still.x_0) for still in groups)
    return HeldOutLoss({time: total / count for time, total in totals.items()})


@dataclass(frozen=True)
class HeldOut:
    """The images that a run never trains on, always with the same noise."""

    x_0: Tensor  # (N, C, H, W) float32
    noise: Tensor  # likewise
    captions: list[str]
    sizes: Tensor  # (N, 6) float32: see pictures.sizes_of

    def part(self, start: int, stop: int) -> HeldOut:
        """Some of them."""
        chosen = slice(start, stop)
        return HeldOut(
            self.x_0[chosen], self.noise[chosen], self.captions[chosen], self.sizes[chosen]
        )


def held_out(
    data: DataSettings,
    codec: Codec,
    rows: TrainingRows,
    device: torch.device,
    draw: int = 0,
    text: TextSettings | None = None,
) -> HeldOut | None:
    """Those of a run with one bucket, read as by `held_out_groups`; None if none is left."""
    groups = held_out_groups(data, codec, rows, device, draw, text)
    return groups[0] if groups else None


def held_out_groups(
    data: DataSettings,
    codec: Codec,
    rows: TrainingRows,
    device: torch.device,
    draw: int = 0,
    text: TextSettings | None = None,
    stored: LatentStore | None = None,
) -> list[HeldOut]:
    """Read them by bucket, without random crops or flips; another `draw` has other noise.

    Of a caption with variants (`text.separator`) the first is taken. A damaged image is left out,
    because its substitute was trained on. With `stored`, latents are read instead of encoded.
    """
    import torch

    numbers = np.array(rows.held_out, np.int64)
    still = SampleRandomness(0, 0, "held out")
    plain = without_randomness(data)
    found = []
    for shape, mine, x_0 in (
        _encoded(data, codec, Reader(rows.folder, enough_of(data)).sound(numbers), device)
        if stored is None
        else _read_latents(data, codec, StoredReader(rows.folder, stored).sound(numbers), device)
    ):
        seeds = [SampleRandomness(0, 0, s.name, draw).number("noise") for s in mine]
        noise = noise_of(seeds, x_0.shape[1:]).to(device)
        captions = [variants_of(sample.caption, text or TextSettings())[0] for sample in mine]
        sizes = torch.tensor([sizes_of(s.size, shape, plain, still) for s in mine])
        found.append(HeldOut(x_0, noise, captions, sizes.float()))
    return found


def _encoded(
    data: DataSettings, codec: Codec, samples: Sequence[Sample], device: torch.device
) -> Iterator[tuple[tuple[int, int], Sequence[Sample], Tensor]]:
    """Of each bucket: its shape in pixels, its samples, and their x_0."""
    import torch

    still, plain = SampleRandomness(0, 0, "held out"), without_randomness(data)
    aspects = np.array([s.picture.width / s.picture.height for s in samples])
    buckets = buckets_of(aspects, edges_of(data.aspects)) if samples else None
    for bucket, shape in enumerate(shapes_of(data)):
        mine = [s for n, s in enumerate(samples) if buckets is None or buckets[n] == bucket]
        if not mine:
            continue
        pixels = np.stack([fitted(s.picture, shape, plain, still) for s in mine])
        both = torch.split(torch.from_numpy(pixels).permute(0, 3, 1, 2), _BATCH)
        yield shape, mine, torch.cat([codec.encode(some.to(device)) for some in both])


def _read_latents(
    data: DataSettings, codec: Codec, samples: Sequence[StoredSample], device: torch.device
) -> Iterator[tuple[tuple[int, int], Sequence[StoredSample], Tensor]]:
    """The same from stored latents."""
    import torch

    for shape in shapes_of(data):
        width, height = (side // codec.shrinks for side in shape)
        mine = [s for s in samples if s.variants.shape[2:] == (height, width)]
        if mine:
            x_0 = torch.from_numpy(np.stack([s.variants[0] for s in mine]))
            yield shape, mine, x_0.to(device).float()


def held_out_times(steps: int) -> list[int]:
    """TIMES of a schedule's steps, evenly spaced."""
    return [int((n + 0.5) * steps / TIMES) for n in range(TIMES)]
