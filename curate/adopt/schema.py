"""One schema for files whose columns differ in type: the widest type that holds every value.

Reads and writes nothing. Null takes the other file's type, whole numbers become the wider ones,
whole numbers and fractions become double; types that have nothing in common become text, what is
nested as JSON. A column that a file lacks is null there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from frenchcat.curate.adopt.texts import text_of

if TYPE_CHECKING:
    import pyarrow as pa


def unified(schemas: Iterable[pa.Schema]) -> pa.Schema:
    """The schema of all: columns in the order in which they first come."""
    import pyarrow as pa

    found: dict[str, pa.DataType] = {}
    for schema in schemas:
        for field in schema:
            before = found.get(field.name, field.type)
            found[field.name] = before if before == field.type else _wider(before, field.type)
    return pa.schema(list(found.items()))


def _wider(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    kinds = {pa.types.is_integer(one), pa.types.is_integer(other)}
    floats = pa.types.is_floating(one) or pa.types.is_floating(other)
    if floats and kinds == {True, False}:
        return pa.float64()
    try:
        fields = [pa.schema([("value", kind)]) for kind in (one, other)]
        return pa.unify_schemas(fields, promote_options="permissive").field("value").type
    except pa.ArrowException:
        return pa.string()


def cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with the columns and types of a schema that `unified` gave."""
    import pyarrow as pa

    columns = []
    for field in schema:
        if field.name not in table.column_names:
            columns.append(pa.nulls(table.num_rows, field.type))
            continue
        column = table[field.name]
        if column.type == field.type:
            columns.append(column)
        elif pa.types.is_string(field.type):
            columns.append(pa.array([text_of(v) for v in column.to_pylist()], pa.string()))
        else:
            columns.append(column.cast(field.type, safe=False))
    return pa.table(columns, schema=schema)
