"""Tables of files whose columns differ, with one schema: the rule is the dataset's (promote.py).

Reads and writes nothing. Bytes that become text are read as UTF-8 here, as captions are, where
shards of a dataset have hex digits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from frenchcat.curate import promote
from frenchcat.curate.adopt.left_out import LeftOut
from frenchcat.curate.adopt.texts import REPLACED, text_of
from frenchcat.curate.download import column_names
from frenchcat.curate.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa


def distinct(schema: pa.Schema) -> pa.Schema:
    """The schema with names of which none is empty and no two differ in case alone."""
    import pyarrow as pa

    return pa.schema(list(zip(column_names.unique(schema.names), schema.types, strict=True)))


def sound(table: pa.Table, left_out: LeftOut, where: str) -> pa.Table:
    """The table with the names of `distinct`, and every text in UTF-8.

    Some writers let other bytes pass as text; these become U+FFFD, and such values are counted.
    """
    import pyarrow as pa

    columns = []
    for column in table.columns:
        kind = promote.plain(column.type)
        if (loose := _as_bytes(kind)) != kind and not _is_valid(column):
            if pa.types.is_dictionary(column.type):
                column = pa.chunked_array([part.dictionary_decode() for part in column.chunks])
            values = [_told(value, kind) for value in column.cast(loose).to_pylist()]
            column = pa.chunked_array([pa.array(values, kind)])
            left_out.add(REPLACED, where, sum(map(_is_odd, values)))
        columns.append(column)
    return pa.table(columns, names=column_names.unique(table.column_names))


def _is_valid(column: pa.ChunkedArray) -> bool:
    import pyarrow as pa

    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _as_bytes(kind: pa.DataType) -> pa.DataType:
    """A type with bytes where it has text, inside lists and structs, too."""
    import pyarrow as pa

    if pa.types.is_string(kind):
        return pa.binary()
    if pa.types.is_list(kind):
        return pa.list_(_as_bytes(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _as_bytes(field.type)) for field in kind])
    return kind


def _told(value: Any, kind: pa.DataType) -> Any:
    """A value of `_as_bytes(kind)` as one of `kind`."""
    import pyarrow as pa

    if isinstance(value, list):
        return [_told(one, kind.value_type) for one in value]
    if isinstance(value, dict):
        return {field.name: _told(value[field.name], field.type) for field in kind}
    return text_of(value) if pa.types.is_string(kind) else value


def _is_odd(value: Any) -> bool:
    if isinstance(value, list | dict):
        return any(map(_is_odd, value.values() if isinstance(value, dict) else value))
    return isinstance(value, str) and "\ufffd" in value


def spelt(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with the schema's spelling of each name."""
    spelling = {promote.folded(name): name for name in schema.names}
    return table.rename_columns([spelling[promote.folded(name)] for name in table.column_names])


def with_text(schema: pa.Schema, *names: str | None) -> pa.Schema:
    """The schema with these columns as text."""
    import pyarrow as pa

    kinds = [pa.string() if field.name in names else field.type for field in schema]
    return pa.schema(list(zip(schema.names, kinds, strict=True)))


LOST = "numbers that lose digits, since another file has fractions in their column"


def cast(table: pa.Table, schema: pa.Schema, left_out: LeftOut, where: str) -> pa.Table:
    """The table with the columns and types of a schema that `promote.unified` gave.

    What numbers lose by that is counted.
    """
    import pyarrow as pa

    wanted = {promote.folded(field.name): field.type for field in schema}
    for name in table.column_names:
        if (kind := wanted.get(promote.folded(name))) is not None:
            if (late := promote.beyond_nanoseconds(table[name], kind)) is not None:
                raise UserError(
                    f"{where}: {late} in the column {name!r} does not fit the nanoseconds that "
                    "other files have there; export it in microseconds"
                )
            lost = promote.digits_lost(table[name], kind)
            left_out.add(LOST, f"{name} of {where}", lost)

    texts = {promote.folded(field.name) for field in schema if pa.types.is_string(field.type)}
    for at, field in enumerate(table.schema):
        if promote.folded(field.name) in texts and pa.types.is_binary(promote.plain(field.type)):
            decoded = pa.array([text_of(value) for value in table[at].to_pylist()], pa.string())
            table = table.set_column(at, field.name, decoded)
    return promote.as_schema(table, schema)
