"""Rewriting a dataset without its removed rows: tars, sidecars, lists, vectors, scores, selections.

Each shard's files and their markers are published together, so a killed compaction goes on where
it stopped. Markers are renewed along with the files they name: what depends on an unchanged rest
stays up to date, and no image is fetched, embedded or scored again. Duplicates and the index
span shards, so they are made again by the caller. Until the new ones are there the old ones stay: a
dataset whose compaction fails can be searched, without the removed rows, as before.

A row of the frozen list becomes empty instead of vanishing: its number is part of its neighbours'
keys. Cost: the bytes of the shards that hold removed rows.
"""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from frenchcat.curate import files, sidecar, tars
from frenchcat.curate.dataset import Dataset, Publication
from frenchcat.curate.decisions import forget_removed
from frenchcat.curate.failures import REASON, SIGNAL, Failure
from frenchcat.curate.manifest import StageEntry
from frenchcat.curate.markers import (
    Inputs,
    Marker,
    OutputFile,
    Signature,
    marker,
    marker_path,
    put_marker,
    record_entry,
    summed,
)
from frenchcat.curate.parquets import read_parquet
from frenchcat.curate.removals import removed_by_shard, removed_keys
from frenchcat.curate.select import purge
from frenchcat.curate.stage import Progress, Silent
from frenchcat.curate.system_errors import check_space

INDEX = {"index": "index"}
"""The folder of the index, and the stage that makes it again."""


def compact(
    dataset: Dataset,
    progress: Progress | None = None,
    remake: Callable[[bool], None] | None = None,
) -> dict[str, int]:
    """Take the bytes of removed rows out of a dataset; the lock is held.

    Gives the numbers of rows and shards rewritten. `remake` makes the index and duplicates anew,
    and is told whether what is there holds removed rows or places that changed; without it they
    are deleted then. The same call again finds nothing to do.
    """
    progress = progress or Silent()
    by_shard = sorted(removed_by_shard(dataset).items())
    todo = {shard: keys for shard, keys in by_shard if _holds(dataset, shard, keys)}
    check_space(dataset.root, _needed(dataset, todo), f"compaction of {len(todo)} shards")
    progress.begin("compact", len(todo))
    for shard, keys in todo.items():
        _compact_shard(dataset, shard, keys)
        progress.shard_done(shard, {"removed": len(keys)})
    progress.end()
    # Asked of the files, not of `todo`: a call before this one may have been killed right here.
    stale = bool(todo) or _spanning_hold(dataset)
    if stale and remake is None:
        _drop_spanning(dataset)
    _count_anew(dataset)
    purge(dataset)
    forget_removed(dataset)
    if remake is not None:
        remake(stale)
        if _spanning_hold(dataset):  # of a stage that was not made again
            _drop_spanning(dataset)
    return {"rows": sum(map(len, todo.values())), "shards": len(todo)}


def _needed(dataset: Dataset, shards: Collection[str]) -> float:
    """Bytes beside what is there: the largest shard's files once more, and the index."""
    if not shards:
        return 0

    def size(relative: str) -> int:
        return dataset.size(relative) or 0

    largest = max(sum(size(file.of(shard)) for file in files.SHARD_FILES) for shard in shards)
    index = sum(size(f"{folder}/{name}") for folder in INDEX for name in dataset.files(folder))
    return largest + index


def _holds(dataset: Dataset, shard: str, keys: set[str]) -> bool:
    """Whether a shard still has one of the rows in its sidecar."""
    relative = files.SIDECAR.of(shard)
    if not dataset.exists(relative):
        return False
    with dataset.as_local(relative) as path:
        present = read_parquet(path, columns=["key"])["key"].to_pylist()
    return not keys.isdisjoint(present)


def _compact_shard(dataset: Dataset, shard: str, keys: set[str]) -> None:
    with dataset.publish(f"compact-{shard}") as publication:
        went = {files.SIDECAR.stage: _sidecar(dataset, publication, shard, keys)}
        for file in files.SHARD_FILES:
            relative = file.of(shard)
            if not dataset.exists(relative):  # as the tar of what was adopted without images
                continue
            if file.removal == "member":
                _tar(dataset, publication, relative, keys)
            elif file.removal == "emptied":
                _list(dataset, publication, relative, keys)
            elif file.aligned is not None:
                beside = _keys_of(dataset, file.aligned, shard)
                _array(dataset, publication, relative, [key not in keys for key in beside])
            elif file.removal == "row" and file is not files.SIDECAR:
                number = _by_key(dataset, publication, relative, keys, file.key)
                if file.counted:
                    went.setdefault(file.stage, {})[file.counted] = number
        _markers(dataset, publication, shard, went)


def _tar(dataset: Dataset, publication: Publication, relative: str, keys: set[str]) -> None:
    with dataset.as_local(relative) as path:
        kept = [m for m in tars.members(path) if m.key not in keys]
        with (
            tarfile.open(path) as source,
            tarfile.open(publication.path(relative), "w", format=tarfile.USTAR_FORMAT) as target,
        ):
            names = {f"{member.key}.{member.extension}" for member in kept}
            for info in source:
                if info.name in names:
                    target.addfile(info, source.extractfile(info))


def _sidecar(
    dataset: Dataset, publication: Publication, shard: str, keys: set[str]
) -> dict[str, int]:
    """Rewrite sidecar and stats; gives the marker's counts of what went."""
    relative = files.SIDECAR.of(shard)
    with dataset.as_local(relative) as path:
        table = read_parquet(path)
    told = sidecar.filled(table).select(["key", "status", REASON, SIGNAL])
    going = [row for row in told.to_pylist() if row["key"] in keys]
    failed = [row for row in going if row["status"] != "success"]
    stored = len(going) - len(failed)
    reasons = Counter(Failure(row[REASON], row[SIGNAL]).name for row in failed)
    _write(publication, relative, _without(table, keys))
    stats = files.STATS.of(shard)
    if dataset.exists(stats):
        value = dataset.read_json(stats)
        value["count"] -= len(going)
        value["successes"] -= stored
        _take(value, Counter(row["status"] for row in failed))
        _take(value.get("status_dict", {}), {"success": stored, **reasons})
        publication.path(stats).write_text(json.dumps(value, indent=4), encoding="utf-8")
    names = {f"failed.{name}": number for name, number in reasons.items()}
    counts = {"rows": len(going), "downloaded": stored, "success": stored}
    return {**counts, "failed": len(failed), **names}


def _take(counts: dict[str, Any], went: Mapping[str, int]) -> None:
    """Lessen those counts that there are."""
    for name, number in went.items():
        if name in counts:
            counts[name] -= number


def _list(dataset: Dataset, publication: Publication, relative: str, keys: set[str]) -> None:
    """Empty the rows of the frozen list that the keys number."""
    import pyarrow as pa

    with dataset.as_local(relative) as path:
        table = read_parquet(path)
    numbers = {int(key[-4:]) for key in keys}
    emptied = [None if number in numbers else number for number in range(table.num_rows)]
    # The row of no number is one of nulls, whatever the columns hold.
    _write(publication, relative, table.take(pa.array(emptied, pa.int64())))


def _array(dataset: Dataset, publication: Publication, name: str, stays: Sequence[bool]) -> None:
    """Rewrite an array with the rows that stay."""
    keep = np.array(stays, bool)
    with dataset.as_local(name) as path:
        np.save(publication.path(name), np.load(path)[keep])


def _keys_of(dataset: Dataset, file: files.ShardFile, shard: str) -> list[str]:

    with dataset.as_local(file.of(shard)) as path:
        keys: list[str] = read_parquet(path, columns=[file.key])[file.key].to_pylist()
    return keys


def _by_key(
    dataset: Dataset, publication: Publication, relative: str, keys: set[str], column: str
) -> int:
    """Rewrite a parquet file with a column of keys; gives the number of rows that went."""
    with dataset.as_local(relative) as path:
        table = read_parquet(path)
    left = _without(table, keys, column)
    _write(publication, relative, left)
    return int(table.num_rows - left.num_rows)


def _without(table: Any, keys: Collection[str], column: str = "key") -> Any:
    return table.filter(np.array([key not in keys for key in table[column].to_pylist()], bool))


def _write(publication: Publication, relative: str, table: Any) -> None:
    import pyarrow.parquet as pq

    pq.write_table(table, publication.path(relative), compression="zstd")


# -- markers -------------------------------------------------------------------------------------


def _markers(
    dataset: Dataset, publication: Publication, shard: str, went: Mapping[str, Mapping[str, int]]
) -> None:
    """Renew the markers of a shard for the files rewritten in this publication.

    `went` are the counts by stage of the rows that are not there any more.
    """
    manifest = dataset.manifest()
    found = {name: marker(dataset, name, shard) for name in dataset.files("stages")}
    markers = {name: made for name, made in found.items() if made is not None}
    rewritten = {name: OutputFile.of(publication.folder / name) for name in publication.relatives}
    renewed = {
        made.outputs[name].sha256: now.sha256
        for made in markers.values()
        for name, now in rewritten.items()
        if name in made.outputs
    }
    for name, made in markers.items():
        outputs = {file: rewritten.get(file, was) for file, was in made.outputs.items()}
        inputs = {what: renewed.get(digest, digest) for what, digest in made.inputs.items()}
        digest = _digest(manifest.stages.get(name), name, made, inputs)
        counts = dict(made.counts)
        _take(counts, went.get(name, {}))
        put_marker(publication, name, shard, Marker(digest, inputs, outputs, counts))


def _digest(entry: StageEntry | None, name: str, made: Marker, inputs: Inputs) -> str:
    """A marker's digest with other inputs.

    One that cannot be worked out from the marker's own inputs stays as it is, to be made again.
    """
    if entry is None or entry.version is None or entry.settings is None:
        return made.digest
    signature = Signature(name, entry.version, entry.settings)
    known = signature.digest(made.inputs) == made.digest
    return signature.digest(inputs) if known else made.digest


def _count_anew(dataset: Dataset) -> None:
    """Sum the markers' counts into dataset.json again."""
    for name, entry in dataset.manifest().stages.items():
        shards = dataset.shards(name)
        if shards and name != "lists":
            now = summed(dataset, name, shards)
            record_entry(dataset, name, replace(entry, counts=now.counts, digest=now.digest))


def _spanning_hold(dataset: Dataset) -> bool:
    """Whether duplicates or the index still have a removed row."""
    import pyarrow as pa

    gone = removed_keys(dataset)
    for name in (n for folder in _spanning() for n in _all(dataset, folder)) if gone else ():
        keys: list[str] = []
        with dataset.as_local(name) as path:
            if name.endswith(".parquet"):
                keys = read_parquet(path, columns=["key"])["key"].to_pylist()
            elif name.endswith(".arrow"):
                with pa.memory_map(str(path)) as source:
                    keys = pa.ipc.open_file(source).read_all()["key"].to_pylist()
        if not gone.isdisjoint(keys):
            return True
    return False


def _spanning() -> dict[str, str]:
    """Folders whose files span shards, and the stage that makes them again."""
    return {f.folder: f.stage for f in files.SHARD_FILES if f.removal == "remade"} | INDEX


def _drop_spanning(dataset: Dataset) -> None:
    for folder, stage in _spanning().items():
        for name in _all(dataset, folder):
            dataset.remove(name)
        for shard in dataset.shards(stage):
            dataset.remove(marker_path(stage, shard))


def _all(dataset: Dataset, folder: str) -> Iterable[str]:
    return [f"{folder}/{name}" for name in dataset.files(folder)]
