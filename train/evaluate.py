"""How good a run is: the held-out loss by timestep, and the distance of its images to real ones.

Reads a run, its rows and their tars and its dataset's CLIP model; writes `evaluation.json` into the
run. Nothing is downloaded. The embedding space is the dataset's own, so figures are comparable
between runs on datasets with the same model, and not with published figures. Drawn images are
compared with real ones of the same size and crop, because a CLIP model sees above all that an image
has 32 pixels. `floor` is what as many real images reach against the rest; `full_size` is what they
reach against the dataset's vectors of whole images. Cost: N drawn images (twice that with held-out
prompts) and 16 N real ones, one CLIP pass each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frenchcat.curate.atomic import write_whole
from frenchcat.curate.config import resolve
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.curate.json_text import json_text
from frenchcat.curate.system_errors import check_writable
from frenchcat.train.layout import buckets_of
from frenchcat.train.loader import noise_of
from frenchcat.train.permutation import key_of, permuted
from frenchcat.train.pictures import (
    edges_of,
    enough_of,
    fitted,
    shapes_of,
    sizes_of,
    squarest,
    without_chance,
)
from frenchcat.train.plan import Batch
from frenchcat.train.randomness import SampleRandomness
from frenchcat.train.reader import BadSample, Read, Reader, Sample
from frenchcat.train.rows import TrainingRows, open_rows
from frenchcat.train.run import Parts, open_run
from frenchcat.train.settings import TextSettings
from frenchcat.train.text import variants_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from frenchcat.curate.clip.model import Clip, Vectors
    from frenchcat.index.search import Searcher
    from frenchcat.train.draw import Watch
    from frenchcat.train.model import Codec
    from frenchcat.train.settings import DataSettings

TIMES = 10
"""Timesteps at which the held-out loss is measured, evenly spaced."""
_BATCH = 64
REAL = 10_000
"""Maximum number of real images that drawn ones are compared with."""
REAL_PER_DRAWN = 16
"""Real images for each drawn one."""
FILE = "evaluation.json"
_FEWEST = 5  # images; fewer give meaningless figures


@dataclass(frozen=True)
class HeldOutLoss:
    """Squared errors of the prediction, on images that were never trained on."""

    by_time: dict[int, float]

    @property
    def mean(self) -> float:
        """Over all times."""
        return sum(self.by_time.values()) / len(self.by_time)


def held_out_loss(
    parts: Parts, unet: Any, rows: TrainingRows, device: torch.device
) -> HeldOutLoss | None:
    """The loss by timestep on the run's held-out rows; None if it has none.

    The noise is the same for every checkpoint, so that checkpoints are comparable.
    """
    import torch

    process = parts.settings.diffusion
    groups = held_out_groups(
        parts.settings.data, parts.codec, rows, device, text=parts.settings.text
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
) -> list[HeldOut]:
    """Read them by bucket, without random crops or flips; another `draw` has other noise.

    Of a caption with variants (`text.separator`) the first is taken. A damaged image is left out,
    because its substitute was trained on.
    """
    import torch

    samples = Reader(rows.folder, enough_of(data)).sound(np.array(rows.held_out, np.int64))
    still = SampleRandomness(0, 0, "held out")
    plain = without_chance(data)
    shapes = shapes_of(data)
    aspects = np.array([s.picture.width / s.picture.height for s in samples])
    buckets = buckets_of(aspects, edges_of(data.aspects)) if samples else None
    found = []
    for bucket, shape in enumerate(shapes):
        mine = [s for n, s in enumerate(samples) if buckets is None or buckets[n] == bucket]
        if not mine:
            continue
        pixels = np.stack([fitted(s.picture, shape, plain, still) for s in mine])
        both = torch.split(torch.from_numpy(pixels).permute(0, 3, 1, 2), _BATCH)
        x_0 = torch.cat([codec.encode(some.to(device)) for some in both])
        seeds = [SampleRandomness(0, 0, s.name, draw).number("noise") for s in mine]
        noise = noise_of(seeds, x_0.shape[1:]).to(device)
        captions = [variants_of(sample.caption, text or TextSettings())[0] for sample in mine]
        sizes = torch.tensor([sizes_of(s.size, shape, plain, still) for s in mine])
        found.append(HeldOut(x_0, noise, captions, sizes.float()))
    return found


def held_out_times(steps: int) -> list[int]:
    """TIMES of a schedule's steps, evenly spaced."""
    return [int((n + 0.5) * steps / TIMES) for n in range(TIMES)]


@dataclass(frozen=True)
class Evaluation:
    """The figures of a run's checkpoint; None for those that are not available, with a note."""

    checkpoint: str
    step: int
    selection: str
    model: str  # CLIP, in whose space everything is measured
    drawn: int
    real: int
    steps: int
    guidance: float
    sampler: str
    seed: int
    clip_score: float
    clip_score_interval: float  # half the width of the 95 % interval
    clip_score_real: float  # of the same captions' own images at the drawing's size
    cmmd: float
    cmmd_unbiased: float
    fid: float
    precision: float
    recall: float
    held_out_loss: float | None
    held_out_loss_by_time: dict[int, float] | None
    size: str = ""  # of drawn and real images, as 32x32
    floor: dict[str, float] | None = None  # as many real images against the rest, at that size
    full_size: dict[str, float] | None = None  # those against vectors of whole images
    held_out_prompts: dict[str, float] | None = None  # captions that were never trained on
    notes: tuple[str, ...] = ()


def evaluate(
    run: Path,
    *,
    number: int = 64,
    steps: int = 20,
    guidance: float = 3.0,
    sampler: str = "dpm++",
    seed: int = 0,
    device: str = "auto",
    watch: Watch | None = None,
) -> Evaluation:
    """Draw `number` captions of the training set, compare, write evaluation.json; see metrics.py.

    `watch` is called after each of the sampler's steps. Raises `UserError` for a folder that is not
    a run, numbers out of range, or images that are gone.
    """
    from frenchcat.train.draw import SampleRequest, draw
    from frenchcat.train.metrics import clip_score, cmmd, frechet_distance, precision_recall

    if number < _FEWEST:
        raise UserError(f"{number} images are too few to measure; draw at least 5, better 1000")
    parts, state, checkpoint = open_run(run, device=device)
    check_writable(run, "run: it holds the figures")
    rows = open_rows(run / "rows")
    if rows is None:
        raise UserError(f"{run} has no rows/ any more; train again to make them")
    real = _real(parts, rows, _trained(rows, number, seed), number)
    unseen = _unseen(parts, rows, real.clip, number)
    requests = [
        SampleRequest(caption, seed + n)
        for captions in (real.captions, unseen.captions)
        for n, caption in enumerate(captions)
    ]
    how: dict[str, Any] = {"steps": steps, "guidance": guidance, "sampler": sampler}
    pictures = []
    try:
        for start in range(0, len(requests), _BATCH):
            told = None if watch is None else _batches_told(watch, start, len(requests))
            pictures += draw(parts, requests[start : start + _BATCH], watch=told, **how)
    except ValueError as error:
        raise UserError(str(error)) from None
    vectors = real.clip.encode_pictures(pictures)
    texts = real.clip.encode_texts(real.captions)
    drawn, drawn_unseen = vectors[: len(texts)], vectors[len(texts) :]
    score = clip_score(drawn, texts)
    precision, recall = precision_recall(real.vectors, drawn)
    loss, notes = _held_out(parts, rows)
    dimension = real.clip.dimension
    if min(len(drawn), len(real.vectors)) <= dimension:
        notes.append(f"FID of {len(drawn)} images in {dimension} dimensions is biased upwards")
    found = Evaluation(
        checkpoint=checkpoint.name,
        step=state.step,
        selection=rows.digest,
        model=real.clip.name,
        drawn=len(drawn),
        real=len(real.vectors),
        seed=seed,
        clip_score=score.mean,
        clip_score_interval=score.interval,
        clip_score_real=clip_score(real.vectors[: len(texts)], texts).mean,
        cmmd=cmmd(drawn, real.vectors),
        cmmd_unbiased=cmmd(drawn, real.vectors, unbiased=True),
        fid=frechet_distance(drawn, real.vectors),
        precision=precision,
        recall=recall,
        held_out_loss=loss.mean if loss else None,
        held_out_loss_by_time=loss.by_time if loss else None,
        size="x".join(map(str, squarest(parts.settings.data))),
        floor=_compared(real.vectors[: len(texts)], real.vectors[len(texts) :], texts),
        full_size=_full_size(real, texts),
        held_out_prompts=_of_unseen(drawn_unseen, unseen),
        notes=(*real.notes, *notes),
        **how,
    )
    write_whole(run / FILE, json_text(asdict(found), indent=1) + "\n")
    return found


def _batches_told(watch: Watch, start: int, whole: int) -> Watch:
    """Steps of a batch, reported as steps of all batches."""
    batches = -(-whole // _BATCH)
    return lambda step, steps: watch(start // _BATCH * steps + step, batches * steps)


@dataclass(frozen=True)
class _Real:
    """Real images at the drawing's size; the first are those of the captions that are drawn."""

    clip: Clip
    vectors: Vectors
    captions: list[str]
    notes: tuple[str, ...] = ()
    stored: Vectors | None = None  # of the same images whole, in the dataset's index


def _compared(some: Vectors, others: Vectors, texts: Vectors) -> dict[str, float] | None:
    """The figures of real images against other real ones; None for fewer than five of them."""
    from frenchcat.train.metrics import clip_score, cmmd, frechet_distance, precision_recall

    if min(len(some), len(others)) < _FEWEST:
        return None
    precision, recall = precision_recall(others, some)
    return {
        "clip_score": clip_score(some[: len(texts)], texts).mean,
        "cmmd": cmmd(some, others),
        "cmmd_unbiased": cmmd(some, others, unbiased=True),
        "fid": frechet_distance(some, others),
        "precision": precision,
        "recall": recall,
    }


def _full_size(real: _Real, texts: Vectors) -> dict[str, float] | None:
    """What the size alone costs: the captions' own images at that size, against whole images."""
    from frenchcat.train.metrics import clip_score

    if real.stored is None:
        return None
    found = _compared(real.vectors[: len(texts)], real.stored, texts)
    if found is None:
        return None
    whole = clip_score(real.stored[: len(texts)], texts).mean
    return found | {"clip_score_whole": whole}


def _of_unseen(drawn: Vectors, unseen: _Real) -> dict[str, float] | None:
    """The CLIP score of captions that were never trained on, and that of their own images."""
    from frenchcat.train.metrics import clip_score

    if not len(drawn):
        return None
    texts = unseen.clip.encode_texts(unseen.captions)
    score = clip_score(drawn, texts)
    return {
        "drawn": len(drawn),
        "clip_score": score.mean,
        "clip_score_interval": score.interval,
        "clip_score_real": clip_score(unseen.vectors, texts).mean,
    }


def _trained(rows: TrainingRows, number: int, seed: int) -> list[int]:
    """Rows that were trained on, shuffled by the set and the seed; REAL at most."""
    held_out = set(rows.held_out)
    wanted = max(number, min(REAL, REAL_PER_DRAWN * number))
    first = np.arange(min(len(rows), wanted + len(held_out)))
    order = permuted(first, len(rows), key_of(rows.digest, seed, "evaluate"))
    found = [row for row in order.tolist() if row not in held_out]
    if len(found) < number:
        raise UserError(
            f"{number} images to draw, but only {len(found)} were trained on; draw fewer"
        )
    return found[:wanted]


def _real(parts: Parts, rows: TrainingRows, chosen: list[int], number: int) -> _Real:
    """Read at the drawing's size, with the vectors that the dataset's index has of the whole
    images.
    """
    data = parts.settings.data
    if data.dataset is None:
        note = "foreign tars have no index: real images were encoded by the text tower's model"
        return _sized(parts, rows, chosen, number, _own_clip(parts), note)
    try:
        searcher, stored, there = _stored(data.dataset, rows, chosen)
    except (UserError, OSError) as error:
        note = f"no vectors of whole images: {error}"
        return _sized(parts, rows, chosen, number, _own_clip(parts), note)
    gone = len(chosen) - len(there)
    notes = (f"{gone} of the training images are no longer in the index",) if gone else ()
    try:
        real = _sized(parts, rows, there, number, searcher.clip, *notes)
    except UserError as error:
        captions = [
            variants_of(row.caption or "", parts.settings.text)[0]
            for row in rows.take(there[:number])
        ]
        note = f"compared with whole images, not at the drawing's size: {error}"
        return _Real(searcher.clip, stored, captions, (*notes, note))
    return replace(real, stored=stored)


def _stored(
    dataset: str, rows: TrainingRows, chosen: list[int]
) -> tuple[Searcher, Vectors, list[int]]:
    """The dataset's searcher; the vectors of the rows that are in its index, and those rows."""
    from frenchcat.index.rows import id_of
    from frenchcat.index.search import Searcher

    searcher = Searcher(Dataset.open(dataset))
    positions = searcher.positions([id_of(row.key) for row in rows.take(chosen)])
    there = positions >= 0
    known = [row for row, found in zip(chosen, there.tolist(), strict=True) if found]
    return searcher, searcher.vectors(positions[there]), known


def _own_clip(parts: Parts) -> Clip:
    """The model of the run's own text tower."""
    from frenchcat.curate.clip import ClipSettings
    from frenchcat.curate.clip.model import load_clip

    text = parts.settings.text
    return load_clip(
        resolve(ClipSettings, {"model": text.model, "pretrained": text.pretrained, "compile": "no"})
    )


def _sized(
    parts: Parts, rows: TrainingRows, chosen: list[int], number: int, clip: Clip, *notes: str
) -> _Real:
    """Real images as the model saw them, unflipped. Raises `UserError` if tars are gone."""
    data = parts.settings.data
    still = SampleRandomness(0, 0, "evaluate")
    plain = without_chance(data)
    vectors, captions = [np.zeros((0, clip.dimension), np.float32)], []
    for start in range(0, len(chosen), _BATCH):
        samples = _read(rows, chosen[start : start + _BATCH]).samples
        pixels = [fitted(s.picture, squarest(data), plain, still) for s in samples]
        vectors.append(clip.encode_pictures([_image(one) for one in pixels]))
        captions += [variants_of(s.caption, parts.settings.text)[0] for s in samples]
    return _Real(clip, np.concatenate(vectors), captions[:number], notes)


def _image(pixels: Any) -> Any:
    from PIL import Image

    return Image.fromarray(pixels)


def _unseen(parts: Parts, rows: TrainingRows, clip: Clip, number: int) -> _Real:
    """The held-out rows, as many as are drawn; none if they cannot be read."""
    chosen = list(rows.held_out)[:number]
    try:
        return _sized(parts, rows, chosen, number, clip)
    except UserError:
        return _sized(parts, rows, [], 0, clip)


def _read(rows: TrainingRows, numbers: Sequence[int]) -> Read[Sample]:
    """Rows' samples. Raises `UserError` if their tars are gone."""
    chosen = np.array(numbers)
    try:
        return Reader(rows.folder).read(Batch(chosen, np.zeros_like(chosen), 0))
    except (BadSample, OSError) as error:
        raise UserError(f"the training images cannot be read: {error}") from None


def _held_out(parts: Parts, rows: TrainingRows) -> tuple[HeldOutLoss | None, list[str]]:
    device = next(parts.unet.parameters()).device
    try:
        found = held_out_loss(parts, parts.unet, rows, device)
    except (BadSample, OSError) as error:
        return None, [f"no held-out loss: {error}"]
    return found, [] if found else ["no held-out loss: run.held_out kept no image"]
