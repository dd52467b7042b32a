"""A shard's rows as a vector database takes them: columns, vectors, and what decides their showing.

Reads embeddings/ and the catalog; writes nothing. Memory for one shard.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from frenchcat.curate import embeddings
from frenchcat.curate.catalog import Catalog
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.list_names import PLACE
from frenchcat.curate.promote import folded
from frenchcat.curate.urls import domain_of
from frenchcat.curate.vector_stores.store import FACTS, VectorDatabase, Vectors
from frenchcat.index.rows import shard_rows
from frenchcat.index.visible import unsafe_and_dropped

if TYPE_CHECKING:
    import pyarrow as pa


def rows_of_shard(
    dataset: Dataset, shard: str, columns: Mapping[str, str], gone: frozenset[str]
) -> tuple[pa.Table, dict[str, Vectors]]:
    """A shard's embedded rows as they are published, and their vectors by modality, (N, D).

    Without rows whose keys are `gone`; with PLACE, `columns` (name -> DuckDB type) and FACTS.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    places = shard_rows(dataset, shard).select(PLACE)
    keep = np.array([key not in gone for key in places["key"].to_pylist()], bool)
    vectors = {
        by: np.asarray(embeddings.vectors_of_shard(dataset, shard, by)[1][keep], np.float32)
        for by in ("image", "text")
    }
    places = places.filter(keep)
    with Catalog(dataset) as catalog:
        found = catalog.run(f"SELECT * FROM ({catalog.of_shard(shard)})")
    there = {folded(name): name for name in found.column_names}
    # A row without its sidecar has nulls.
    at = pc.index_in(places["key"].combine_chunks(), found["key"].combine_chunks())
    table = {name: places[name] for name in PLACE}
    for name, kind in columns.items():
        if (source := there.get(folded(name))) is not None:
            table[name] = pc.cast(found[source].take(at), _arrow(kind))
        elif name == "domain":
            urls = found[there["url"]].take(at).to_pylist()
            table[name] = pa.array([None if u is None else domain_of(u) for u in urls], pa.string())
        else:
            table[name] = pa.nulls(places.num_rows, _arrow(kind))
    return pa.table({**table, **_facts(table, places.num_rows)}), vectors


def _arrow(kind: str) -> pa.DataType:
    import pyarrow as pa

    named = {
        "BOOLEAN": pa.bool_(),
        "FLOAT": pa.float32(),
        "DOUBLE": pa.float64(),
        "VARCHAR": pa.string(),
    }
    return named.get(kind, pa.int64())


def _facts(table: Mapping[str, Any], count: int) -> dict[str, Any]:
    """The columns of FACTS, as index/visible.py has them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = {
        name: pa.chunked_array([column]) if isinstance(column, pa.Array) else column
        for name in ("keep", "reason", "punsafe")
        if (column := table.get(name)) is not None
    }
    if "punsafe" in columns:
        columns["punsafe"] = _numbers(columns["punsafe"])
    unsafe = dropped = np.zeros(count, bool)
    if "keep" in columns or "punsafe" in columns:
        unsafe, dropped = unsafe_and_dropped(columns)
    cluster, stays = pa.nulls(count, pa.string()), np.ones(count, bool)
    if "cluster" in table and "multiplicity" in table:
        several = [n is not None and n > 1 for n in table["multiplicity"].to_pylist()]
        named = zip(table["cluster"].to_pylist(), several, strict=True)
        cluster = pa.array([one if many else None for one, many in named], pa.string())
        stays = np.asarray(pc.is_null(table["duplicate_of"]).to_numpy())
    found = dict(zip(FACTS, (unsafe, dropped, cluster, stays), strict=True))
    return {
        name: pa.array(one) if isinstance(one, np.ndarray) else one for name, one in found.items()
    }


def _numbers(column: Any) -> Any:
    """A column as numbers, null where it is none: a score of a user's own may be a text."""
    import pyarrow as pa

    if not pa.types.is_string(column.type):
        return column

    def number(text: str | None) -> float | None:
        try:
            return None if text is None else float(text)
        except ValueError:
            return None

    return pa.chunked_array([[number(text) for text in column.to_pylist()]], pa.float64())


def rows_as_taken(rows: pa.Table, store: VectorDatabase) -> tuple[pa.Table, Counter[str]]:
    """Rows with values that the database takes, and how many were changed, by how.

    Every database refuses NUL, which becomes U+FFFD (`nul`); some refuse long texts, which are cut
    (`cut`), or NaN and infinite numbers, which become null (`nulled`).
    """
    import pyarrow as pa

    changed = Counter[str]()
    for at, name in enumerate(rows.column_names):
        column = rows[name]
        if pa.types.is_string(column.type):
            column = _texts_as_taken(column, store.longest_text, changed)
        elif pa.types.is_floating(column.type) and store.finite_only:
            column = _finite(column, changed)
        rows = rows.set_column(at, name, column)
    return rows, changed


def _texts_as_taken(column: Any, longest: int | None, changed: Counter[str]) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    if with_nul := pc.sum(pc.match_substring(column, "\0")).as_py():
        changed["nul"] += int(with_nul)
        column = pc.replace_substring(column, "\0", "\ufffd")
    if longest is None or (pc.max(pc.binary_length(column)).as_py() or 0) <= longest:
        return column
    texts = [None if one is None else one.encode() for one in column.to_pylist()]
    changed["cut"] += sum(one is not None and len(one) > longest for one in texts)
    cut = [None if one is None else one[:longest].decode("utf-8", "ignore") for one in texts]
    return pa.array(cut, pa.string())


def _finite(column: Any, changed: Counter[str]) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    finite = pc.is_finite(column)
    changed["nulled"] += int(pc.sum(pc.invert(finite)).as_py() or 0)
    return pc.if_else(finite, column, pa.scalar(None, column.type))
