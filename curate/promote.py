"""One type for a column whose files differ in it, and the SQL that brings values to that type.

Reads and writes nothing. Files, shards and additions of a list may disagree about a column: a csv
grows and its numbers become words, a first shard holds only nulls. The rule (docs/on-disk.md)::

    null, X                the type X
    integers               the narrowest integer that holds both; DECIMAL where none does
    integer, float         double; of two floats the wider
    decimal, number        a decimal that holds both; double beyond 38 digits and beside a float
    date, timestamp        timestamp, with the finer unit of two; both or none have a zone
    list, list             a list of what their values become; maps likewise
    struct, struct         the fields of both, each of what it becomes; a missing one is null
    anything else          text: as DuckDB writes the value, bytes as hex, nested values as JSON

It is associative and has no regard to order, so it does not matter which file is read first, nor
whether a shard was written before or after the others. An integer beyond 2^53 loses digits where it
becomes a double. Names are compared without case, as SQL does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from functools import cache
from string import ascii_uppercase
from typing import TYPE_CHECKING

from frenchcat.curate.errors import UserError, first_line
from frenchcat.curate.sql_text import literal, quoted

if TYPE_CHECKING:
    import pyarrow as pa

_UNITS = ("s", "ms", "us", "ns")
NANOSECONDS = (datetime(1677, 9, 22), datetime(2262, 4, 11))
"""The days that a timestamp in nanoseconds holds whole."""
_MOST_DIGITS = 38  # of DuckDB's and of Arrow's decimal128
_INTEGERS = {
    "int8": "TINYINT",
    "int16": "SMALLINT",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "uint8": "UTINYINT",
    "uint16": "USMALLINT",
    "uint32": "UINTEGER",
    "uint64": "UBIGINT",
}
_PLAIN = {
    **_INTEGERS,
    "null": "VARCHAR",  # a column of nulls alone
    "bool": "BOOLEAN",
    "float": "FLOAT",
    "double": "DOUBLE",
    "string": "VARCHAR",
    "binary": "BLOB",
    "date32[day]": "DATE",
    "time64[us]": "TIME",
    "time64[ns]": "TIME_NS",
    "month_day_nano_interval": "INTERVAL",
}
_LOWER = {ord(letter): letter.lower() for letter in ascii_uppercase}
_TIMESTAMPS = {
    "s": "TIMESTAMP_S",
    "ms": "TIMESTAMP_MS",
    "us": "TIMESTAMP",
    "ns": "TIMESTAMP_NS",
}


def folded(name: str) -> str:
    """A name as SQL compares it: without the case of A to Z."""
    return name.translate(_LOWER)


# -- the rule ------------------------------------------------------------------------------------


def plain(kind: pa.DataType) -> pa.DataType:
    """A type as DuckDB knows it: without dictionaries, large or fixed-size variants."""
    import pyarrow as pa

    types = pa.types
    if types.is_dictionary(kind):
        return plain(kind.value_type)
    if types.is_large_string(kind) or types.is_string_view(kind):
        return pa.string()
    if isinstance(kind, pa.BaseExtensionType):
        return pa.string() if str(kind) == "extension<arrow.uuid>" else plain(kind.storage_type)
    binaries = (types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary)
    if any(test(kind) for test in binaries):
        return pa.binary()
    if types.is_float16(kind):
        return pa.float32()
    if types.is_decimal256(kind):
        return pa.float64()
    if types.is_date64(kind):
        return pa.date32()
    if types.is_time32(kind):
        return pa.time64("us")
    if types.is_duration(kind):
        return pa.int64()
    if types.is_timestamp(kind) and kind.tz is not None:
        return pa.timestamp("ns" if kind.unit == "ns" else "us", "UTC")
    if _is_list(kind):
        return pa.list_(plain(kind.value_type))
    if types.is_map(kind):
        return pa.map_(plain(kind.key_type), plain(kind.item_type))
    if types.is_struct(kind):
        return pa.struct([(field.name, plain(field.type)) for field in kind])
    return kind


def promoted(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """The type of a column that has one type in one file and another in another."""
    return one if one.equals(other) else _promoted(plain(one), plain(other))


def unified(schemas: Iterable[pa.Schema]) -> pa.Schema:
    """The columns of all schemas in order of appearance; of two spellings the first."""
    import pyarrow as pa

    found: dict[str, tuple[str, pa.DataType]] = {}
    for schema in schemas:
        for field in schema:
            name, kind = found.get(folded(field.name), (field.name, field.type))
            found[folded(field.name)] = (name, promoted(kind, field.type))
    return pa.schema(list(found.values()))


def digits_lost(values: pa.ChunkedArray, wanted: pa.DataType) -> int:
    """How many numbers are others as the type that `promoted` gave for them; lists' items, too."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = plain(values.type)
    if _is_list(kind) and _is_list(wanted):
        return digits_lost(pc.list_flatten(values), wanted.value_type)
    if not pa.types.is_floating(wanted) or pa.types.is_floating(kind) or not _is_number(kind):
        return 0
    return sum(
        one["counts"]
        for one in pc.value_counts(values).to_pylist()
        if (value := one["values"]) is not None and _exactly(float(value)) != value
    )


def beyond_nanoseconds(values: pa.ChunkedArray, wanted: pa.DataType) -> str | None:
    """A date or time among the values that does not fit `wanted` if that is in nanoseconds."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = plain(values.type)
    if not pa.types.is_timestamp(wanted) or wanted.unit != "ns" or kind.equals(wanted):
        return None
    if not (pa.types.is_date32(kind) or pa.types.is_timestamp(kind)):
        return None
    zone = kind.tz if pa.types.is_timestamp(kind) else None
    seconds = pa.timestamp("s")  # as whole numbers, since Python ends with the year 9999
    first, last = (pa.scalar(day, seconds).cast(pa.int64()).as_py() for day in NANOSECONDS)
    ends = pc.min_max(values.cast(pa.timestamp("s", zone), safe=False).cast(pa.int64()))
    found = [end.as_py() for end in (ends["min"], ends["max"]) if end.is_valid]
    beyond = [end for end in found if not first <= end <= last]
    return str(pa.scalar(beyond[0], seconds).cast(pa.string())) if beyond else None


def _exactly(value: float) -> Decimal:
    """The shortest decimal that a float is written as; of a large one all its digits."""
    return Decimal(int(value)) if abs(value) >= 2**53 else Decimal(repr(value))


def _promoted(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    types = pa.types
    if one.equals(other) or types.is_null(other):
        return one
    if types.is_null(one):
        return other
    if _is_number(one) and _is_number(other):
        return _number(one, other)
    if _is_list(one) and _is_list(other):
        return pa.list_(_promoted(one.value_type, other.value_type))
    if types.is_map(one) and types.is_map(other):
        keys = _promoted(one.key_type, other.key_type)
        return pa.map_(keys, _promoted(one.item_type, other.item_type))
    if types.is_struct(one) and types.is_struct(other):
        return pa.struct(unified([pa.schema(list(one)), pa.schema(list(other))]))
    return _time(one, other) or pa.string()


def _number(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    types = pa.types
    if types.is_floating(one) or types.is_floating(other):
        # A float32 holds no whole int32, so beside an integer only the wider does.
        return pa.float64()
    if types.is_integer(one) and types.is_integer(other):
        return _integer(one, other)
    whole, scale = (max(pair) for pair in zip(_digits(one), _digits(other), strict=True))
    return pa.decimal128(whole + scale, scale) if whole + scale <= _MOST_DIGITS else pa.float64()


def _integer(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    signed = [kind for kind in (one, other) if pa.types.is_signed_integer(kind)]
    unsigned = [kind for kind in (one, other) if kind not in signed]
    if len(signed) != 1:
        return max(one, other, key=lambda kind: kind.bit_width)
    width = max(signed[0].bit_width, 2 * unsigned[0].bit_width)
    if width > 64:
        return pa.decimal128(20, 0)
    return {16: pa.int16(), 32: pa.int32(), 64: pa.int64()}[width]


def _digits(kind: pa.DataType) -> tuple[int, int]:
    """Digits before and behind the point."""
    import pyarrow as pa

    if pa.types.is_decimal(kind):
        return kind.precision - kind.scale, kind.scale
    return 20, 0  # whatever its width: the rule is associative


def _time(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """A timestamp for dates and timestamps that both have a zone, or both have none."""
    import pyarrow as pa

    types = pa.types
    if not all(types.is_date32(kind) or types.is_timestamp(kind) for kind in (one, other)):
        return None
    stamps = [kind for kind in (one, other) if types.is_timestamp(kind)]
    zones = {kind.tz for kind in stamps} | ({None} if len(stamps) < 2 else set())
    if len(zones) > 1:
        return None
    return pa.timestamp(max((kind.unit for kind in stamps), key=_UNITS.index), zones.pop())


def _is_number(kind: pa.DataType) -> bool:
    import pyarrow as pa

    types = pa.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))


def _is_list(kind: pa.DataType) -> bool:
    import pyarrow as pa

    types = pa.types
    tests = (types.is_list, types.is_large_list, types.is_fixed_size_list, types.is_list_view)
    return any(test(kind) for test in (*tests, types.is_large_list_view))


def _is_nested(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(_is_list(kind) or pa.types.is_map(kind) or pa.types.is_struct(kind))


# -- SQL -----------------------------------------------------------------------------------------


def sql_type(kind: pa.DataType) -> str:
    """DuckDB's name of a type."""
    import pyarrow as pa

    types, kind = pa.types, plain(kind)
    if _is_list(kind):
        return f"{sql_type(kind.value_type)}[]"
    if types.is_map(kind):
        return f"MAP({sql_type(kind.key_type)}, {sql_type(kind.item_type)})"
    if types.is_struct(kind):
        fields = ", ".join(f"{quoted(field.name)} {sql_type(field.type)}" for field in kind)
        return f"STRUCT({fields})"
    if types.is_decimal(kind):
        return f"DECIMAL({kind.precision}, {kind.scale})"
    if types.is_timestamp(kind):
        zone = "TIMESTAMPTZ_NS" if kind.unit == "ns" else "TIMESTAMPTZ"
        return zone if kind.tz is not None else _TIMESTAMPS[kind.unit]
    return _PLAIN.get(str(kind), "VARCHAR")


@cache
def arrow_type(name: str) -> pa.DataType:
    """The Arrow type of what DuckDB calls by this name; text for what Arrow lacks."""
    import duckdb
    import pyarrow as pa

    with duckdb.connect() as duck:
        duck.execute("SET TimeZone = 'UTC'")
        try:
            return duck.sql(f"SELECT NULL::{name} AS c").to_arrow_table().schema.field("c").type
        except duckdb.Error:
            return pa.string()


def selected(there: Mapping[str, tuple[str, pa.DataType]], wanted: pa.Schema) -> str:
    """The SELECT list that gives the columns `wanted`.

    `there` has, by the folded name of each column that a relation has, its name in that relation
    and its type; what it lacks is null.
    """
    found = []
    for field in wanted:
        if (own := there.get(folded(field.name))) is not None:
            value = as_type(quoted(own[0]), own[1], field.type)
        else:
            value = f"NULL::{sql_type(field.type)}"
        found.append(f"{value} AS {quoted(field.name)}")
    return ", ".join(found)


def as_type(value: str, kind: pa.DataType, wanted: pa.DataType, depth: int = 0) -> str:
    """SQL: a value of one type as another that `promoted` gave for it."""
    import pyarrow as pa

    if kind.equals(wanted):
        return value
    types, kind, wanted = pa.types, plain(kind), plain(wanted)
    if kind.equals(wanted):
        return value
    if types.is_null(kind):
        return f"NULL::{sql_type(wanted)}"
    if types.is_string(wanted):
        return _as_text(value, kind)
    one, key = f"one_{depth}", depth + 1
    if _is_list(wanted):
        item = as_type(one, kind.value_type, wanted.value_type, key)
        return f"list_transform({value}, lambda {one}: {item})"
    if types.is_map(wanted):
        entry = (
            f"struct_pack(key := {as_type(f'{one}.key', kind.key_type, wanted.key_type, key)}, "
            f"value := {as_type(f'{one}.value', kind.item_type, wanted.item_type, key)})"
        )
        return f"map_from_entries(list_transform(map_entries({value}), lambda {one}: {entry}))"
    if types.is_struct(wanted):
        return _as_struct(value, kind, wanted, depth)
    return f"CAST({value} AS {sql_type(wanted)})"


def _as_text(value: str, kind: pa.DataType) -> str:
    import pyarrow as pa

    if pa.types.is_binary(kind):
        return f"lower(hex({value}))"
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        return f"(({value} AT TIME ZONE 'UTC')::VARCHAR || '+00')"
    return f"to_json({value})::VARCHAR" if _is_nested(kind) else f"{value}::VARCHAR"


def _as_struct(value: str, kind: pa.DataType, wanted: pa.DataType, depth: int) -> str:
    has = {folded(field.name): field for field in kind}
    parts = []
    for field in wanted:
        part = f"NULL::{sql_type(field.type)}"
        if (own := has.get(folded(field.name))) is not None:
            field_of = f"struct_extract({value}, {literal(own.name)})"
            part = as_type(field_of, own.type, field.type, depth + 1)
        parts.append(f"{quoted(field.name)} := {part}")
    return f"CASE WHEN {value} IS NOT NULL THEN struct_pack({', '.join(parts)}) END"


# -- tables --------------------------------------------------------------------------------------


def as_schema(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """A table with the columns of a schema that `unified` gave for it; those it lacks are null."""
    import pyarrow as pa

    columns = {}
    differing = []
    has = {folded(name): name for name in reversed(table.column_names)}
    for field in schema:
        own = has.get(folded(field.name))
        if own is None:
            columns[field.name] = pa.nulls(table.num_rows, field.type)
        elif table.schema.field(own).type.equals(field.type):
            columns[field.name] = table[own]
        else:
            differing.append((own, field))
    if differing:
        columns |= _through_duckdb(table, differing)
    return pa.table([columns[field.name] for field in schema], schema=schema.remove_metadata())


def _readable(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as its plain type if DuckDB takes it for another, or for none."""
    return values.cast(plain(values.type)) if _is_foreign(values.type) else values


def _is_foreign(kind: pa.DataType) -> bool:
    import pyarrow as pa

    types = pa.types
    tests = (types.is_duration, types.is_float16, types.is_decimal256)
    inner = (kind.field(at).type for at in range(kind.num_fields))
    return any(test(kind) for test in tests) or any(map(_is_foreign, inner))


def _through_duckdb(
    table: pa.Table, differing: list[tuple[str, pa.Field]]
) -> dict[str, pa.ChunkedArray]:
    import duckdb
    import pyarrow as pa

    # Renamed, since SQL takes names that differ in case alone for one.
    source = pa.table({f"c{n}": _readable(table[own]) for n, (own, _) in enumerate(differing)})
    values = [
        f"{as_type(f'c{n}', table.schema.field(own).type, field.type)} AS c{n}"
        for n, (own, field) in enumerate(differing)
    ]
    with duckdb.connect() as duck:
        duck.execute("SET TimeZone = 'UTC'")
        duck.register("source", source)
        try:
            made = duck.sql(f"SELECT {', '.join(values)} FROM source").to_arrow_table()
        except duckdb.ConversionException as error:
            names = ", ".join(repr(own) for own, _ in differing)
            raise UserError(
                f"a value of the columns {names} does not fit the type that they have together "
                f"({first_line(error)}); export such a column with one type"
            ) from None
    return {field.name: made[f"c{n}"].cast(field.type) for n, (_, field) in enumerate(differing)}
