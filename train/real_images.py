"""The real images that drawn ones are compared with: which rows, their vectors, their captions.

Reads a run's rows and their tars, and the index of its dataset. The images are cropped and scaled
to the drawing's size, because a CLIP model notices above all that an image has only 32 pixels.
Cost: one CLIP pass per image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from frenchcat.curate.config import resolve
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.train.permutation import key_of, permuted
from frenchcat.train.pictures import fitted, squarest, without_randomness
from frenchcat.train.plan import Batch
from frenchcat.train.randomness import SampleRandomness
from frenchcat.train.reader import BadSample, Read, Reader, Sample
from frenchcat.train.rows import TrainingRows
from frenchcat.train.run import Parts
from frenchcat.train.text import variants_of

if TYPE_CHECKING:
    from frenchcat.curate.clip.model import Clip, Vectors
    from frenchcat.index.search import Searcher


REAL = 10_000
"""Maximum number of real images that drawn ones are compared with."""

REAL_PER_DRAWN = 16
"""Real images for each drawn one."""

BATCH = 64
"""Images that are read, encoded or drawn together."""


@dataclass(frozen=True)
class RealImages:
    """Real images at the drawing's size; the first are those of the captions that are drawn."""

    clip: Clip
    vectors: Vectors
    captions: list[str]
    notes: tuple[str, ...] = ()
    stored: Vectors | None = None  # of the same images whole, in the dataset's index


def trained_rows(rows: TrainingRows, number: int, seed: int) -> list[int]:
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


def real_images(parts: Parts, rows: TrainingRows, chosen: list[int], number: int) -> RealImages:
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
        return RealImages(searcher.clip, stored, captions, (*notes, note))
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
) -> RealImages:
    """Real images as the model saw them, unflipped. Raises `UserError` if tars are gone."""
    data = parts.settings.data
    still = SampleRandomness(0, 0, "evaluate")
    plain = without_randomness(data)
    vectors, captions = [np.zeros((0, clip.dimension), np.float32)], []
    for start in range(0, len(chosen), BATCH):
        samples = _read(rows, chosen[start : start + BATCH]).samples
        pixels = [fitted(s.picture, squarest(data), plain, still) for s in samples]
        vectors.append(clip.encode_images([_image(one) for one in pixels]))
        captions += [variants_of(s.caption, parts.settings.text)[0] for s in samples]
    return RealImages(clip, np.concatenate(vectors), captions[:number], notes)


def _image(pixels: Any) -> Any:
    from PIL import Image

    return Image.fromarray(pixels)


def unseen_images(parts: Parts, rows: TrainingRows, clip: Clip, number: int) -> RealImages:
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
