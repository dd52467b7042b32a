"""One type for a column of several, whatever their order; values are told by what Python says."""

import datetime
import json
from decimal import Decimal
from itertools import product
from typing import Any

import pyarrow as pa
import pytest

from frenchcat.curate.promote import as_schema, promoted, unified

KINDS = [
    *(pa.null(), pa.bool_(), pa.int8(), pa.int64(), pa.uint8(), pa.uint64(), pa.float32()),
    *(pa.float64(), pa.decimal128(10, 2), pa.decimal128(38, 30), pa.string(), pa.binary()),
    *(pa.date32(), pa.timestamp("us"), pa.timestamp("ns"), pa.timestamp("us", "Europe/Paris")),
    *(pa.timestamp("ns", "UTC"), pa.timestamp("s", "UTC")),
    *(pa.time64("us"), pa.list_(pa.int64()), pa.list_(pa.string()), pa.large_string()),
    *(pa.dictionary(pa.int32(), pa.string()), pa.map_(pa.string(), pa.int64())),
]


def test_the_order_in_which_files_are_read_does_not_matter() -> None:
    for one, other, third in product(KINDS, repeat=3):
        both = promoted(one, other)
        if not one.equals(other):
            assert both.equals(promoted(other, one))
        first, last = promoted(both, third), promoted(one, promoted(other, third))
        assert promoted(first, pa.null()).equals(promoted(last, pa.null()))


def test_fields_of_structs_come_together() -> None:
    one, other = pa.struct({"a": pa.int8(), "b": pa.string()}), pa.struct({"A": pa.string()})
    assert promoted(one, other).equals(pa.struct({"a": pa.string(), "b": pa.string()}))
    assert unified([pa.schema({"X": pa.int8()}), pa.schema({"x": pa.float32()})]).equals(
        pa.schema({"X": pa.float64()})
    )


@pytest.mark.parametrize(
    ("column", "beside", "found"),
    [
        (pa.array([2**60]), pa.string(), str(2**60)),
        (pa.array([True]), pa.int64(), "true"),
        (pa.array([0.1]), pa.string(), "0.1"),
        (pa.array([2**63 + 1], pa.uint64()), pa.int64(), Decimal(2**63 + 1)),
        (pa.array([Decimal("1.25")]), pa.int64(), Decimal("1.25")),
        (pa.array([b"\xff\x00"]), pa.string(), "ff00"),
        (pa.array([datetime.date(2020, 1, 2)]), pa.timestamp("us"), datetime.datetime(2020, 1, 2)),
        (
            pa.array([datetime.datetime(2020, 1, 2, 3)], pa.timestamp("us", "Europe/Paris")),
            pa.string(),
            "2020-01-02 03:00:00+00",
        ),
        (pa.array([[1, None]]), pa.list_(pa.string()), ["1", None]),
        (
            pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
            pa.map_(pa.string(), pa.float64()),
            [("k", 1.0)],
        ),
        (pa.array(["x"]).dictionary_encode(), pa.binary(), "x"),
        (pa.array([5], pa.duration("ms")), pa.string(), "5"),
        (pa.array([5], pa.duration("ms")), pa.int8(), 5),
        (pa.array([[5]], pa.list_(pa.duration("s"))), pa.list_(pa.float64()), [5.0]),
        (pa.array([1.5], pa.float16()), pa.string(), "1.5"),
        (pa.array([Decimal("1.5")], pa.decimal256(40, 1)), pa.int64(), 1.5),
    ],
)
def test_a_value_stays_what_it_is(column: pa.Array, beside: pa.DataType, found: Any) -> None:
    schema = pa.schema({"c": promoted(column.type, beside)})
    assert as_schema(pa.table({"c": column}), schema)["c"].to_pylist() == [found]


@pytest.mark.parametrize("value", [{"a": {"b": [None, "x\"'"]}}, [{"a": 1.5}]])
def test_nested_values_are_json_in_a_column_of_text(value: Any) -> None:
    made = as_schema(pa.table({"c": pa.array([value, None])}), pa.schema({"c": pa.string()}))
    first, second = made["c"].to_pylist()
    assert (json.loads(first), second) == (value, None)


def test_a_column_that_a_table_lacks_is_null_and_case_tells_nothing_apart() -> None:
    schema = pa.schema({"Seed": pa.int64(), "more": pa.list_(pa.int8())})
    made = as_schema(pa.table({"sEED": pa.array([1, 2], pa.int8())}), schema)
    assert made.to_pylist() == [{"Seed": 1, "more": None}, {"Seed": 2, "more": None}]
