"""The collections of a publication in Milvus: their fields, and the indexes of their vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pymilvus import DataType, MilvusClient

from frenchcat.curate.vector_stores.milvus_connection import ANSWER_SEC, STRONG, MilvusConnection
from frenchcat.curate.vector_stores.store import VECTORS

MOST_TEXT_BYTES = 65_535
"""Milvus's limit of a text."""
REQUIRED = ("id", "key", "shard", "frenchcat_unsafe", "frenchcat_dropped", "frenchcat_stays")
"""Fields of a row that are never null."""
_HNSW = {"M": 16, "efConstruction": 200}
_TYPES = {
    "BOOLEAN": DataType.BOOL,
    "FLOAT": DataType.FLOAT,
    "DOUBLE": DataType.DOUBLE,
    "VARCHAR": DataType.VARCHAR,
}

Fields = dict[str, tuple[DataType, int]]
"""Name -> type and dimension of a collection's fields."""


def _type_of(duckdb: str) -> DataType:
    return _TYPES.get(duckdb, DataType.INT64)


def fields_for(columns: Mapping[str, str], dimension: int) -> Fields:
    """The fields of rows with these columns (name -> DuckDB type)."""
    scalars = {name: (_type_of(kind), 0) for name, kind in columns.items()}
    vectors = dict.fromkeys(VECTORS.values(), (DataType.FLOAT_VECTOR, dimension))
    return {**scalars, **vectors}


def fields_of(connection: MilvusConnection, name: str) -> Fields:
    """The fields of a collection; none where it is not there."""
    if not connection.has(name):
        return {}
    with connection.asked() as client:
        about = client.describe_collection(name, timeout=ANSWER_SEC)
    return {
        field["name"]: (DataType(field["type"]), int(field.get("params", {}).get("dim", 0)))
        for field in about["fields"]
    }


def make_rows_collection(
    connection: MilvusConnection, name: str, columns: Mapping[str, str], dimension: int
) -> None:
    """Make the collection of a dataset's rows."""
    with connection.asked() as client:
        schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
        for column, kind in columns.items():
            how: dict[str, Any] = {"is_primary": True} if column == "id" else {}
            if column not in REQUIRED:
                how["nullable"] = True
            if (made := _type_of(kind)) == DataType.VARCHAR:
                how["max_length"] = MOST_TEXT_BYTES
            schema.add_field(column, made, **how)
        for vectors in VECTORS.values():
            schema.add_field(vectors, DataType.FLOAT_VECTOR, dim=dimension)
        index = client.prepare_index_params()
        for vectors in VECTORS.values():
            index.add_index(vectors, index_type="FLAT", metric_type="IP")
        _create(client, name, schema, index)


def make_values_collection(
    connection: MilvusConnection, name: str, primary: str, kind: DataType
) -> None:
    """Make a collection of names (or numbers) and values; Milvus wants a vector in each."""
    with connection.asked() as client:
        schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
        how = {"max_length": 255} if kind == DataType.VARCHAR else {}
        schema.add_field(primary, kind, is_primary=True, **how)
        schema.add_field("value", DataType.VARCHAR, max_length=MOST_TEXT_BYTES)
        schema.add_field("nothing", DataType.FLOAT_VECTOR, dim=2)
        index = client.prepare_index_params()
        index.add_index("nothing", index_type="FLAT", metric_type="IP")
        _create(client, name, schema, index)


def make_hnsw_index(connection: MilvusConnection, name: str) -> None:
    """Replace the indexes of a dataset's rows by HNSW; returns when the rows can be searched."""
    with connection.asked() as client:
        client.release_collection(name, timeout=ANSWER_SEC)
        index = client.prepare_index_params()
        for vectors in VECTORS.values():
            for old in client.list_indexes(name, field_name=vectors):
                client.drop_index(name, old, timeout=ANSWER_SEC)
            index.add_index(vectors, index_type="HNSW", metric_type="IP", params=_HNSW)
        client.create_index(name, index)  # as long as it takes
        client.load_collection(name)


def _create(client: MilvusClient, name: str, schema: Any, index: Any) -> None:
    client.create_collection(
        name, schema=schema, index_params=index, consistency_level=STRONG, timeout=ANSWER_SEC
    )
