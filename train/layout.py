"""Lays out the rows that a run trains on: from a selection, or from the headers of foreign tars.

Writes the files of rows.py into the run's folder, once. Existing rows are opened instead if none of
their inputs has changed. Cost: linear in rows; for foreign tars one read per member.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate import files
from frenchcat.curate.atomic import write_whole
from frenchcat.curate.command_text import shell_command
from frenchcat.curate.dataset import Dataset, digest_of
from frenchcat.curate.errors import UserError
from frenchcat.curate.json_text import json_text
from frenchcat.train.caption_columns import CaptionColumns
from frenchcat.train.permutation import key_of, permuted
from frenchcat.train.population import Population
from frenchcat.train.rows import BATCH_ROWS, TrainingRows, open_rows, size_of
from frenchcat.train.tar_stamps import TarStamp

if TYPE_CHECKING:
    import pyarrow as pa

    from frenchcat.curate.select import Selection

Words = Literal["caption", "label"]
"""The column of a selection that a model learns from; it becomes the rows' caption."""
Allowed = Callable[[str], None]
"""Called with the digest of new rows before they replace others; raises where they may not."""


def always(digest: str) -> None:
    """Any rows may replace others."""


def rows_of_selection(
    dataset: Dataset,
    name: str,
    folder: Path,
    edges: Sequence[float] = (),
    held_out: int = 0,
    words: Words = "caption",
    held_out_keys: Sequence[str] = (),
    captions: CaptionColumns | None = None,
    allowed: Allowed = always,
) -> TrainingRows:
    """Lay out a selection's rows, once.

    `edges` divide width/height into buckets; empty: one bucket. `held_out` rows, a tenth at most,
    are never drawn. `captions` are taken in place of the selection's. For the words `label`, rows
    without one are left out. Existing rows are opened if none of their inputs has changed;
    otherwise they are replaced, if that is `allowed`. Raises `UserError` if there is no such
    selection, or fewer than two labels in it.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from frenchcat.curate.select import open_selection, require_images

    how = [*edges, held_out, words, *held_out_keys, *_told(captions)]
    stamp = _stamp(dataset, name, how)
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
        "caption": _words(dataset, table, words, captions),
        "caption_offset": np.zeros(len(numbers), np.int64),
        "caption_size": np.zeros(len(numbers), np.int64),
        "sha256": table["stored_sha256"],
    }
    wide, high = (table[name].cast(pa.float64()).to_numpy() for name in ("width", "height"))
    aspects = np.nan_to_num(wide / np.maximum(high, 1), nan=1.0)  # of unknown size: square
    if held_out_keys:
        kept_out = numbers_of(table["key"].to_pylist(), held_out_keys)
    else:
        kept_out = held_out_of(len(numbers), held_out, selection.digest)
    weights = table["weight"].to_numpy().copy()
    weights[kept_out] = 0
    population = Population.of(numbers, weights, buckets_of(aspects, edges))
    paths = [dataset.path(files.TAR.of(shard)) for shard in shards]
    rows = [pa.table(columns, _schema())]
    digest = selection.digest
    if captions is not None:  # which the selection's digest does not cover
        digest = digest_of([digest, columns["caption"].to_pylist()])
    allowed(digest)
    return lay_out(folder, digest, paths, rows, population, kept_out, stamp)


def _words(
    dataset: Dataset, table: pa.Table, words: Words, captions: CaptionColumns | None
) -> pa.Array:
    """What is learned from, per row of a selection."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if captions is not None and words == "caption":
        return pa.array(captions.of_dataset(dataset, table["key"].to_pylist()), pa.string())
    return pc.fill_null(table[words].cast(pa.string()), "")


def _told(captions: CaptionColumns | None) -> list[object]:
    return [] if captions is None else [list(captions.names), captions.separator]


def rows_of_tars(
    paths: Sequence[str],
    folder: Path,
    held_out: int = 0,
    edges: Sequence[float] = (),
    caption: str | None = None,
    held_out_keys: Sequence[str] = (),
    captions: CaptionColumns | None = None,
    allowed: Allowed = always,
) -> tuple[TrainingRows, list[str]]:
    """Lay out the samples of foreign tars from their headers; also returns what is left out, in
    words.

    tar_samples.py defines a sample. `edges` divide width/height into buckets, for which every image
    is read once; `caption` is the key of captions in JSON, `captions` are several. Raises
    `UserError` for tars that cannot be read or contain no sample.
    """
    import pyarrow as pa

    from frenchcat.train.tar_contents import read_tar

    columns: dict[str, list[Any]] = {name: [] for name in _schema().names}
    troubles: list[str] = []
    left_out: Counter[str] = Counter()
    fields: Counter[str] = Counter()
    stamps: list[TarStamp] = []
    aspects: list[float] = []
    for number, path in enumerate(paths):
        tar = read_tar(path, sized=bool(edges), caption=caption, captions=captions)
        troubles += [f"{path}: {one.name} {one.said} ({one.reason})" for one in tar.left]
        left_out.update(one.reason for one in tar.left)
        fields.update(tar.fields)
        stamps.append(tar.stamp)
        aspects += tar.aspects
        for sample, known in zip(tar.samples, tar.captions, strict=True):
            picture, text = sample.picture, sample.caption
            place = (_plain(sample.key), number, picture.offset, picture.size)
            row = (*place, known, text.offset, text.size, None)
            for column, value in zip(columns.values(), row, strict=True):
                column.append(value)
    if not columns["key"]:
        raise UserError(_nothing_found(paths, fields))
    names = _names(columns["key"], columns["shard"])
    known_captions = [columns["caption"]] if any(columns["caption"]) else []
    digest = digest_of(  # of the plan's inputs; unchanged from older versions if keys are unique
        [columns[name] for name in ("key", "shard", "size", "caption_size")]
        + ([] if names is None else [names])
        + known_captions
    )
    weights = np.ones(len(columns["key"]))
    if held_out_keys:
        kept_out = numbers_of(columns["key"], held_out_keys)
    else:
        kept_out = held_out_of(len(weights), held_out, digest)
    weights[kept_out] = 0
    buckets = buckets_of(np.array(aspects), edges)
    population = Population.of(np.array(columns["shard"], np.int64), weights, buckets)
    table = pa.table(columns, _schema())
    if names is not None:
        table = table.append_column(pa.field("name", pa.string()), [names])
    stamp = stamp_of_tars(paths, held_out, edges, caption, held_out_keys, captions)
    more = {"stamps": [astuple(one) for one in stamps], "left_out": dict(left_out.most_common())}
    allowed(digest)
    rows = lay_out(folder, digest, paths, [table], population, kept_out, stamp, more)
    return rows, troubles


def _names(keys: Sequence[str], shards: Sequence[int]) -> list[str] | None:
    """What distinguishes rows with equal keys, and seeds their noise; None: keys are unique."""
    times = Counter(keys)
    if len(times) == len(keys):
        return None
    seen: Counter[tuple[str, int]] = Counter()
    names = []
    for key, shard in zip(keys, shards, strict=True):
        if times[key] == 1:
            names.append(key)
            continue
        again = seen[key, shard]
        seen[key, shard] += 1
        names.append(f"{key}\x1f{shard}" + (f"\x1f{again}" if again else ""))
    return names


def _plain(key: str) -> str:
    """A key as Unicode text: member names may be arbitrary bytes."""
    return key.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _nothing_found(paths: Sequence[str], fields: Counter[str]) -> str:
    there = ", ".join(f"{count} .{name}" for name, count in fields.most_common(6)) or "no files"
    return (
        f"no image with a caption in {', '.join(paths[:3])}: found {there}; a sample is an "
        "image (jpg, png, webp, gif, avif …) and a .txt, .caption or .json of its key"
    )


def stamp_of_tars(
    paths: Sequence[str],
    held_out: int,
    edges: Sequence[float] = (),
    caption: str | None = None,
    held_out_keys: Sequence[str] = (),
    captions: CaptionColumns | None = None,
) -> str:
    """What the rows of foreign tars depend on; `check_tars` tells whether the tars changed."""
    more = [list(edges), caption, *held_out_keys] if edges or caption or held_out_keys else []
    return digest_of([list(paths), held_out, *more, *_told(captions)])


def _labelled(dataset: Dataset, selection: Selection) -> pa.Table:
    """The selection's rows with a label. Raises `UserError` for fewer than two classes."""
    import pyarrow.compute as pc

    from frenchcat.curate.select import LABEL

    table, name = selection.table, selection.name
    label = "CASE WHEN caption ILIKE '%flag%' THEN 'flag' ELSE 'other' END"
    how = shell_command("select", dataset.root, name, "--replace", "--label", label)
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
    """Row numbers that are held out of training: deterministic for a set, a tenth of it at most."""
    count = min(wanted, rows // 10)
    return sorted(permuted(np.arange(count), rows, key_of(digest, "held out")).tolist())


def numbers_of(keys: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """The rows with some keys. Raises `UserError` for an unknown key, or if no other row is
    left.
    """
    chosen = set(wanted)
    found = [number for number, key in enumerate(keys) if key in chosen]
    lost = chosen.difference(keys[number] for number in found)
    if lost:
        raise UserError(
            f"run.held_out_keys names {', '.join(sorted(lost)[:3])}, but no sample has that key; "
            "leave it out"
        )
    if len(found) == len(keys):
        raise UserError("run.held_out_keys holds out every sample; leave some to train on")
    return found


def buckets_of(aspects: NDArray[np.float64], edges: Sequence[float]) -> NDArray[np.int64] | None:
    """The bucket of each width/height: how many of the ascending `edges` it passes; None for one
    bucket.
    """
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
    more: Mapping[str, Any] | None = None,
) -> TrainingRows:
    """Write rows into a folder and open them.

    `tables` have the columns of rows.arrow, and `name` if keys are not unique; each but the last
    has a multiple of BATCH_ROWS rows. `more` goes into rows.json.
    """
    import pyarrow as pa

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.json").unlink(missing_ok=True)
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(pa.OSFile(str(folder / "rows.arrow"), "wb"))
        writer = None
        for table in tables:
            writer = writer or stack.enter_context(pa.ipc.new_file(sink, table.schema))
            writer.write_table(table.combine_chunks(), max_chunksize=BATCH_ROWS)
    population.save(folder)
    about = {
        "digest": digest,
        "tars": [[path, size_of(path)] for path in paths],
        "held_out": list(held_out),
        "stamp": stamp,
        **(more or {}),
    }
    write_whole(folder / "rows.json", json_text(about))
    opened = open_rows(folder)
    assert opened is not None
    return opened


def _stamp(dataset: Dataset, name: str, how: Sequence[object]) -> str:
    """A digest of everything that a selection's rows depend on, without reading the rows.

    It uses the sizes and times of files: the selection's, the removals', and those of the markers,
    which change with every tar. Equal stamps mean that nothing changed.
    """
    found: list[object] = [name, *how]
    for folder in ("selections", "removals", "stages/download"):
        path = dataset.path(folder)
        for about in dataset.fs.ls(path, detail=True) if dataset.fs.exists(path) else ():
            when = about.get("mtime") or about.get("LastModified") or about.get("ETag")
            if folder != "selections" or about["name"].endswith(f"/{name}.parquet"):
                found.append([about["name"].rpartition("/")[2], about["size"], str(when)])
    return digest_of(found)
