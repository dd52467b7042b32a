"""The rows that a run trains on, laid out for random access.

Made from a selection of a dataset, or from the headers of foreign tars (layout.py); written once
into the run's folder, then memory-mapped::

    rows/rows.arrow      key, shard, offset, size, caption (or its place; or the label), sha256;
                         name, where a key alone is not a name (two tars with one key)
    rows/*.npy           the population: order, weights, segments (population.py)
    rows/rows.json       digest, the tars' addresses and sizes; of foreign tars also what tells
                         that they were rewritten (tar_stamps.py), and what was left out by reason;
                         written last

A tar that differs from the recorded one is refused: its offsets would be wrong.
Cost: opening is O(shards), a row O(1); 100 bytes per row and its caption on disk.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.atomic import write_whole
from frenchcat.curate.errors import UserError
from frenchcat.curate.json_text import json_text
from frenchcat.train.population import Population
from frenchcat.train.tar_stamps import TarStamp, seen_of

if TYPE_CHECKING:
    import pyarrow as pa


BATCH_ROWS = 65_536
"""Rows of a record batch: row n lies in batch n // BATCH_ROWS."""


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One sample: what it is and where its bytes are."""

    key: str
    path: str  # of its tar, or an fsspec address
    offset: int
    size: int  # bytes
    caption: str | None  # None: it is in the tar, at the next two
    caption_offset: int
    caption_size: int
    sha256: str | None  # of the image's bytes, if known
    name: str  # the key, with its tar's number if several samples have that key

    @property
    def label(self) -> str:
        """The key for people; with its tar if the key is not unique."""
        return self.key if self.name == self.key else f"{self.key} of {self.path}"


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """All rows of a training set, memory-mapped."""

    folder: Path
    digest: str
    paths: tuple[str, ...]  # of the tars
    sizes: tuple[int, ...]  # bytes
    held_out: tuple[int, ...]  # row numbers that are never drawn
    stamp: str  # of the rows' inputs
    population: Population
    _batches: Sequence[pa.RecordBatch]
    stamps: tuple[TarStamp, ...] = ()  # of foreign tars
    left_out: dict[str, int] = field(default_factory=dict)  # of foreign tars: reason -> members

    def __len__(self) -> int:
        return self.population.rows

    def row(self, number: int) -> TrainingRow:
        """One row by its number."""
        return self.take([number])[0]

    def take(self, numbers: Sequence[int] | NDArray[np.int64]) -> list[TrainingRow]:
        """Rows by their numbers, in that order."""
        wanted = np.asarray(numbers, np.int64)
        found: list[TrainingRow | None] = [None] * len(wanted)
        batches = wanted // BATCH_ROWS
        for which in np.unique(batches).tolist():
            places = np.flatnonzero(batches == which)
            for place, row in zip(places.tolist(), self._taken(which, wanted[places]), strict=True):
                found[place] = row
        return found  # type: ignore[return-value]  # every place is in a batch

    def _taken(self, which: int, numbers: NDArray[np.int64]) -> Iterator[TrainingRow]:
        """Rows of one record batch."""
        import pyarrow as pa

        batch = self._batches[which].take(pa.array(numbers - which * BATCH_ROWS))
        columns = dict(zip(batch.schema.names, (c.to_pylist() for c in batch.columns), strict=True))
        columns["path"] = [self.paths[shard] for shard in columns["shard"]]
        names = columns.get("name") or columns["key"]
        columns["name"] = [name or key for name, key in zip(names, columns["key"], strict=True)]
        return map(TrainingRow, *(columns[name] for name in TrainingRow.__slots__))

    def keys(self) -> list[str]:
        """The keys of all rows, in order."""
        return [key for batch in self._batches for key in batch.column("key").to_pylist()]

    def captions(self) -> list[str]:
        """The distinct captions of a selection's rows, sorted; for labels: the classes."""
        import pyarrow.compute as pc

        parts = [pc.unique(batch.column("caption")).to_pylist() for batch in self._batches]
        return sorted({caption for part in parts for caption in part})

    def captions_by_tar(self) -> Iterator[tuple[str, list[tuple[str, str]]]]:
        """Each tar's address with the (key, caption) of its rows; one that returns comes again."""
        for number, group in groupby(self._shard_keys(), key=lambda row: row[0]):
            yield self.paths[number], [(key, caption or "") for _, key, caption in group]

    def _shard_keys(self) -> Iterator[tuple[int, str, str | None]]:
        for batch in self._batches:
            columns = (batch.column(name).to_pylist() for name in ("shard", "key", "caption"))
            yield from zip(*columns, strict=True)

    def check_tars(self) -> None:
        """Raise `UserError` if a tar is missing or differs from the one that was indexed.

        By its size; for a foreign tar also by stamps that show rewriting.
        """
        for path, size in zip(self.paths, self.sizes, strict=True):
            found = size_of(path)
            if found != size:
                is_now = "is missing" if found is None else f"has {found} bytes"
                raise UserError(
                    f"{path} {is_now}, and had {size} when its samples were indexed; restore it, "
                    "or start a new run with another out"
                )
        if self.stamps or self._of_tars:
            self._check_stamps()

    @property
    def _of_tars(self) -> bool:
        """Whether captions are in the tars: rows of foreign tars, as older versions laid them
        out.
        """
        return len(self) > 0 and self._batches[0].column("caption").null_count > 0

    def _check_stamps(self) -> None:
        from frenchcat.train.tar_contents import stamp_of, was_rewritten

        now = []
        for number, path in enumerate(self.paths):
            then = self.stamps[number] if self.stamps else None
            seen = seen_of(path)
            if then is not None and seen is not None and seen == then.seen:
                now.append(then)
                continue
            if was_rewritten(path, then) if then else not self._fits(number):
                raise UserError(
                    f"{path} was rewritten since its samples were indexed, with as many bytes; "
                    "restore it, or start a new run with another out"
                )
            now.append(TarStamp(seen, then.contents) if then else stamp_of(path))
        if tuple(now) != self.stamps:
            _note_stamps(self.folder, now)

    def _fits(self, shard: int) -> bool:
        """Whether a tar has members where its rows expect them."""
        import pyarrow.compute as pc

        from frenchcat.train.tar_contents import holds_all

        places: set[tuple[int, int]] = set()
        for batch in self._batches:
            mine = batch.filter(pc.equal(batch.column("shard"), shard))
            for offset, size in (("offset", "size"), ("caption_offset", "caption_size")):
                pairs = (mine.column(offset).to_pylist(), mine.column(size).to_pylist())
                places.update(zip(*pairs, strict=True))
        return holds_all(self.paths[shard], places)


def open_rows(folder: Path) -> TrainingRows | None:
    """The rows that were written into a folder; None if there are none."""
    import pyarrow as pa

    if not (folder / "rows.json").exists():
        return None
    about = json.loads((folder / "rows.json").read_text(encoding="utf-8"))
    with pa.memory_map(str(folder / "rows.arrow")) as source:
        reader = pa.ipc.open_file(source)
        batches = [reader.get_batch(n) for n in range(reader.num_record_batches)]
    paths, sizes = zip(*about["tars"], strict=True)
    return TrainingRows(
        folder,
        about["digest"],
        paths,
        sizes,
        tuple(about["held_out"]),
        about.get("stamp", ""),
        Population.open(folder),
        batches,
        tuple(TarStamp(*stamp) for stamp in about.get("stamps", ())),
        about.get("left_out", {}),
    )


def _note_stamps(folder: Path, stamps: Sequence[TarStamp]) -> None:
    """Keep the stamps of tars that are unchanged but have another time, if the folder is
    writable.
    """
    path = folder / "rows.json"
    about = json.loads(path.read_text(encoding="utf-8"))
    about["stamps"] = [astuple(stamp) for stamp in stamps]
    with contextlib.suppress(OSError):
        write_whole(path, json_text(about))


def size_of(path: str) -> int | None:
    """Bytes of a file or an address; None if it is missing."""
    try:
        if "://" not in path:
            return os.path.getsize(path)
        import fsspec

        fs, inner = fsspec.core.url_to_fs(path)
        return int(fs.size(inner))
    except FileNotFoundError:
        return None
