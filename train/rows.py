"""The rows that a run trains on, laid out so that any of them is read at once.

Made from a selection of a dataset, or from the headers of foreign tars; written once into the run's
folder, memory-mapped ever after::

    rows/rows.arrow      key, shard, offset, size, caption (or its place; or the label), sha256
    rows/*.npy           the population: order, weights, segments (population.py)
    rows/rows.json       digest, the tars' addresses and sizes; written last

A tar whose size is not the recorded one is refused: its offsets mean nothing.
Cost: opening is O(shards), a row O(1); 100 bytes a row and its caption on disk.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from curate.dataset import Dataset, digest_of
from curate.embed import PICTURES
from curate.errors import UserError
from train.permutation import key_of, permuted
from train.population import Population

if TYPE_CHECKING:
    import pyarrow as pa

    from curate.select import Selection

TEXTS = ("txt",)
Words = Literal["caption", "label"]
"""The column of a selection that a model learns from; it becomes the rows' caption."""
_BATCH_ROWS = 65_536


@dataclass(frozen=True, slots=True)
class Row:
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
class Rows:
    """All rows of a training set, memory-mapped."""

    folder: Path
    digest: str
    paths: tuple[str, ...]  # of the tars
    sizes: tuple[int, ...]  # bytes
    held_out: tuple[int, ...]  # row numbers that are never drawn
    population: Population
    _batches: Sequence[pa.RecordBatch]

    def __len__(self) -> int:
        return self.population.rows

    def row(self, number: int) -> Row:
        """One row by its number."""
        batch = self._batches[number // _BATCH_ROWS]
        inside = number % _BATCH_ROWS
        found: dict[str, Any] = {
            name: batch.column(name)[inside].as_py() for name in batch.schema.names
        }
        return Row(
            key=found["key"],
            path=self.paths[found["shard"]],
            offset=found["offset"],
            size=found["size"],
            caption=found["caption"],
            caption_offset=found["caption_offset"],
            caption_size=found["caption_size"],
            sha256=found["sha256"],
        )

    def take(self, numbers: Iterable[int]) -> list[Row]:
        """Rows by their numbers, in that order."""
        return [self.row(int(number)) for number in numbers]

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


def open_rows(folder: Path) -> Rows | None:
    """The rows that were written into a folder; None where there are none."""
    import pyarrow as pa

    if not (folder / "rows.json").exists():
        return None
    about = json.loads((folder / "rows.json").read_text(encoding="utf-8"))
    with pa.memory_map(str(folder / "rows.arrow")) as source:
        reader = pa.ipc.open_file(source)
        batches = [reader.get_batch(n) for n in range(reader.num_record_batches)]
    paths, sizes = zip(*about["tars"], strict=True)
    held_out = tuple(about["held_out"])
    return Rows(folder, about["digest"], paths, sizes, held_out, Population.open(folder), batches)


def rows_of_selection(
    dataset: Dataset,
    name: str,
    folder: Path,
    edges: Sequence[float] = (),
    held_out: int = 0,
    words: Words = "caption",
) -> Rows:
    """Lay out a selection's rows. `edges` part width/height into buckets; empty: one bucket.

    `held_out` rows, a tenth at most, are never drawn. For the words `label`, rows without one are
    left out. Raises `UserError` where there is no such selection, or fewer than two labels in it.
    """
    from curate.select import open_selection

    selection = open_selection(dataset, name)
    table = selection.table if words == "caption" else _labelled(dataset, selection)
    shards = sorted(set(table["shard"].to_pylist()))
    places = {shard: n for n, shard in enumerate(shards)}
    numbers = np.array([places[shard] for shard in table["shard"].to_pylist()], np.int64)
    columns: dict[str, Any] = {
        "key": table["key"],
        "shard": numbers.astype(np.int32),
        "offset": table["offset"],
        "size": table["size"],
        "caption": [caption or "" for caption in table[words].to_pylist()],
        "caption_offset": np.zeros(len(numbers), np.int64),
        "caption_size": np.zeros(len(numbers), np.int64),
        "sha256": table["stored_sha256"],
    }
    aspects = table["width"].to_numpy() / np.maximum(table["height"].to_numpy(), 1)
    kept_out = held_out_of(len(numbers), held_out, selection.digest)
    weights = table["weight"].to_numpy().copy()
    weights[kept_out] = 0
    population = Population.of(numbers, weights, buckets_of(aspects, edges))
    paths = [dataset.path(f"shards/{shard}.tar") for shard in shards]
    return _written(folder, selection.digest, paths, columns, population, kept_out)


def rows_of_tars(paths: Sequence[str], folder: Path, held_out: int = 0) -> tuple[Rows, list[str]]:
    """Lay out the samples of foreign tars from their headers; and what was damaged, in words.

    A sample is a picture with a .txt of its key. Raises `UserError` for tars without any.
    """
    import fsspec

    from train.tar_index import scan

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
    digest = digest_of([columns["key"], columns["size"], columns["caption_size"]])
    weights = np.ones(len(columns["key"]))
    kept_out = held_out_of(len(weights), held_out, digest)
    weights[kept_out] = 0
    population = Population.of(np.array(columns["shard"], np.int64), weights)
    return _written(folder, digest, paths, columns, population, kept_out), troubles


def _labelled(dataset: Dataset, selection: Selection) -> pa.Table:
    """The selection's rows with a label. Raises `UserError` for fewer than two classes."""
    import pyarrow.compute as pc

    from curate.select import LABEL

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


def _written(
    folder: Path,
    digest: str,
    paths: Sequence[str],
    columns: dict[str, Any],
    population: Population,
    held_out: Sequence[int],
) -> Rows:
    import pyarrow as pa

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.json").unlink(missing_ok=True)
    table = pa.table(columns, _schema()).combine_chunks()
    with pa.OSFile(str(folder / "rows.arrow"), "wb") as sink:
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=_BATCH_ROWS)
    population.save(folder)
    tars = [[path, _size_of(path)] for path in paths]
    waiting = folder / "rows.json.partial"
    about = {"digest": digest, "tars": tars, "held_out": list(held_out)}
    waiting.write_text(json.dumps(about), encoding="utf-8")
    waiting.rename(folder / "rows.json")
    opened = open_rows(folder)
    assert opened is not None
    return opened


def _size_of(path: str) -> int | None:
    import fsspec

    fs, inner = fsspec.core.url_to_fs(path)
    try:
        return int(fs.size(inner))
    except FileNotFoundError:
        return None
