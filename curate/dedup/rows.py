"""What a dataset's files say of its stored images, gathered over all shards for the comparison.

Reads the sidecars, scores/, embeddings/ and the removal log; writes nothing but a scratch file of
vectors. A row's number is its place among the stored images of all shards in the order of their
keys, removed ones left out: a row that is gone stands for no other. It is used in memory only.
Memory: about 300 bytes per row; vectors stay in a memory-mapped file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate import embeddings, files
from frenchcat.curate.command_text import shell_command
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.curate.markers import marker, output_sha256
from frenchcat.curate.parquets import read_parquet

if TYPE_CHECKING:
    import pyarrow as pa

    from frenchcat.curate.dedup.detectors import Detector
    from frenchcat.curate.dedup.settings import Rule

SIDECAR = ("key", "url", "caption", "sha256", "stored_sha256", "original_width", "original_height")
SURVIVAL = {"similarity": "double"}
"""The columns of scores/ that the rules of survival look at, with their Arrow types."""
_SIZES = dict.fromkeys(("original_width", "original_height"), "int64")
_SCORE_DIGESTS = b"frenchcat.scores"


@dataclass(frozen=True)
class StoredRows:
    """The stored images of a dataset; columns are as long as `keys`."""

    shards: tuple[tuple[str, int], ...]  # with how many rows each has, in order
    table: pa.Table  # the columns SIDECAR and those of scores; null where there is none

    @property
    def keys(self) -> list[str]:
        """In order."""
        keys: list[str] = self.table["key"].to_pylist()
        return keys

    def qualities(self) -> dict[Rule, NDArray[Any]]:
        """What the rules of survival look at, float64 with NaN where it is not known."""
        width, height = self._numbers("original_width"), self._numbers("original_height")
        lengths = [len(caption or "") for caption in self.table["caption"].to_pylist()]
        return {
            "resolution": width * height,
            "similarity": self._numbers("similarity"),
            "caption_length": np.array(lengths, np.float64),
        }

    def _numbers(self, name: str) -> NDArray[np.float64]:
        import pyarrow as pa

        column = self.table[name].cast(pa.float64()).fill_null(float("nan"))
        return np.asarray(column, np.float64)


def read_rows(dataset: Dataset, shards: Sequence[str], scores: Mapping[str, str]) -> StoredRows:
    """Gather the rows of the shards, sorted by name; removed ones are not among them.

    `scores` are the columns of scores/ to read beside those of survival, with their Arrow types.
    """
    import pyarrow as pa

    from frenchcat.curate.removals import removed_keys

    gone = pa.array(sorted(removed_keys(dataset)), pa.string())
    schema = _schema({**SURVIVAL, **scores})
    tables = [_shard_rows(dataset, shard, gone, schema) for shard in shards]
    counts = tuple(zip(shards, (table.num_rows for table in tables), strict=True))
    return StoredRows(counts, pa.concat_tables(tables))


def inputs(dataset: Dataset, shard: str, detectors: Sequence[Detector]) -> dict[str, str]:
    """Name -> digest of what is read of a shard. Raises `UserError` where a part is missing."""
    sidecar = files.SIDECAR.of(shard)
    found = {sidecar: output_sha256(dataset, "download", shard, sidecar)}
    scores = _score_digests(dataset, shard)
    # Not the digest of the whole file: a new score would have all images compared again.
    wanted = [name for name in ("pdq", "similarity") if name in scores]
    found |= {f"scores.{name}": scores[name] for name in wanted}
    for detector in detectors:
        found |= detector.inputs(dataset, shard, scores)
    if (made := marker(dataset, embeddings.STAGE, shard)) is not None:
        # Whose the vectors are; and captions are compared by theirs.
        for relative in (files.METADATA.of(shard), files.TEXT_EMB.of(shard)):
            if (output := made.outputs.get(relative)) is not None:
                found[relative] = output.sha256
    return found


def vectors_digest(dataset: Dataset, shard: str) -> dict[str, str] | None:
    """Path -> digest of a shard's image vectors; None where it has none."""
    made = marker(dataset, embeddings.STAGE, shard)
    if made is None:
        return None
    relative = files.IMG_EMB.of(shard)
    return {relative: made.outputs[relative].sha256}


def read_vectors(
    dataset: Dataset, rows: StoredRows, scratch: Path
) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
    """Numbers of the rows that have a vector, and the vectors (n, D) in a file under `scratch`.

    Raises `UserError` where a shard's vectors and their metadata differ in number.
    """
    dimension = int(embeddings.model_of(dataset)["dimension"])
    place = {key: row for row, key in enumerate(rows.keys)}
    numbers: list[int] = []
    file = scratch / "vectors"
    with open(file, "wb") as out:
        for shard, _ in rows.shards:
            with dataset.as_local(files.METADATA.of(shard)) as path:
                keys = read_parquet(path, columns=["image_path"])["image_path"].to_pylist()
            with dataset.as_local(files.IMG_EMB.of(shard)) as path:
                vectors = np.load(path)
            if vectors.shape != (len(keys), dimension):
                raise UserError(
                    f"{dataset.path(files.IMG_EMB.of(shard))} holds {vectors.shape} numbers "
                    f"where its metadata and model say {(len(keys), dimension)}; delete it and "
                    f"run: {shell_command('embed', dataset.root)}"
                )
            known = [at for at, key in enumerate(keys) if key in place]
            numbers += [place[keys[at]] for at in known]
            out.write(vectors[known].astype(np.float16).tobytes())
    shape = (len(numbers), dimension)
    if not numbers:
        return np.empty(0, np.int64), np.empty(shape, np.float16)
    return np.array(numbers, np.int64), np.memmap(file, np.float16, "r", shape=shape)


def _shard_rows(dataset: Dataset, shard: str, gone: pa.Array, schema: pa.Schema) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    scored = [name for name in schema.names if name not in SIDECAR]
    sidecar = _columns(dataset, files.SIDECAR.of(shard), (*SIDECAR, "status"), schema)
    stored = sidecar.filter(pc.equal(sidecar["status"], "success")).sort_by("key")
    stored = stored.filter(pc.invert(pc.is_in(stored["key"], gone)))
    scores = _columns(dataset, files.SCORES.of(shard), ("key", *scored), schema)
    place = {key: row for row, key in enumerate(scores["key"].to_pylist())}
    taken = pa.array([place.get(key) for key in stored["key"].to_pylist()], pa.int64())
    columns = {name: stored[name] for name in SIDECAR}
    return pa.table(columns | {name: scores[name].take(taken) for name in scored}, schema)


def _schema(scores: Mapping[str, str]) -> pa.Schema:
    import pyarrow as pa

    kinds = {**dict.fromkeys(SIDECAR, "string"), **_SIZES, **scores}
    return pa.schema([(name, pa.type_for_alias(kind)) for name, kind in kinds.items()])


def _columns(dataset: Dataset, relative: str, names: Sequence[str], schema: pa.Schema) -> pa.Table:
    """The named columns of a parquet file, nulls for those that it lacks; no rows without it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {field.name: field.type for field in schema} | {"status": pa.string()}
    if not dataset.exists(relative):
        return pa.table({name: pa.array([], kinds[name]) for name in names})
    with dataset.as_local(relative) as path:
        there = set(pq.read_schema(path).names)
        table = read_parquet(path, columns=[name for name in names if name in there])
    columns = {
        name: table[name].cast(kinds[name])
        if name in there
        else pa.nulls(table.num_rows, kinds[name])
        for name in names
    }
    return pa.table(columns)


def _score_digests(dataset: Dataset, shard: str) -> dict[str, str]:
    """Score -> the digest of what made it, as the file's metadata has it."""
    import pyarrow.parquet as pq

    relative = files.SCORES.of(shard)
    if not dataset.exists(relative):
        return {}
    with dataset.as_local(relative) as path:
        metadata = pq.read_schema(path).metadata or {}
    found: dict[str, str] = json.loads(metadata.get(_SCORE_DIGESTS, b"{}"))
    return found
