"""Conditions for PostgreSQL: what is translated has DuckDB's answer; what is not is refused.

DuckDB itself runs the translation here; PostgreSQL does in test_postgresql.py.
"""

import math

import duckdb
import pyarrow as pa
import pytest

from frenchcat.curate.errors import BadCondition, UnknownColumn
from frenchcat.curate.vector_stores.postgres_condition import PostgresCondition

NAN, INF = math.nan, math.inf
TABLE = pa.table(
    {
        "a": pa.array([0, 1, -7, None, 512, 2**62], pa.int64()),
        "b": pa.array([0, 2, 3, 4, None, -1], pa.int64()),
        "x": pa.array([0.3, NAN, -INF, None, 0.25, 1e300], pa.float64()),
        "f": pa.array([0.3, 0.1, NAN, None, -0.0, 1.5], pa.float32()),
        "t": pa.array(["Cat", "cat 100%", None, "", "Ümlaut_x", "B'q\\z"], pa.string()),
        "u": pa.array(["cat", "t", "x", None, "Ü", "b"], pa.string()),
        "ok": pa.array([True, False, None, True, False, True], pa.bool_()),
        'odd "name%': pa.array([1, 2, 3, 4, 5, 6], pa.int64()),
    }
)
COLUMNS = {
    **{"a": "BIGINT", "b": "INTEGER", "x": "DOUBLE", "f": "FLOAT", "t": "VARCHAR", "u": "VARCHAR"},
    **{"ok": "BOOLEAN", 'odd "name%': "BIGINT"},
}
TRANSLATED = (
    *("a > 1", "a <> 1", "A >= b", "a = 0 OR b = 4 AND ok", "(a = 0 OR b = 4) AND ok"),
    *("NOT (a > 1)", "NOT ok", "ok", "ok = false", "a IS NULL", "x IS NOT NULL", "a IN (1, 512)"),
    *("a NOT IN (1, 512)", "x BETWEEN 0 AND 1", "x NOT BETWEEN 0 AND 1", "a < 1.5", "x > .29"),
    *("x > 1e299", "f = 0.3", "f > 0.1", "f IN (0.1, 1.5)", "f BETWEEN 0.1 AND 0.3", "f = x"),
    *("f < x", "x >= x", "x > 5", "f >= 0", "a / b > 1.5", "a / b < 0", "b / a >= 0", "b + 1 = 3"),
    *("b - 2 * 3 = -3", "-b = -2", "b % 2 = 1", "a % -4 = -3", "x * 2 > 0.5", "x - 1 < 0"),
    *("abs(b - 3) <= 1", "abs(x) > 0.26", "coalesce(a, 5) = 5", "coalesce(t, 'none') = 'none'"),
    *("t = 'Cat'", "t < 'a'", "t > 'cat'", "t <> u", "t LIKE '%at%'", "t NOT LIKE '_a%'"),
    *("t LIKE '%100%'", "t LIKE 'B''q\\%'", "t ILIKE 'CAT%'", "t NOT ILIKE '%X'", "t LIKE 'Ü%'"),
    *("contains(t, 'a')", "contains(t, u)", "starts_with(t, 'C')", "prefix(t, u)", "t = ''"),
    *("ends_with(t, 'x')", "suffix(t, '%')", "length(t) > 3", "len(t) = 8", "t IN ('', 'Cat')"),
    *('"odd ""name%" = 3', "(a > 0) = ok", "NOT (a IN (1) OR t LIKE 'C%')", "a = -7"),
)
REFUSED = (
    *("regexp_matches(t, 'a')", "lower(t) = 'cat'", "t ILIKE 'ü%'", "a::VARCHAR = '1'", "t = 1"),
    *("a = 'x'", "a", "t", "CASE WHEN ok THEN 1 ELSE 2 END = 1", "f * 2 > 1", "a % b = 1"),
    *("a % 0 = 1", "x % 2 = 1", "a IN (b, 1)", "t LIKE u", "a IS DISTINCT FROM 1", "round(x) = 1"),
    *("a = 99999999999999999999", "t LIKE 'a$%' ESCAPE '$'", "a = NULL", "ok = 1", "a AND ok"),
    *("f = 0.3 OR sqrt(x) > 1", "concat(t, u) = 'x'", "coalesce(a, x) > 1"),
)


def keys(where: str) -> list[int]:
    """The rows that DuckDB finds."""
    with duckdb.connect() as duck:
        duck.register("r", TABLE.append_column("n", pa.array(range(len(TABLE)))))
        return [row[0] for row in duck.sql(f"SELECT n FROM r WHERE {where} ORDER BY n").fetchall()]


@pytest.mark.parametrize("where", TRANSLATED)
def test_a_translation_has_the_condition_s_rows(where: str) -> None:
    assert keys(PostgresCondition(where, COLUMNS, "r").text) == keys(where)


@pytest.mark.parametrize("where", REFUSED)
def test_what_might_have_another_answer_is_refused_in_one_line(where: str) -> None:
    with pytest.raises(BadCondition) as refused:
        PostgresCondition(where, COLUMNS, "r")
    assert "\n" not in str(refused.value)
    assert where in str(refused.value)


def test_an_unknown_column_is_named_with_a_near_one() -> None:
    with pytest.raises(UnknownColumn, match="no column 'odd'"):
        PostgresCondition("odd = 1", COLUMNS, "r")
    with pytest.raises(UnknownColumn, match="did you mean width"):
        PostgresCondition("widht = 1", {"width": "BIGINT"}, "r")
