"""Samples straight from unmodified tars: a batch's bytes by offset, decoded, damaged ones replaced.

Reads the rows of a run (rows.py) and their tars, writes nothing. A sample is damaged if its bytes
are truncated, have another SHA-256 than the recorded one, are not an image that decodes, or if its
caption is empty. It is replaced by a substitute that depends on its key alone, so batches stay
full, ranks stay in step, and any restart chooses the same substitutes. Exactly the damaged samples
are lost, each with its key and reason. Cost: one read per sample or few samples (ranges.py), one
decoding each; no state between batches.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.errors import UnreadableImage
from frenchcat.train.permutation import key_of
from frenchcat.train.plan import Batch
from frenchcat.train.ranges import Range, read_ranges
from frenchcat.train.rows import TrainingRow, TrainingRows, open_rows

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_SUBSTITUTES = 64
"""Substitutes tried in a row for one sample; with fewer sound samples the training set is
unusable.
"""


class BadSample(Exception):
    """Why a sample cannot be trained on; the first word is the reason's name."""


@dataclass(frozen=True, slots=True)
class ReadBytes:
    """A row's bytes as they are in its tar; an OSError if they could not be read."""

    row: TrainingRow
    picture: bytes | OSError
    caption: bytes | OSError | None  # None: it is in the row


@dataclass(frozen=True)
class Sample:
    """A decoded image and its caption."""

    key: str
    picture: Image  # RGB
    caption: str
    repeat: int = 0  # how often its row was drawn before in this epoch
    name: str = ""  # tells samples of one key apart; the key itself where that is enough
    size: tuple[int, int] = (0, 0)  # of the stored picture, upright: (width, height) in pixels

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.key)
        if self.size == (0, 0):
            object.__setattr__(self, "size", self.picture.size)


@dataclass(frozen=True)
class Loss:
    """A damaged sample that was requested, and its substitute."""

    key: str
    reason: str
    substitute: str


@dataclass
class Read:
    """The result for a batch: its samples, and what had to be replaced."""

    samples: list[Sample]
    losses: list[Loss] = field(default_factory=list)


class Reader:
    """Batches of rows -> samples. Pickled as its arguments; each worker maps files anew.

    `at_least` (width, height) lets JPEGs be decoded smaller, but not below that: several times as
    fast for large images. None: at full size.
    """

    def __init__(self, folder: Path, at_least: tuple[int, int] | None = None) -> None:
        self.folder, self.at_least = folder, at_least

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "at_least": self.at_least}

    @cached_property
    def rows(self) -> TrainingRows:
        """Open the rows of the folder. Raises FileNotFoundError if none were written."""
        found = open_rows(self.folder)
        if found is None:
            raise FileNotFoundError(self.folder / "rows.json")
        return found

    def fetch(self, batch: Batch) -> list[ReadBytes]:
        """The bytes of a batch, in its order, undecoded and unchecked."""
        return _fetched(self.rows.take(batch.rows))

    def read(self, batch: Batch) -> Read:
        """The samples of a batch, in its order. Raises BadSample if no sound one is left."""
        found = Read([])
        for fetched, repeat in zip(self.fetch(batch), batch.repeats.tolist(), strict=True):
            try:
                found.samples.append(_decoded(fetched, repeat, self.at_least))
            except BadSample as bad:
                sample = self._substitute(fetched.row, repeat, batch.bucket, bad)
                found.samples.append(sample)
                found.losses.append(Loss(fetched.row.label, str(bad), sample.key))
        return found

    def sound(self, numbers: NDArray[np.int64]) -> list[Sample]:
        """The sound samples of some rows, in order; damaged ones are left out."""
        samples = []
        for fetched in _fetched(self.rows.take(numbers)):
            with contextlib.suppress(BadSample):
                samples.append(_decoded(fetched, 0, self.at_least))
        return samples

    def _substitute(self, row: TrainingRow, repeat: int, bucket: int, bad: BadSample) -> Sample:
        """The first sound one of the rows that its key picks in its bucket, by weight."""
        population = self.rows.population
        segments = population.segments[population.segments[:, 0] == bucket]
        start, stop = population.sums(segments[[0, -1], [1, 2]]).tolist()
        for number in range(MAX_SUBSTITUTES):
            point = key_of(row.name, "substitute", number) % (stop - start)
            place = population.places(np.array([start + point]))
            other = self.rows.row(int(population.row_numbers(place)[0]))
            try:
                return _decoded(_fetched([other])[0], repeat, self.at_least)
            except BadSample:
                continue
        raise BadSample(
            f"no_substitute: {row.key} of {row.path} is damaged ({bad}), and so are "
            f"{MAX_SUBSTITUTES} substitutes for it; restore that file, or make it again"
        )


def _fetched(rows: list[TrainingRow]) -> list[ReadBytes]:
    """The images' bytes, and the captions' if those are in the tar."""
    wanted = [Range(row.path, row.offset, row.size) for row in rows]
    texts = [n for n, row in enumerate(rows) if row.caption is None]
    wanted += [Range(rows[n].path, rows[n].caption_offset, rows[n].caption_size) for n in texts]
    found = read_ranges(wanted)
    captions = dict(zip(texts, found[len(rows) :], strict=True))
    return [ReadBytes(row, found[n], captions.get(n)) for n, row in enumerate(rows)]


def _decoded(fetched: ReadBytes, repeat: int, at_least: tuple[int, int] | None) -> Sample:
    row, data = fetched.row, fetched.picture
    if isinstance(data, OSError):
        raise BadSample(f"unreadable: {data}")
    if len(data) != row.size:
        raise BadSample(f"truncated: {len(data)} of {row.size} bytes")
    if row.sha256 and hashlib.sha256(data).hexdigest() != row.sha256:
        raise BadSample("changed: its bytes are not those that were stored")
    picture, caption = _picture(data, at_least), _caption(row, fetched.caption)
    return Sample(
        row.key, picture, caption, repeat, row.name, _stored_size(data, picture, at_least)
    )


def _picture(data: bytes, at_least: tuple[int, int] | None) -> Image:
    from frenchcat.curate.image import open_image

    try:
        return open_image(data, at_least)
    except UnreadableImage as error:
        raise BadSample(f"undecodable: {error.reason}") from None
    except MemoryError:
        raise BadSample("undecodable: MemoryError") from None


def _stored_size(data: bytes, picture: Image, at_least: tuple[int, int] | None) -> tuple[int, int]:
    """A picture's (width, height); only one that is larger than asked for was decoded smaller."""
    from frenchcat.curate.image import upright_size

    if at_least is None or picture.width < at_least[0] or picture.height < at_least[1]:
        return picture.size
    return upright_size(data)


def _caption(row: TrainingRow, text: bytes | OSError | None) -> str:
    if row.caption is None:
        if not isinstance(text, bytes) or len(text) != row.caption_size:
            raise BadSample("truncated: its caption cannot be read")
        caption = text.decode("utf-8", "replace").strip()
    else:
        caption = row.caption.strip()
    if not caption:
        raise BadSample("empty_caption")
    return caption
