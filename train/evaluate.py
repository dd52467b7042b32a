"""How good a run is: the held-out loss by timestep, and the distance of its pictures to real ones.

Reads a run, its held-out rows and its dataset's CLIP model and stored vectors, writes
`evaluation.json` into the run. Nothing is downloaded: the space is the dataset's own, so figures
compare with those of runs on datasets of the same model, and with no published ones.

Cost: N drawn pictures, one CLIP pass each; real pictures are encoded only where no index has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frenchcat.curate.atomic import write_whole
from frenchcat.curate.config import changed
from frenchcat.curate.errors import UserError
from frenchcat.curate.json_text import json_text
from frenchcat.curate.system_errors import check_writable
from frenchcat.train.loader import noise_of
from frenchcat.train.model import unet_output
from frenchcat.train.permutation import key_of, permuted
from frenchcat.train.pictures import enough_of, fitted
from frenchcat.train.plan import Batch
from frenchcat.train.randomness import SampleRandomness
from frenchcat.train.reader import BadSample, Read, Reader
from frenchcat.train.rows import TrainingRows, open_rows
from frenchcat.train.run import Parts, open_run
from frenchcat.train.settings import TextSettings
from frenchcat.train.text import variants_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from frenchcat.curate.clip.model import Clip, Vectors
    from frenchcat.train.draw import Watch
    from frenchcat.train.model import Codec
    from frenchcat.train.settings import DataSettings

TIMES = 10
"""Timesteps at which the held-out loss is measured, evenly spaced."""
_BATCH = 64
REAL = 10_000
"""Real pictures that drawn ones are compared with, at most."""
FILE = "evaluation.json"


@dataclass(frozen=True)
class HeldOutLoss:
    """Squared errors of what the model predicts, on pictures that it never trained on."""

    by_time: dict[int, float]

    @property
    def mean(self) -> float:
        """Over all times."""
        return sum(self.by_time.values()) / len(self.by_time)


def held_out_loss(
    parts: Parts, unet: Any, rows: TrainingRows, device: torch.device
) -> HeldOutLoss | None:
    """The loss by timestep on the run's held-out rows; None where it has none.

    The same noise for every checkpoint, so that two of them can be compared.
    """
    import torch

    process = parts.settings.diffusion
    still = held_out(parts.settings.data, parts.codec, rows, device, text=parts.settings.text)
    if still is None:
        return None
    x_0, noise = still.x_0, still.noise
    condition = parts.text(still.captions).to(device)
    found = {}
    for time in held_out_times(process.steps):
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


@dataclass(frozen=True)
class HeldOut:
    """The pictures that a run never trains on, always with the same noise."""

    x_0: Tensor  # (N, C, H, W) float32
    noise: Tensor  # likewise
    captions: list[str]


def held_out(
    data: DataSettings,
    codec: Codec,
    rows: TrainingRows,
    device: torch.device,
    draw: int = 0,
    text: TextSettings | None = None,
) -> HeldOut | None:
    """Read them, uncropped by chance and unflipped; another `draw` has other noise.

    Of a caption with variants (`text.separator`) the first one is taken.

    A damaged one is left out: what would take its place was trained on. None where none is left.
    """
    import numpy as np
    import torch

    samples = Reader(rows.folder, enough_of(data)).sound(np.array(rows.held_out, np.int64))
    if not samples:
        return None
    still = SampleRandomness(0, 0, "held out")
    plain = changed(data, flip=False, crop="pad" if data.crop == "pad" else "center")
    shape = (data.size, data.size)
    pixels = np.stack([fitted(s.picture, shape, plain, still) for s in samples])
    x_0 = codec.encode(torch.from_numpy(pixels).permute(0, 3, 1, 2).to(device))
    seeds = [SampleRandomness(0, 0, s.key, draw).number("noise") for s in samples]
    noise = noise_of(seeds, x_0.shape[1:]).to(device)
    captions = [variants_of(sample.caption, text or TextSettings())[0] for sample in samples]
    return HeldOut(x_0, noise, captions)


def held_out_times(steps: int) -> list[int]:
    """TIMES of a schedule's steps, evenly spaced."""
    return [int((n + 0.5) * steps / TIMES) for n in range(TIMES)]


@dataclass(frozen=True)
class Evaluation:
    """The figures of a run's checkpoint; None where one could not be had, with a note."""

    checkpoint: str
    step: int
    selection: str
    model: str  # CLIP, in whose space all is measured
    drawn: int
    real: int
    steps: int
    guidance: float
    sampler: str
    seed: int
    clip_score: float
    clip_score_interval: float  # half of the 95 % interval
    clip_score_real: float  # of the same captions' own pictures: what a perfect model reaches
    cmmd: float
    cmmd_unbiased: float
    fid: float
    precision: float
    recall: float
    held_out_loss: float | None
    held_out_loss_by_time: dict[int, float] | None
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

    `watch` hears of the sampler's steps.

    Raises `UserError` for a folder that is no run, numbers out of range, or pictures that are gone.
    """
    from frenchcat.train.draw import SampleRequest, draw
    from frenchcat.train.metrics import clip_score, cmmd, frechet_distance, precision_recall

    if number < 5:
        raise UserError(f"{number} pictures tell nothing; draw 5 or more, better 1000")
    parts, state, checkpoint = open_run(run, device=device)
    check_writable(run, "run: it holds the figures")
    rows = open_rows(run / "rows")
    if rows is None:
        raise UserError(f"{run} lost its rows/; train again to lay them out")
    real = _real(parts, rows, _trained(rows, number, seed), number)
    requests = [SampleRequest(caption, seed + n) for n, caption in enumerate(real.captions)]
    how: dict[str, Any] = {"steps": steps, "guidance": guidance, "sampler": sampler}
    pictures = []
    try:
        for start in range(0, len(requests), _BATCH):
            told = None if watch is None else _batches_told(watch, start, len(requests))
            pictures += draw(parts, requests[start : start + _BATCH], watch=told, **how)
    except ValueError as error:
        raise UserError(str(error)) from None
    drawn, texts = real.clip.encode_pictures(pictures), real.clip.encode_texts(real.captions)
    score = clip_score(drawn, texts)
    precision, recall = precision_recall(real.vectors, drawn)
    loss, notes = _held_out(parts, rows)
    dimension = real.clip.dimension
    if min(len(drawn), len(real.vectors)) <= dimension:
        notes.append(f"FID of {len(drawn)} pictures in {dimension} dimensions is biased upwards")
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
        notes=(*real.notes, *notes),
        **how,
    )
    write_whole(run / FILE, json_text(asdict(found), indent=1) + "\n")
    return found


def _batches_told(watch: Watch, start: int, whole: int) -> Watch:
    """Steps of a batch, told as those of all batches."""
    batches = -(-whole // _BATCH)
    return lambda step, steps: watch(start // _BATCH * steps + step, batches * steps)


@dataclass(frozen=True)
class _Real:
    """Real pictures; the first of them are those of the captions that are drawn."""

    clip: Clip
    vectors: Vectors
    captions: list[str]
    notes: tuple[str, ...] = ()


def _trained(rows: TrainingRows, number: int, seed: int) -> list[int]:
    """Rows that were trained on, in an order of the set and the seed; REAL at most."""
    import numpy as np

    held_out = set(rows.held_out)
    first = np.arange(min(len(rows), max(REAL, number) + len(held_out)))
    order = permuted(first, len(rows), key_of(rows.digest, seed, "evaluate"))
    found = [row for row in order.tolist() if row not in held_out]
    if len(found) < number:
        raise UserError(f"{number} pictures to draw, and {len(found)} trained on; draw fewer")
    return found[: max(REAL, number)]


def _real(parts: Parts, rows: TrainingRows, chosen: list[int], number: int) -> _Real:
    """From the dataset's index; where there is none, read and encoded."""
    data = parts.settings.data
    if data.dataset is None:
        return _encoded(parts, rows, chosen, number, "foreign tars: real pictures were encoded")
    try:
        return _stored(data.dataset, rows, chosen, number, parts.settings.text)
    except (UserError, OSError) as error:
        return _encoded(parts, rows, chosen, number, f"real pictures were encoded: {error}")


def _stored(
    dataset: str, rows: TrainingRows, chosen: list[int], number: int, text: TextSettings
) -> _Real:
    from frenchcat.curate.dataset import Dataset
    from frenchcat.index.rows import id_of
    from frenchcat.index.search import Searcher

    searcher = Searcher(Dataset.open(dataset))
    found = [rows.row(row) for row in chosen]
    positions = searcher.positions([id_of(row.key) for row in found])
    there = positions >= 0
    captions = [row.caption or "" for row, known in zip(found, there, strict=True) if known]
    captions = [variants_of(caption, text)[0] for caption in captions]
    gone = int((~there).sum())
    notes = (f"{gone} of the pictures trained on are no longer in the index",) if gone else ()
    return _Real(searcher.clip, searcher.vectors(positions[there]), captions[:number], notes)


def _encoded(parts: Parts, rows: TrainingRows, chosen: list[int], number: int, note: str) -> _Real:
    """Real pictures in the space of the run's own text tower's model."""
    import numpy as np

    from frenchcat.curate.clip import ClipSettings
    from frenchcat.curate.clip.model import load_clip
    from frenchcat.curate.config import resolve

    text = parts.settings.text
    clip = load_clip(
        resolve(ClipSettings, {"model": text.model, "pretrained": text.pretrained, "compile": "no"})
    )
    vectors, captions = [], []
    for start in range(0, len(chosen), _BATCH):
        read = _read(rows, chosen[start : start + _BATCH])
        vectors.append(clip.encode_pictures([sample.picture for sample in read.samples]))
        captions += [variants_of(sample.caption, text)[0] for sample in read.samples]
    return _Real(clip, np.concatenate(vectors), captions[:number], (note,))


def _read(rows: TrainingRows, numbers: Sequence[int]) -> Read:
    """Rows' samples. Raises `UserError` where their tars are gone."""
    import numpy as np

    chosen = np.array(numbers)
    try:
        return Reader(rows.folder).read(Batch(chosen, np.zeros_like(chosen), 0))
    except (BadSample, OSError) as error:
        raise UserError(f"the pictures that were trained on cannot be read: {error}") from None


def _held_out(parts: Parts, rows: TrainingRows) -> tuple[HeldOutLoss | None, list[str]]:
    device = next(parts.unet.parameters()).device
    try:
        found = held_out_loss(parts, parts.unet, rows, device)
    except (BadSample, OSError) as error:
        return None, [f"no held-out loss: {error}"]
    return found, [] if found else ["no held-out loss: run.held_out kept no picture"]
