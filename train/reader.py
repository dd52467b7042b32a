"""Samples straight from unmodified tars: a batch's bytes by offset, decoded, damaged ones replaced.

Reads the rows of a run (rows.py) and their tars, writes nothing. A sample is damaged if its bytes
are truncated, have another SHA-256 than the recorded one, are not an image that decodes, or if its
caption is empty. It is replaced by a substitute that depends on its key alone, so batches stay
full, ranks stay in step, and any restart chooses the same substitutes. Exactly the damaged samples
are lost, each with its key and reason. Cost: one read per sample or few samples (ranges.py), one
decoding each; no state between batches.
"""

from __future__ import annotations

import codecs
import contextlib
import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.errors import UnreadableImage
from frenchcat.curate.notices import say_once
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


class UnreadableSample(BadSample):
    """A sample whose file cannot be read, as one that is gone."""


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
    size: tuple[int, int] = (0, 0)  # of the stored image, upright: (width, height) in pixels

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


class ReadSample(Protocol):
    """What a batch needs of a sample: an image that was decoded, or one that was encoded before."""

    @property
    def key(self) -> str:
        """Its row's key."""
        ...

    @property
    def name(self) -> str:
        """Tells samples of one key apart."""
        ...

    @property
    def repeat(self) -> int:
        """How often its row was drawn before in this epoch."""
        ...

    @property
    def caption(self) -> str:
        """Not empty."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """The stored image's (width, height) in pixels, upright."""
        ...


S = TypeVar("S", bound=ReadSample)


@dataclass
class Read(Generic[S]):
    """The result for a batch: its samples, and what had to be replaced."""

    samples: list[S]
    losses: list[Loss] = field(default_factory=list)


class SampleReader(ABC, Generic[S]):
    """Batches of rows -> samples of one kind; what is damaged is replaced."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def rows(self) -> TrainingRows:
        """Open the rows of the folder. Raises FileNotFoundError if none were written."""
        found = open_rows(self.folder)
        if found is None:
            raise FileNotFoundError(self.folder / "rows.json")
        return found

    def fetch(self, batch: Batch) -> list[ReadBytes]:
        """The bytes of a batch, in its order, undecoded and unchecked."""
        return self.fetched(self.rows.take(batch.rows))

    @abstractmethod
    def fetched(self, rows: list[TrainingRow]) -> list[ReadBytes]:
        """What has to be read of some rows before they are opened one by one."""

    @abstractmethod
    def opened(self, fetched: ReadBytes, repeat: int) -> S:
        """A row's sample. Raises BadSample if it is damaged."""

    def read(self, batch: Batch) -> Read[S]:
        """The samples of a batch, in its order. Raises BadSample if no sound one is left."""
        found: Read[S] = Read([])
        for fetched, repeat in zip(self.fetch(batch), batch.repeats.tolist(), strict=True):
            try:
                found.samples.append(self.opened(fetched, repeat))
            except BadSample as bad:
                sample = self._substitute(fetched.row, repeat, batch.bucket, bad)
                found.samples.append(sample)
                found.losses.append(Loss(fetched.row.label, str(bad), sample.key))
        return found

    def sound(self, numbers: NDArray[np.int64]) -> list[S]:
        """The sound samples of some rows, in order; damaged ones are left out."""
        samples = []
        for fetched in self.fetched(self.rows.take(numbers)):
            with contextlib.suppress(BadSample):
                samples.append(self.opened(fetched, 0))
        return samples

    def _substitute(self, row: TrainingRow, repeat: int, bucket: int, bad: BadSample) -> S:
        """The first sound one of the rows that its key picks in its bucket, by weight."""
        population = self.rows.population
        segments = population.segments[population.segments[:, 0] == bucket]
        start, stop = population.sums(segments[[0, -1], [1, 2]]).tolist()
        for number in range(MAX_SUBSTITUTES):
            point = key_of(row.name, "substitute", number) % (stop - start)
            place = population.places(np.array([start + point]))
            other = self.rows.row(int(population.row_numbers(place)[0]))
            try:
                return self.opened(self.fetched([other])[0], repeat)
            except BadSample:
                continue
        what = "cannot be read" if isinstance(bad, UnreadableSample) else "is damaged"
        raise BadSample(
            f"no_substitute: {row.key} of {row.path} {what} ({bad}), and the same holds for "
            f"{MAX_SUBSTITUTES} substitutes; restore that file, or make it again"
        )


class Reader(SampleReader[Sample]):
    """Batches of rows -> decoded images. Pickled as its arguments; each worker maps files anew.

    `at_least` (width, height) lets JPEGs be decoded smaller, but not below that: several times as
    fast for large images. None: at full size.
    """

    def __init__(self, folder: Path, at_least: tuple[int, int] | None = None) -> None:
        super().__init__(folder)
        self.at_least = at_least

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "at_least": self.at_least}

    def fetched(self, rows: list[TrainingRow]) -> list[ReadBytes]:
        """The bytes of some rows."""
        return read_bytes(rows)

    def opened(self, fetched: ReadBytes, repeat: int) -> Sample:
        """A row's decoded image."""
        return decoded(fetched, repeat, self.at_least)


def read_bytes(rows: list[TrainingRow]) -> list[ReadBytes]:
    """The images' bytes, and the captions' if those are in the tar."""
    wanted = [Range(row.path, row.offset, row.size) for row in rows]
    texts = [n for n, row in enumerate(rows) if row.caption is None]
    wanted += [Range(rows[n].path, rows[n].caption_offset, rows[n].caption_size) for n in texts]
    found = read_ranges(wanted)
    captions = dict(zip(texts, found[len(rows) :], strict=True))
    return [ReadBytes(row, found[n], captions.get(n)) for n, row in enumerate(rows)]


def decoded(fetched: ReadBytes, repeat: int, at_least: tuple[int, int] | None) -> Sample:
    """A row's bytes as a sample; see `Reader` for `at_least`. Raises BadSample if it is damaged."""
    row, data = fetched.row, fetched.picture
    if isinstance(data, OSError):
        raise UnreadableSample(f"unreadable: {data}")
    if len(data) != row.size:
        raise BadSample(f"truncated: {len(data)} of {row.size} bytes")
    if row.sha256 and hashlib.sha256(data).hexdigest() != row.sha256:
        raise BadSample("changed: its bytes are not those that were stored")
    picture, caption = _picture(data, at_least), caption_of(row, fetched.caption)
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
    """An image's (width, height); only one that is larger than asked for was decoded smaller."""
    from frenchcat.curate.image import upright_size

    if at_least is None or picture.width < at_least[0] or picture.height < at_least[1]:
        return picture.size
    return upright_size(data)


def _decoded_text(row: TrainingRow, data: bytes) -> str:
    """A caption in a tar: UTF-8, UTF-16 with its mark, else Windows-1252, which is said."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        say_once(
            f"captions of {row.path} that are not UTF-8 are read as Windows-1252; if that is "
            "wrong, write them as UTF-8"
        )
        return data.decode("cp1252", "replace")


def caption_of(row: TrainingRow, text: bytes | OSError | None = None) -> str:
    """A row's caption, or that in its tar. Raises BadSample for an empty one."""
    if row.caption is None:
        if not isinstance(text, bytes) or len(text) != row.caption_size:
            raise BadSample("truncated: its caption cannot be read")
        caption = _decoded_text(row, text).strip()
    else:
        caption = row.caption.strip()
    if not caption:
        raise BadSample("empty_caption")
    return caption
