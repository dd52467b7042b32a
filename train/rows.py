"""The rows that a run trains on, laid out so that any of them is read at once.

Made from a selection of a dataset, or from the headers of foreign tars; written once into the run's
folder, memory-mapped ever after::

    rows/rows.arrow      key, shard, offset, size, caption (or its place; or the label), sha256
    rows/*.npy           the population: order, weights, segments (population.py)
    rows/rows.json       digest, the tars' addresses and sizes; written last

A tar whose size is not the recorded one is refused: its offsets mean nothing.
Cost: opening is O(shards), a row O(1); 100 bytes per row and its caption on disk.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate import files
from frenchcat.curate.atomic import write_whole
from frenchcat.curate.dataset import Dataset, digest_of
from frenchcat.curate.errors import UserError
from frenchcat.curate.json_text import json_text
from frenchcat.curate.tars import PICTURES
from frenchcat.train.permutation import key_of, permuted
from frenchcat.train.population import Population

if TYPE_CHECKING:
    import pyarrow as pa

    from frenchcat.curate.select import Selection

TEXTS = ("txt",)
Words = Literal["caption", "label"]
"""The column of a selection that a model learns from; it becomes the rows' caption."""
BATCH_ROWS = 65_536
"""Rows of a record batch: row n lies in batch n // BATCH_ROWS."""


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One sample: what it is and where its bytes lie."""

    key: str
    path: str  # of its tar, or an fsspec address
    offset: int
    size: int  # bytes
    caption: str | None  # None: it lies in the tar, at the next two
    caption_offset: int
    caption_size: int
    sha256: str | None  # of the picture's bytes, where it is known


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """All rows of a training set, memory-mapped."""

    folder: Path
    digest: str
    paths: tuple[str, ...]  # of the tars
    sizes: tuple[int, ...]  # bytes
    held_out: tuple[int, ...]  # row numbers that are never drawn
    stamp: str  # of what the rows were made from
    population: Population
    _batches: Sequence[pa.RecordBatch]

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
        return found  # type: ignore[return-value]  # every place lies in a batch

    def _taken(self, which: int, numbers: NDArray[np.int64]) -> Iterator[TrainingRow]:
        """Rows of one record batch."""
        import pyarrow as pa

        batch = self._batches[which].take(pa.array(numbers - which * BATCH_ROWS))
        columns = dict(zip(batch.schema.names, (c.to_pylist() for c in batch.columns), strict=True))
        columns["path"] = [self.paths[shard] for shard in columns["shard"]]
        return map(TrainingRow, *(columns[name] for name in TrainingRow.__slots__))

    def keys(self) -> list[str]:
        """The keys of all rows, in order."""
        return [key for batch in self._batches for key in batch.column("key").to_pylist()]

    def captions(self) -> list[str]:
        """The distinct captions of a selection's rows, sorted; labels: the classes."""
        import pyarrow.compute as pc

        parts = [pc.unique(batch.column("caption")).to_pylist() for batch in self._batches]
        return sorted({caption for part in parts for caption in part})

    def check_tars(self) -> None:
        """Raise `UserError` where a tar is missing or has another size than when it was indexed."""
        for path, size in zip(self.paths, self.sizes, strict=True):
            found = _size_of(path)
            if found != size:
                is_now = "is missing" if found is None else f"has {found} bytes"
                raise UserError(
                    f"{path} {is_now}, and had {size} when its samples were indexed; restore it, "
                    "or start a new run with another out"
                )


def open_rows(folder: Path) -> TrainingRows | None:
    """The rows that were written into a folder; None where there are none."""
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
    )


def rows_of_selection(
    dataset: Dataset,
    name: str,
    folder: Path,
    edges: Sequence[float] = (),
    held_out: int = 0,
    words: Words = "caption",
) -> TrainingRows:
    """Lay out a selection's rows, once. `edges` part width/height into buckets; empty: one bucket.

    `held_out` rows, a tenth at most, are never drawn. For the words `label`, rows without one are
    left out. Rows that lie there already are opened where nothing that they were made from has
    changed. Raises `UserError` where there is no such selection, or fewer than two labels in it.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from frenchcat.curate.select import open_selection, require_images

    stamp = _stamp(dataset, name, [*edges, held_out, words])
    there = open_rows(folder)
    if there is not None and there.stamp == stamp:
        there.check_tars()
        return there
    selection = open_selection(dataset, name)
    require_images(dataset, selection)
    table = selection.table if words == "caption" else _labelled(dataset, selection)
    shards = sorted(pc.unique(table["shard"]).to_pylist())
    numbers = pc.index_in(table["shard"], pa.array(shards)).to_numpy().astype(np.int64)
    columns: dict[str, Any] = {
        "key": table["key"],
        "shard": numbers.astype(np.int32),
        "offset": table["offset"],
        "size": table["size"],
        "caption": pc.fill_null(table[words].cast(pa.string()), ""),
        "caption_offset": np.zeros(len(numbers), np.int64),
        "caption_size": np.zeros(len(numbers), np.int64),
        "sha256": table["stored_sha256"],
    }
    wide, high = (table[name].cast(pa.float64()).to_numpy() for name in ("width", "height"))
    aspects = np.nan_to_num(wide / np.maximum(high, 1), nan=1.0)  # of unknown size: square
    kept_out = held_out_of(len(numbers), held_out, selection.digest)
    weights = table["weight"].to_numpy().copy()
    weights[kept_out] = 0
    population = Population.of(numbers, weights, buckets_of(aspects, edges))
    paths = [dataset.path(files.TAR.of(shard)) for shard in shards]
    rows = [pa.table(columns, _schema())]
    return lay_out(folder, selection.digest, paths, rows, population, kept_out, stamp)


def rows_of_tars(
    paths: Sequence[str], folder: Path, held_out: int = 0
) -> tuple[TrainingRows, list[str]]:
    """Lay out the samples of foreign tars from their headers; and what was damaged, in words.

    A sample is a picture with a .txt of its key. Raises `UserError` for tars without any.
    """
    import fsspec
    import pyarrow as pa

    from frenchcat.train.tar_index import scan

    columns: dict[str, list[Any]] = {name: [] for name in _schema().names}
    troubles: list[str] = []
    for number, path in enumerate(paths):
        with fsspec.open(path, "rb") as file:
            members, damages = scan(file, path)
        troubles += [f"{path} at byte {damage.offset}: {damage.reason}" for damage in damages]
        texts = {m.key: m for m in members if m.extension in TEXTS}
        for member in members:
            if member.extension not in PICTURES:
                continue
            text = texts.get(member.key)
            if text is None:
                troubles.append(f"{path}: {member.key} has no caption (.txt)")
                continue
            row = (member.key, number, member.offset, member.size, None, text.offset, text.size)
            for column, value in zip(columns.values(), (*row, None), strict=True):
                column.append(value)
    if not columns["key"]:
        raise UserError(f"no picture with a caption in {', '.join(paths[:3])}")
    digest = digest_of(
        [columns[name] for name in ("key", "shard", "size", "caption_size")]  # what a plan is of
    )
    weights = np.ones(len(columns["key"]))
    kept_out = held_out_of(len(weights), held_out, digest)
    weights[kept_out] = 0
    population = Population.of(np.array(columns["shard"], np.int64), weights)
    rows = [pa.table(columns, _schema())]
    stamp = stamp_of_tars(paths, held_out)
    return lay_out(folder, digest, paths, rows, population, kept_out, stamp), troubles


def stamp_of_tars(paths: Sequence[str], held_out: int) -> str:
    """What rows of foreign tars were asked for; their sizes are checked when they are opened."""
    return digest_of([list(paths), held_out])


def _labelled(dataset: Dataset, selection: Selection) -> pa.Table:
    """The selection's rows with a label. Raises `UserError` for fewer than two classes."""
    import pyarrow.compute as pc

    from frenchcat.curate.select import LABEL

    table, name = selection.table, selection.name
    how = (
        f"frenchcat select {dataset.root} {name} --label \"CASE WHEN caption ILIKE '%flag%' THEN …"
    )
    if LABEL not in table.column_names:
        raise UserError(f"the selection {name!r} has no labels; make it again with: {how}")
    table = table.set_column(
        table.column_names.index(LABEL), LABEL, pc.utf8_trim_whitespace(table[LABEL])
    )
    table = table.filter(pc.fill_null(pc.greater(pc.utf8_length(table[LABEL]), 0), False))
    classes = sorted(set(table[LABEL].to_pylist()))
    if len(classes) < 2:
        raise UserError(
            f"the selection {name!r} has {len(classes)} label(s) ({', '.join(classes)}), and a "
            f"classifier tells two or more apart; make it again with: {how}"
        )
    return table


def held_out_of(rows: int, wanted: int, digest: str) -> list[int]:
    """Row numbers to keep out of training: the same for the same set, a tenth of it at most."""
    count = min(wanted, rows // 10)
    return sorted(permuted(np.arange(count), rows, key_of(digest, "held out")).tolist())


def buckets_of(aspects: NDArray[np.float64], edges: Sequence[float]) -> NDArray[np.int64] | None:
    """The bucket of each width/height: how many of the rising `edges` it passes; None for one."""
    if not edges:
        return None
    return np.searchsorted(np.asarray(edges), aspects, side="right").astype(np.int64)


def _schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        {
            "key": pa.string(),
            "shard": pa.int32(),
            "offset": pa.int64(),
            "size": pa.int64(),
            "caption": pa.string(),
            "caption_offset": pa.int64(),
            "caption_size": pa.int64(),
            "sha256": pa.string(),
        }
    )


def lay_out(
    folder: Path,
    digest: str,
    paths: Sequence[str],
    tables: Iterable[pa.Table],
    population: Population,
    held_out: Sequence[int] = (),
    stamp: str = "",
) -> TrainingRows:
    """Write rows into a folder and open them.

    `tables` have the columns of rows.arrow; each but the last a multiple of BATCH_ROWS rows.
    """
    import pyarrow as pa

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.json").unlink(missing_ok=True)
    with pa.OSFile(str(folder / "rows.arrow"), "wb") as sink:
        with pa.ipc.new_file(sink, _schema()) as writer:
            for table in tables:
                writer.write_table(table.combine_chunks(), max_chunksize=BATCH_ROWS)
    population.save(folder)
    about = {
        "digest": digest,
        "tars": [[path, _size_of(path)] for path in paths],
        "held_out": list(held_out),
        "stamp": stamp,
    }
    write_whole(folder / "rows.json", json_text(about))
    opened = open_rows(folder)
    assert opened is not None
    return opened


def _stamp(dataset: Dataset, name: str, how: Sequence[object]) -> str:
    """A digest of all that a selection's rows follow from, without reading any of it.

    The files' sizes and times: the selection's, the removals', and those of the markers, which
    change with every tar. Equal stamps: nothing changed.
    """
    found: list[object] = [name, *how]
    for folder in ("selections", "removals", "stages/download"):
        path = dataset.path(folder)
        for about in dataset.fs.ls(path, detail=True) if dataset.fs.exists(path) else ():
            when = about.get("mtime") or about.get("LastModified") or about.get("ETag")
            if folder != "selections" or about["name"].endswith(f"/{name}.parquet"):
                found.append([about["name"].rpartition("/")[2], about["size"], str(when)])
    return digest_of(found)


def _size_of(path: str) -> int | None:
    import fsspec

    fs, inner = fsspec.core.url_to_fs(path)
    try:
        return int(fs.size(inner))
    except FileNotFoundError:
        return None
