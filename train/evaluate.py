"""How good a run is: the held-out loss by timestep, and the distance of its images to real ones.

Reads a run, its rows and their tars and its dataset's CLIP model; writes `evaluation.json` into the
run. Nothing is downloaded. The embedding space is the dataset's own, so figures are comparable
between runs on datasets with the same model, and not with published figures. Drawn images are
compared with real ones of the same size and crop (real_images.py). `floor` is what as many real
images reach against the rest; `full_size` is what they reach against the dataset's vectors of whole
images. Cost: N drawn images (twice that with held-out prompts) and 16 N real ones, one CLIP pass
each.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frenchcat.curate.atomic import write_whole
from frenchcat.curate.errors import UserError
from frenchcat.curate.json_text import json_text
from frenchcat.curate.system_errors import check_writable
from frenchcat.train.held_out import HeldOutLoss, held_out_loss
from frenchcat.train.pictures import (
    squarest,
)
from frenchcat.train.reader import BadSample
from frenchcat.train.real_images import BATCH, RealImages, real_images, trained_rows, unseen_images
from frenchcat.train.rows import TrainingRows, open_rows
from frenchcat.train.run import Parts, find_checkpoint, open_run
from frenchcat.train.sampler import check_sampler
from frenchcat.train.trained_on import dataset_of

if TYPE_CHECKING:
    from frenchcat.curate.clip.model import Vectors
    from frenchcat.train.draw import Watch


FILE = "evaluation.json"

FEWEST = 5  # images; fewer give meaningless figures


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
    a run, numbers out of range, and a dataset or images that are gone.
    """
    from frenchcat.train.draw import SampleRequest, draw
    from frenchcat.train.metrics import clip_score, cmmd, frechet_distance, precision_recall

    if number < FEWEST:
        raise UserError(f"{number} images are too few to measure; draw at least 5, better 1000")
    check_sampler(sampler)
    _, _, settings = find_checkpoint(run)
    if settings.data.dataset is not None:
        dataset_of(run, settings.data.dataset)  # before the model is loaded
    parts, state, checkpoint = open_run(run, device=device)
    check_writable(run, "run: it holds the figures")
    rows = open_rows(run / "rows")
    if rows is None:
        raise UserError(f"{run} has no rows/ any more; train again to make them")
    real = real_images(parts, rows, trained_rows(rows, number, seed), number)
    unseen = unseen_images(parts, rows, real.clip, number)
    requests = [
        SampleRequest(caption, seed + n)
        for captions in (real.captions, unseen.captions)
        for n, caption in enumerate(captions)
    ]
    how: dict[str, Any] = {"steps": steps, "guidance": guidance, "sampler": sampler}
    pictures = []
    try:
        for start in range(0, len(requests), BATCH):
            told = None if watch is None else _batches_told(watch, start, len(requests))
            pictures += draw(parts, requests[start : start + BATCH], watch=told, **how)
    except ValueError as error:
        raise UserError(str(error)) from None
    vectors = real.clip.encode_images(pictures)
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
    batches = -(-whole // BATCH)
    return lambda step, steps: watch(start // BATCH * steps + step, batches * steps)


def _compared(some: Vectors, others: Vectors, texts: Vectors) -> dict[str, float] | None:
    """The figures of real images against other real ones; None for fewer than five of them."""
    from frenchcat.train.metrics import clip_score, cmmd, frechet_distance, precision_recall

    if min(len(some), len(others)) < FEWEST:
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


def _full_size(real: RealImages, texts: Vectors) -> dict[str, float] | None:
    """What the size alone costs: the captions' own images at that size, against whole images."""
    from frenchcat.train.metrics import clip_score

    if real.stored is None:
        return None
    found = _compared(real.vectors[: len(texts)], real.stored, texts)
    if found is None:
        return None
    whole = clip_score(real.stored[: len(texts)], texts).mean
    return found | {"clip_score_whole": whole}


def _of_unseen(drawn: Vectors, unseen: RealImages) -> dict[str, float] | None:
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


def _held_out(parts: Parts, rows: TrainingRows) -> tuple[HeldOutLoss | None, list[str]]:
    device = next(parts.unet.parameters()).device
    try:
        found = held_out_loss(parts, parts.unet, rows, device)
    except (BadSample, OSError) as error:
        return None, [f"no held-out loss: {error}"]
    return found, [] if found else ["no held-out loss: run.held_out kept no image"]
