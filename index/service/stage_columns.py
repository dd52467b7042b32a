"""The results of later stages for a row: scores, verdict, duplicates, rights signals.

Reads a shard's files of `files.joined()` and of rights/, writes nothing. Names are those of the
catalog (curate/catalog.py): of two files the earlier one's column counts, the score `similarity` is
`caption_similarity`; `opted_out`, `synthetic` and `licence_name` are what signals say. A stage that
was not run has no columns. Cost: each file of a shard is read at its first row and kept, 64 MB of
all at most.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Collection, Hashable, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any

from frenchcat.curate import files, licence
from frenchcat.curate.command_text import shell_command
from frenchcat.curate.errors import UserError, first_line
from frenchcat.curate.licence import licences_of
from frenchcat.curate.urls import domain_of
from frenchcat.index.hit import Hit

if TYPE_CHECKING:
    import pyarrow as pa

    from frenchcat.curate.dataset import Dataset

KEPT_BYTES = 64 * 2**20
_RENAMED = {"similarity": files.CAPTION_SIMILARITY}
FROM_HIT = ("domain", "shard")
"""Columns of the catalog that a hit's own fields give; told where they are asked for by name."""


class StageColumns:
    """The later stages' columns of one dataset; may be used from several threads."""

    def __init__(self, dataset: Dataset, kept_bytes: int = KEPT_BYTES) -> None:
        self._dataset, self._limit = dataset, kept_bytes
        self._lock, self._bytes = Lock(), 0
        self._kept: OrderedDict[Hashable, pa.Table | None] = OrderedDict()

    def of(self, hits: Sequence[Hit], names: Collection[str] | None = None) -> list[dict[str, Any]]:
        """For each hit: name -> value, of `names`, or of all but `domain` and `shard`.

        All hits have the same names, with None if a shard lacks one.
        """
        found: list[dict[str, Any]] = [{} for _ in hits]
        shards: dict[str, list[int]] = {}
        for at, hit in enumerate(hits):
            shards.setdefault(hit.shard, []).append(at)
        for shard, places in shards.items():
            keys = [hits[at].key for at in places]
            for at, row in zip(places, self._of_shard(shard, keys, names), strict=True):
                found[at] = row
        every = dict.fromkeys(name for row in found for name in row)
        rows = [{name: row.get(name) for name in every} for row in found]
        for row, hit in zip(rows, hits, strict=True):
            if names is not None and "domain" in names:
                row["domain"] = domain_of(hit.url)
            if names is not None and "shard" in names:
                row["shard"] = hit.shard
        return rows

    def names(self, shards: Collection[str]) -> list[str]:
        """The columns that there are in any of these shards."""
        found: dict[str, None] = {}
        for shard in shards:
            for folder in (*files.joined(), "rights"):
                table = self._table(folder, shard)
                found |= dict.fromkeys(() if table is None else table.column_names)
        found.pop("key", None)
        return [*found, *FROM_HIT]

    def _of_shard(
        self, shard: str, keys: Sequence[str], names: Collection[str] | None
    ) -> list[dict[str, Any]]:
        import pyarrow as pa
        import pyarrow.compute as pc

        rows: list[dict[str, Any]] = [{} for _ in keys]
        for folder in (*files.joined(), "rights"):
            table = self._table(folder, shard)
            if table is None:
                continue
            chosen = [name for name in table.column_names if name != "key"]
            if names is not None:
                chosen = [name for name in chosen if name in names]
            if not chosen:
                continue
            places = pc.index_in(pa.array(keys, pa.string()), table["key"])
            for row, values in zip(
                rows, table.select(chosen).take(places).to_pylist(), strict=True
            ):
                row.update({name: value for name, value in values.items() if name not in row})
        return rows

    def _table(self, folder: str, shard: str) -> pa.Table | None:
        """A shard's rows of a folder, with the catalog's names; None if there is no file."""
        relative = f"{folder}/{shard}.parquet"
        name = (relative, self._stamp(relative))
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
                return self._kept[name]
        made = self._read(relative)
        if made is not None and folder == "rights":
            made = _said(made)
        with self._lock:
            before = self._kept.pop(name, None)
            self._bytes += _size(made) - _size(before)
            self._kept[name] = made
            while self._bytes > self._limit and len(self._kept) > 1:
                self._bytes -= _size(self._kept.popitem(last=False)[1])
        return made

    def _read(self, relative: str) -> pa.Table | None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with self._dataset.as_local(relative) as path:
                table = pq.ParquetFile(path).read()
        except FileNotFoundError:
            return None
        except pa.ArrowException as error:
            raise UserError(
                f"{self._dataset.path(relative)} cannot be read ({first_line(error)}); "
                f"delete it and run: {shell_command('build', 'URLS', '--out', self._dataset.root)}"
            ) from None
        return table.rename_columns([_RENAMED.get(name, name) for name in table.column_names])

    def _stamp(self, relative: str) -> Hashable:
        """Changes when a local file does; for others a new dataset.json makes a new object."""
        if not self._dataset.local:
            return None
        try:
            found = os.stat(self._dataset.path(relative))
        except FileNotFoundError:
            return None
        return (found.st_mtime_ns, found.st_ino)


def _said(rights: pa.Table) -> pa.Table:
    """Signals, a row each -> key, and the columns of `files.RIGHTS_COLUMNS`."""
    import pyarrow as pa

    found: dict[str, dict[str, set[str]]] = {}
    for row in rights.select(["key", "signal", "value", "decision"]).to_pylist():
        said = found.setdefault(row["key"], {name: set() for name in files.RIGHTS_COLUMNS})
        if row["decision"] == "opt_out":
            said["opted_out"].add(row["signal"])
        if row["signal"] == "synthetic":
            said["synthetic"].add(row["value"])
        if row["signal"] == "license":
            said[licence.COLUMN].add(row["value"])
    columns = {
        name: pa.array([_together(name, said[name]) for said in found.values()], pa.string())
        for name in files.RIGHTS_COLUMNS
    }
    return pa.table({"key": pa.array(list(found), pa.string()), **columns})


def _together(name: str, values: set[str]) -> str | None:
    return licences_of(values) if name == licence.COLUMN else ", ".join(sorted(values)) or None


def _size(table: pa.Table | None) -> int:
    return 0 if table is None else table.nbytes
