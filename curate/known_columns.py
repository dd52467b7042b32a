"""The columns that a condition may name: what each is of, and what the list calls it.

Reads the footers of a dataset's parquet files, writes nothing. The same names and types as the
catalog's (catalog.py), without a query: for people who want to know what there is.
Cost: one footer per file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from frenchcat.curate import files, licence
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.failures import COLUMNS
from frenchcat.curate.list_names import shown_of_sidecar
from frenchcat.curate.promote import folded, promoted, sql_type
from frenchcat.curate.sidecar import LATER, NAMES

if TYPE_CHECKING:
    import pyarrow as pa

LIST = "list"


@dataclass(frozen=True)
class KnownColumn:
    """One column of the catalog."""

    type: str
    """DuckDB's name of its type; of a column of several types the one that holds them all."""
    made_by: str
    """`list` for the list's own, else the stage whose files have it."""
    in_list: str | None = None
    """How the list calls it, where a column of frenchcat's has that name."""


def known_columns(dataset: Dataset) -> dict[str, KnownColumn]:
    """Name -> column, in the catalog's order; empty where nothing was downloaded."""
    import pyarrow as pa

    scores = {folded(name) for name, *_ in _of_folder(dataset, files.SCORES)}
    kinds: dict[str, pa.DataType] = {}
    found: dict[str, tuple[str, str, str | None]] = {}  # folded -> name, maker, the list's name
    for written, name, kind in _of_sidecars(dataset, scores):
        maker = files.SIDECAR.stage if written in NAMES else LIST
        own = written if name != written and maker == LIST else None
        _add(found, kinds, name, kind, maker, own)
    if not found:
        return {}
    _add(found, kinds, "shard", pa.string(), files.SIDECAR.stage, None)
    for name in LATER:
        if folded(name) not in found:
            _add(found, kinds, name, pa.int64(), files.SIDECAR.stage, None)
    for file in files.joined().values():
        for name, kind in _of_folder(dataset, file):
            _add(found, kinds, name, kind, file.stage, None)
    if "similarity" in scores:
        kind = kinds["similarity"]
        _add(found, kinds, files.CAPTION_SIMILARITY, kind, files.SCORES.stage, None)
    if any(name.endswith(".parquet") for name in dataset.files(files.RIGHTS.folder)):
        for name in files.RIGHTS_COLUMNS:
            _add(found, kinds, name, pa.string(), files.RIGHTS.stage, None)
    elif licence.columns_of(name for name, *_ in found.values()):
        _add(found, kinds, licence.COLUMN, pa.string(), files.SIDECAR.stage, None)
    _add(found, kinds, "domain", pa.string(), files.SIDECAR.stage, None)
    return {
        name: KnownColumn(sql_type(kinds[key]), maker, own)
        for key, (name, maker, own) in found.items()
    }


def _add(
    found: dict[str, tuple[str, str, str | None]],
    kinds: dict[str, pa.DataType],
    name: str,
    kind: pa.DataType,
    maker: str,
    own: str | None,
) -> None:
    """A column as it is in one file; what an earlier maker has stays its own."""
    key = folded(name)
    if key in found and found[key][1] != maker:
        return
    found.setdefault(key, (name, maker, own))
    kinds[key] = promoted(kinds[key], kind) if key in kinds else kind


def _of_sidecars(dataset: Dataset, made: Collection[str]) -> Iterator[tuple[str, str, pa.DataType]]:
    """Of each sidecar's columns: as it is written, as it is called, its type."""
    import pyarrow.parquet as pq

    for shard in dataset.shards(files.SIDECAR.stage):
        with dataset.as_local(files.SIDECAR.of(shard)) as path:
            schema = pq.read_schema(path)
        called = shown_of_sidecar(schema.names, made)
        for field, name in zip(schema, called, strict=True):
            if field.name not in COLUMNS:
                yield field.name, name, field.type


def _of_folder(dataset: Dataset, file: files.ShardFile) -> Iterator[tuple[str, pa.DataType]]:
    import pyarrow.parquet as pq

    for name in dataset.files(file.folder):
        if name.endswith(".parquet"):
            with dataset.as_local(f"{file.folder}/{name}") as path:
                schema = pq.read_schema(path)
            yield from ((field.name, field.type) for field in schema)
