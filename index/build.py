"""Embeddings -> kNN index: images and captions, in parts that never change.

Reads embeddings/. Writes for each part ``index/{image,text}-<part>.index`` (faiss, index/kinds.py)
and ``index/rows-<part>.arrow`` (index/rows.py), and last ``index/index.json``, which names them. A
part is named by a digest of its inputs, so a file of a given name never changes. Only index.json is
replaced; a reader that opened an older one continues with the files that it has mapped.

New shards become a new part, which costs only as much as these shards. When the parts behind the
first hold a fifth of its rows (or 20,000, or are too many), all are built as one. A shard whose
vectors changed invalidates its part. Exactly the embedded rows are indexed: shards whose vectors
and metadata differ in number, or that another model made, are refused.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from frenchcat.curate import embeddings, files
from frenchcat.curate.command_text import shell_command
from frenchcat.curate.config import as_dict, settings
from frenchcat.curate.dataset import Dataset, Publication, digest_of, file_sha256
from frenchcat.curate.errors import UserError
from frenchcat.curate.manifest import StageEntry
from frenchcat.curate.markers import marker, record_entry
from frenchcat.curate.stage import Progress, Silent
from frenchcat.curate.system_errors import check_space
from frenchcat.index import kinds, rows
from frenchcat.index.part import PartEntry
from frenchcat.index.vectors import StoredVectors, Vectors

if TYPE_CHECKING:
    from frenchcat.index.evaluate import Tuned

STAGE = "index"
VERSION = 2
JSON = "index/index.json"
MODALITIES = ("image", "text")
TAIL_SHARE, TAIL_ROWS, MAX_PARTS = 0.2, 20_000, 16


@settings
class IndexSettings:
    """How the kNN index is built."""

    factory: str = "auto"
    """`auto` (by the number of rows), or a faiss factory string (`SQfp16`, `HNSW32`, `RaBitQ4`)."""
    rerank: int | None = None
    """Candidates that are compared exactly, beyond the hits asked for; None: as many as recall
    needs.
    """
    probes: int | None = None
    """Lists that are searched, in an index with lists; None: as many as recall needs."""
    target_recall: float | None = None
    """The build fails below this recall@10; None: aim at .99, and record what was reached."""

    def __post_init__(self) -> None:
        if self.target_recall is not None and not 0 < self.target_recall <= 1:
            raise ValueError(f"target_recall is {self.target_recall}; it is between 0 and 1")
        for name in ("rerank", "probes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; it is at least 1")


def build_index(
    dataset: Dataset,
    settings: IndexSettings | None = None,
    progress: Progress | None = None,
    *,
    anew: bool = False,
) -> dict[str, Any]:
    """Bring the index up to date, or build all of it `anew`; returns index.json. The lock is held.

    The old index stays until the new files are there. Raises `UserError` if there are no
    embeddings, if they are of several models or do not match their metadata, if faiss does not know
    the factory, or if the target recall is not met.
    """
    settings, progress = settings or IndexSettings(), progress or Silent()
    model = embeddings.model_of(dataset)
    made_of = _made_of(dataset, settings, model)
    found = None if anew else current(dataset)
    kept = _kept(dataset, found, made_of)
    covered = {shard for entry in kept for shard in entry.shards}
    new = [shard for shard in made_of["shards"] if shard not in covered]
    if found is None or new or len(kept) != len(entries(found)) or found["made_of"] != made_of:
        found = _build(dataset, settings, made_of, kept, new, progress)
    _sweep(dataset, found)
    counts = dict.fromkeys(MODALITIES, found["rows"])
    digest = digest_of(made_of)
    entry = StageEntry(VERSION, settings=as_dict(settings), counts=counts, digest=digest)
    record_entry(dataset, STAGE, entry)
    return found


def current(dataset: Dataset) -> dict[str, Any] | None:
    """The value of index.json; None if there is no index, or one of another version."""
    try:
        found = dataset.read_json(JSON)
    except FileNotFoundError:
        return None
    made_of = found.get("made_of") if isinstance(found, dict) else None
    version = made_of.get("version") if isinstance(made_of, dict) else None
    whole: dict[str, Any] | None = found if version == VERSION else None
    return whole


def entries(found: Mapping[str, Any]) -> list[PartEntry]:
    """The parts that index.json names, in order of position."""
    return [PartEntry(**entry) for entry in found["parts"]]


def index_version(dataset: Dataset) -> str:
    """Identifies the state of the index, and is cheap to read; "" if there is none."""
    try:
        if not dataset.local:
            return digest_of(dataset.read_bytes(JSON).decode())
        status = os.stat(dataset.path(JSON))
    except FileNotFoundError:
        return ""
    return f"{status.st_ino}-{status.st_mtime_ns}-{status.st_size}"


# -- what is out of date -------------------------------------------------------------------------


def _made_of(dataset: Dataset, settings: IndexSettings, model: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that the index depends on."""
    digests = {}
    for shard in dataset.shards(embeddings.STAGE):
        found = marker(dataset, embeddings.STAGE, shard)
        assert found is not None
        digests[shard] = found.digest
    named = {name: model[name] for name in ("model", "weights", "dimension")}
    return {"version": VERSION, **as_dict(settings), **named, "shards": digests}


def _kept(
    dataset: Dataset, found: Mapping[str, Any] | None, made_of: Mapping[str, Any]
) -> list[PartEntry]:
    """The parts that can be kept."""
    if found is None:
        return []
    same = {k: v for k, v in found["made_of"].items() if k != "shards"}
    if same != {k: v for k, v in made_of.items() if k != "shards"}:
        return []
    return [entry for entry in entries(found) if _stays(dataset, entry, made_of["shards"])]


def _stays(dataset: Dataset, entry: PartEntry, digests: Mapping[str, str]) -> bool:
    same = all(digests.get(shard) == said["digest"] for shard, said in entry.shards.items())
    return same and all(dataset.size(rel) == file["bytes"] for rel, file in entry.files.items())


def _as_one(kept: Sequence[PartEntry], new_rows: int) -> bool:
    """Whether the parts behind the largest are too many or too large to stay separate."""
    if not kept:
        return True
    largest = max(entry.rows for entry in kept)
    tail = sum(entry.rows for entry in kept) - largest + new_rows
    return len(kept) >= MAX_PARTS or tail > max(TAIL_ROWS, TAIL_SHARE * largest)


def _build(
    dataset: Dataset,
    settings: IndexSettings,
    made_of: dict[str, Any],
    kept: list[PartEntry],
    new: list[str],
    progress: Progress,
) -> dict[str, Any]:
    counts = {shard: _rows_of(dataset, shard) for shard in made_of["shards"]}
    if not sum(counts.values()):
        raise UserError(
            f"{dataset.root} has no embedded images to index; see: "
            f"{shell_command('info', dataset.root)}"
        )
    if _as_one(kept, sum(counts[shard] for shard in new)):
        kept, new = [], list(made_of["shards"])
    rows = sum(counts[shard] for shard in new)
    check_space(
        dataset.root, rows * _bytes_per_row(dataset, settings, rows), f"an index of {rows} rows"
    )
    progress.begin(STAGE, len(new))
    with contextlib.ExitStack() as stack:
        stack.callback(progress.end)
        with dataset.publish(STAGE) as publication:
            parts = list(kept)
            if new:
                shards = {shard: counts[shard] for shard in new}
                work = _Work(dataset, settings, made_of, publication, progress)
                parts.append(work.part(shards, tail=bool(kept)))
            found = {
                "made_of": made_of,
                "rows": sum(entry.rows for entry in parts),
                "parts": [asdict(entry) for entry in parts],
            }
            publication.path(JSON).write_text(_pretty(found), encoding="utf-8")
        for shard in new:
            progress.shard_done(shard, {"rows": counts[shard]})
    return found


def _bytes_per_row(dataset: Dataset, settings: IndexSettings, rows: int) -> float:
    """Rows that both modalities have at least; captions without images are not counted."""
    dimension = int(dataset.manifest().entry(embeddings.STAGE).setting("dimension", 0))
    return len(MODALITIES) * kinds.code_bytes(kinds.kind_of(rows, settings.factory), dimension)


def _rows_of(dataset: Dataset, shard: str) -> int:
    import pyarrow.parquet as pq

    with dataset.as_local(files.METADATA.of(shard)) as path:
        return int(pq.read_metadata(path).num_rows)


# -- one part ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Work:
    """The settings that a part is made with."""

    dataset: Dataset
    settings: IndexSettings
    made_of: Mapping[str, Any]
    publication: Publication
    progress: Progress

    def part(self, shards: Mapping[str, int], tail: bool) -> PartEntry:
        """Make the files of a part from shards (rows of each); returns its entry of index.json."""
        count, digests = sum(shards.values()), self.made_of["shards"]
        said = {shard: {"digest": digests[shard], "rows": rows} for shard, rows in shards.items()}
        kind = kinds.kind_of(count, self.settings.factory, tail)
        name = digest_of({**self.made_of, "shards": said, "kind": kind.factory})[:12]
        draft = PartEntry(name, kind.factory, kind.exact, None, None, count, said, {}, {})
        rows.write_rows(
            self.publication.path(draft.rows_file),
            [rows.shard_rows(self.dataset, shard) for shard in shards],
        )
        tuned = self._indexes(draft, shards)
        names = [draft.rows_file, *map(draft.index_file, MODALITIES)]
        files = {name: _said_of(self.publication, name) for name in names}
        measured = tuned.measured
        return replace(
            draft, files=files, rerank=tuned.rerank, probes=tuned.probes, measured=measured
        )

    def _indexes(self, draft: PartEntry, shards: Mapping[str, int]) -> Tuned:
        """Write the indexes of both modalities; returns how to search them."""
        dimension = int(self.made_of["dimension"])
        indexes, stored = {}, {}
        for modality in MODALITIES:
            there = StoredVectors(self.dataset, modality, shards, dimension)
            blocks = _told(there, self.progress)
            made = kinds.make_index(blocks, _sample(there), dimension, draft.rows, draft.factory)
            kinds.write_index(made, self.publication.path(draft.index_file(modality)))
            indexes[modality], stored[modality] = made, there
        return _tuned(draft.exact, self.settings, indexes, stored, self.dataset)


def _tuned(
    exact: bool,
    settings: IndexSettings,
    indexes: Mapping[str, Any],
    stored: Mapping[str, StoredVectors],
    dataset: Dataset,
) -> Tuned:
    from frenchcat.index import evaluate

    if exact:
        return evaluate.EXACT
    asked = evaluate.Asked(settings.rerank, settings.probes, settings.target_recall)
    return evaluate.tune(indexes, stored, asked, dataset.root)


def _told(stored: StoredVectors, progress: Progress) -> Iterator[Vectors]:
    """The blocks of vectors, checked for NaN. Raises `UserError` for one."""
    for start, block in stored.blocks():
        if not np.isfinite(block).all():
            raise UserError(
                f"a vector near row {start} of the index is not a number; embed that shard again"
            )
        yield block
        progress.advance(len(block))


def _sample(stored: StoredVectors) -> Any:
    """Rows to train on, spread evenly and chosen deterministically."""

    def sample(wanted: int) -> Vectors:
        count = min(wanted, len(stored))
        return stored.gather(np.linspace(0, len(stored) - 1, count).astype(np.int64))

    return sample


def _said_of(publication: Publication, relative: str) -> dict[str, Any]:
    path = publication.folder / relative
    return {"bytes": path.stat().st_size, "sha256": file_sha256(path)}


def _sweep(dataset: Dataset, found: Mapping[str, Any]) -> None:
    """Delete the files of parts that index.json no longer names."""
    named = {JSON, *(name for entry in entries(found) for name in entry.files)}
    for name in dataset.files("index"):
        if f"index/{name}" not in named:
            dataset.remove(f"index/{name}")


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True) + "\n"
