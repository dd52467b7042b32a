"""Connections to DuckDB that see a dataset's files and no others.

Writes nothing. An instance of DuckDB takes 30 ms to start, a connection to one that runs 1 ms, so a
process keeps the instances of the local datasets that it asked last. Views and tables have to be
temporary: those alone belong to their connection.
"""

from __future__ import annotations

import atexit
import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.licence import COLUMN, licences_of
from frenchcat.curate.sql_text import exactly, literal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_INSTANCES = 4
SPILLING_MEMORY = "256MB"
_SPILLING_THREADS = 4  # each wants some of the memory


def connection(dataset: Dataset, spill: Path | None = None) -> DuckDBPyConnection:
    """A connection of its own, for one thread at a time; the caller closes it.

    With `spill`, an existing folder, it takes `SPILLING_MEMORY` at most, whatever the dataset's
    size: what does not fit lies in files of that folder.
    """
    if spill is not None:
        return _spilling(dataset, spill)
    if dataset.local:
        return _local(_root_of(dataset), os.getpid()).cursor()
    duck = _started()
    duck.register_filesystem(dataset.fs)
    return duck


@lru_cache(_INSTANCES)
def _local(root: str, pid: int) -> DuckDBPyConnection:
    """The instance that sees a folder, of this process: a fork has none of its threads."""
    duck = _started()
    _close_to_others(duck, root)
    return duck


def _spilling(dataset: Dataset, folder: Path) -> DuckDBPyConnection:
    duck = _started()
    duck.execute(f"SET memory_limit = '{SPILLING_MEMORY}'")
    duck.execute(f"SET temp_directory = {literal(str(folder))}")
    duck.execute(f"SET threads = {min(os.cpu_count() or 1, _SPILLING_THREADS)}")
    if dataset.local:
        _close_to_others(duck, _root_of(dataset))
    else:
        duck.register_filesystem(dataset.fs)
    return duck


def _root_of(dataset: Dataset) -> str:
    return dataset.path("").rstrip("/") + "/"


def _close_to_others(duck: DuckDBPyConnection, root: str) -> None:
    """Let it see the files below a folder and no others."""
    # The files that a pattern gives are looked up, and so is the pattern.
    seen = ", ".join(literal(name) for name in dict.fromkeys((root, exactly(root))))
    duck.execute(f"SET allowed_directories = [{seen}]")
    duck.execute("SET enable_external_access = false")
    duck.execute("SET lock_configuration = true")


atexit.register(_local.cache_clear)  # DuckDB's binding reports what is alive after that


def _started() -> DuckDBPyConnection:
    import duckdb

    duck = duckdb.connect()
    duck.execute("SET GLOBAL preserve_insertion_order = true")
    # A time with a zone is the same text on every machine.
    duck.execute("SET GLOBAL TimeZone = 'UTC'")
    # A text where its types want an enumeration whose module moved between DuckDB's versions.
    duck.create_function(  # type: ignore[call-overload]
        COLUMN, _licences, ["VARCHAR[]"], "VARCHAR", null_handling="special", side_effects=False
    )
    return duck


def _licences(texts: list[str | None] | None) -> str | None:
    return licences_of(texts or ())
