"""Batches for a rank: read, decoded, fitted and noised by name, in worker processes or in this one.

A worker receives (epoch, k) and returns the rank's part of that batch. It holds no state, so any
number of workers gives the same batches, and a restart asks for the next number. Noise is drawn
here, on the CPU, because it must be the same on every device.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.errors import FrenchcatError
from frenchcat.train.diffusion import logit_normal
from frenchcat.train.pictures import enough_of, fitted, is_mirrored, shapes_of, sizes_of
from frenchcat.train.plan import Plan
from frenchcat.train.randomness import SampleRandomness
from frenchcat.train.reader import BadSample, Loss, Reader, ReadSample, SampleReader
from frenchcat.train.settings import DiffusionSettings, TrainSettings
from frenchcat.train.stored import NOTHING_STORED, Stored, StoredReader
from frenchcat.train.text import Condition, variants_of

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor

    from frenchcat.train.rows import TrainingRows


@dataclass
class Loaded:
    """A rank's part of a global batch."""

    epoch: int
    k: int
    keys: list[str]
    captions: list[str]  # "" if the caption was dropped
    pixels: Tensor  # (B, 3, H, W) uint8; nothing where `latents` hold the images
    times: Tensor  # (B,) int64, of the diffusion
    noise_seeds: list[int]
    sizes: Tensor  # (B, 6) float32: see pictures.sizes_of
    losses: list[Loss]
    read_sec: float
    decode_sec: float
    latents: Tensor | None = None  # (B, C, h, w), as stored
    condition: Condition | None = None  # of the captions, as stored; zeros for the empty one
    captions_cut: int = 0  # of stored ones
    vectors: Tensor | None = None  # (B, D) float32: the images' CLIP vectors, zeros if left out


def plan_of(rows: TrainingRows, settings: TrainSettings) -> Plan:
    """The order in which a run with these settings draws its rows."""
    data = settings.data
    return Plan(rows.population, rows.digest, settings.run.seed, data.batch, data.shards_per_block)


@dataclass
class Batches:
    """A map from (epoch, k) to this rank's part; torch's DataLoader calls this a dataset."""

    folder: Path  # of the rows
    settings: TrainSettings
    rank: int = 0
    world: int = 1
    stored: Stored = NOTHING_STORED

    @cached_property
    def reader(self) -> Reader:
        """Opened in the process that reads."""
        return Reader(self.folder, enough_of(self.settings.data))

    @cached_property
    def plan(self) -> Plan:
        """The same in every process."""
        return plan_of(self.reader.rows, self.settings)

    def __getstate__(self) -> dict[str, object]:
        names = ("folder", "settings", "rank", "world", "stored")
        return {name: getattr(self, name) for name in names}

    def __getitem__(self, place: tuple[int, int]) -> Loaded:
        """The part of batch k of an epoch that is this rank's."""
        import time

        import torch

        epoch, k = place
        began = time.perf_counter()
        part = self.plan.at(epoch, k).of_rank(self.rank, self.world)
        read = self._source.read(part)
        read_at = time.perf_counter()
        shape = shapes_of(self.settings.data)[part.bucket]
        randomness = [self._randomness(epoch, sample) for sample in read.samples]
        images = torch.from_numpy(self._images(read.samples, randomness, shape))
        process = self.settings.diffusion
        paired = zip(read.samples, randomness, strict=True)
        captions = [self._caption(sample, random) for sample, random in paired]
        condition, cut = self._stored_condition(read.samples, captions)
        encoded = self.stored.images is not None
        return Loaded(
            epoch,
            k,
            [sample.key for sample in read.samples],
            captions,
            torch.empty(0) if encoded else images.permute(0, 3, 1, 2),
            torch.tensor([drawn_time(one.uniform("timestep"), process) for one in randomness]),
            [random.number("noise") for random in randomness],
            self._sizes(read.samples, shape, randomness),
            read.losses,
            read_at - began,
            time.perf_counter() - read_at,
            images if encoded else None,
            condition,
            cut,
            self._vectors(read.samples, randomness),
        )

    @cached_property
    def _source(self) -> SampleReader[Any]:
        """What reads images: decoded ones, or latents that are stored."""
        if self.stored.images is None:
            return self.reader
        return StoredReader(self.folder, self.stored.images)

    def _images(
        self, samples: Sequence[Any], randomness: list[SampleRandomness], shape: tuple[int, int]
    ) -> NDArray[Any]:
        """(B, H, W, 3) uint8 of decoded images, or stored latents (B, C, h, w)."""
        data, paired = self.settings.data, zip(samples, randomness, strict=True)
        if self.stored.images is None:
            return np.stack([fitted(one.picture, shape, data, random) for one, random in paired])
        return np.stack([one.variants[int(is_mirrored(data, random))] for one, random in paired])

    def _vectors(
        self, samples: Sequence[ReadSample], randomness: list[SampleRandomness]
    ) -> Tensor | None:
        """The images' CLIP vectors, if the network is told of them."""
        import torch

        if self.stored.vectors is None:
            return None
        found = torch.from_numpy(self.stored.vectors.vectors([one.key for one in samples]))
        dropout = self.settings.model.image_dropout
        told = torch.tensor([random.uniform("image") >= dropout for random in randomness])
        return found * told[:, None]

    def _stored_condition(
        self, samples: Sequence[ReadSample], captions: Sequence[str]
    ) -> tuple[Condition | None, int]:
        """The captions' states, if they are stored, and how many of them had been cut."""
        if self.stored.texts is None:
            return None, 0
        keys = [sample.key for sample in samples]
        return self.stored.texts.conditions(list(zip(keys, captions, strict=True)))

    def _randomness(self, epoch: int, sample: ReadSample) -> SampleRandomness:
        return SampleRandomness(self.settings.run.seed, epoch, sample.name, sample.repeat)

    def _sizes(
        self,
        samples: Sequence[ReadSample],
        shape: tuple[int, int],
        randomness: list[SampleRandomness],
    ) -> Tensor:
        import torch

        pairs = zip(samples, randomness, strict=True)
        found = [sizes_of(sample.size, shape, self.settings.data, c) for sample, c in pairs]
        return torch.tensor(found, dtype=torch.float32)

    def _caption(self, sample: ReadSample, random: SampleRandomness) -> str:
        dropped = random.uniform("caption") < self.settings.text.dropout
        if dropped:
            return ""
        text = self.settings.text
        variants = variants_of(sample.caption, text)
        chosen = weighted(variants, text.weights, random.uniform("variant"))
        return in_template(chosen, text.templates, random, text.template_weights)


def in_template(
    caption: str,
    templates: Sequence[str],
    random: SampleRandomness,
    weights: Sequence[float] = (),
) -> str:
    """A caption in a randomly chosen template; unchanged if there are none."""
    if not templates:
        return caption
    chosen = weighted(templates, weights, random.uniform("template"))
    return chosen.replace("{caption}", caption)


def weighted(choices: Sequence[str], weights: Sequence[float], share: float) -> str:
    """The choice at a share in [0, 1), where each takes a part as large as its weight.

    Without weights all parts are equal. The last weight holds for further choices; the first choice
    is taken where the weights of all are 0.
    """
    if not weights:
        return choices[int(share * len(choices))]
    sums = list(accumulate(weights[min(n, len(weights) - 1)] for n in range(len(choices))))
    if not sums[-1]:
        return choices[0]
    return choices[min(bisect_right(sums, share * sums[-1]), len(choices) - 1)]


@dataclass(frozen=True)
class Cursor:
    """The state of a run: `k` batches of the epoch have been trained."""

    epoch: int = 0
    k: int = 0


def places(plan: Plan, cursor: Cursor, batches: int) -> Iterator[tuple[int, int]]:
    """The (epoch, k) of the next `count` batches, continuing into the next epoch.

    Raises ValueError if an epoch has no full batch.
    """
    epoch, k = cursor.epoch, cursor.k
    for _ in range(batches):
        while k >= plan.batches(epoch):
            if not plan.batches(epoch):
                raise ValueError(
                    f"{plan.population.rows} rows do not fill a batch of {plan.batch} in any "
                    "bucket; lower data.batch"
                )
            epoch, k = epoch + 1, 0
        yield epoch, k
        k += 1


def load(batches: Batches, wanted: Sequence[tuple[int, int]], workers: int) -> Iterator[Loaded]:
    """The batches in order; read ahead by `workers` processes, or one by one if that is 0."""
    if not workers:
        yield from (batches[place] for place in wanted)
        return
    from torch.utils.data import DataLoader

    for found in DataLoader(
        _InWorker(batches),  # type: ignore[arg-type]
        batch_size=None,
        sampler=wanted,
        num_workers=workers,
        prefetch_factor=4,
        multiprocessing_context="spawn",
    ):
        if isinstance(found, Exception):
            raise found
        yield found


@dataclass
class _InWorker:
    """Batches in a worker process; an error in the data is returned as a value.

    If raised, torch would replace its text with the worker's traceback.
    """

    batches: Batches

    def __getitem__(self, place: tuple[int, int]) -> Loaded | Exception:
        try:
            return self.batches[place]
        except (BadSample, FrenchcatError, OSError) as error:
            return error


def drawn_time(share: float, process: DiffusionSettings) -> int:
    """The time for a random number in [0, 1); see diffusion.logit_normal."""
    if process.times == "logit_normal":
        share = logit_normal(share, process.times_mean, process.times_spread)
    share = process.shift * share / (1 + (process.shift - 1) * share)
    return min(int(share * process.steps), process.steps - 1)


def noise_of(seeds: Sequence[int], shape: Sequence[int]) -> Tensor:
    """(B, *shape) float32: each sample's noise from its own seed."""
    import torch

    return torch.stack([torch.randn(*shape, generator=_seeded(seed)) for seed in seeds])


def _seeded(seed: int) -> torch.Generator:
    import torch

    return torch.Generator().manual_seed(seed)
