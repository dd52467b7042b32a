"""Conditions for Milvus: what is translated has DuckDB's answer; what is not is refused.

DuckDB itself runs the translation here; Milvus Lite does in test_milvus.py.
"""

import json
import re

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from frenchcat.curate.errors import BadCondition
from frenchcat.curate.vector_stores.milvus_condition import MilvusCondition
from tests.curate.vector_stores.test_condition import COLUMNS, REFUSED, TABLE

TRANSLATED = (
    *("a > 1", "a <> 1", "A = 0", "a = 0 OR b = 4 AND ok", "(a = 0 OR b = 4) AND ok", "5 < a"),
    *("NOT (a > 1)", "NOT ok", "ok", "ok = false", "ok <> true", "a IS NULL", "x IS NOT NULL"),
    *("a IN (1, 512)", "a NOT IN (1, 512)", "x BETWEEN 0 AND 1", "x NOT BETWEEN 0 AND 1"),
    *("a < 1.5", "a >= 1.5", "NOT (a > .5)", "a = 1.5", "a <> 1.5", "NOT a = 0.5", "x > .29"),
    *("x > 1e299", "f = 0.3", "f > 0.1", "f IN (0.1, 1.5)", "f BETWEEN 0.1 AND 0.3", "f >= 0"),
    *("t = 'Cat'", "t < 'a'", "t > 'cat'", "t LIKE '%at%'", "t NOT LIKE '%at%'", "t LIKE 'Ü%'"),
    *("contains(t, 'a')", "starts_with(t, 'C')", "prefix(t, 'ca')", "t = ''", "ends_with(t, 'x')"),
    *("t IN ('', 'Cat')", "t NOT IN ('', 'Cat')", "NOT (a IN (1) OR t LIKE 'C%')", "a = -7"),
    *("t = 'B''q\\z'", "NOT (t IS NULL)", "NOT (t IS NULL OR a > 1)", "true", "a > 0 OR false"),
    *("key > 'b'", "key IS NULL", "key IS NOT NULL AND NOT ok", "NOT contains(t, 'a')"),
)
ALSO_REFUSED = (
    *("A >= b", "f = x", "t <> u", "a / b > 1.5", "b + 1 = 3", "abs(x) > 0.26", "length(t) > 3"),
    *("t LIKE '_a%'", "t LIKE 'B''q\\%'", "t ILIKE 'CAT%'", "contains(t, u)", "suffix(t, '%')"),
    *("(a > 0) = ok", "coalesce(a, 5) = 5", "ok > false", "x > 1e400"),
)
NEVER_NULL = ("id", "key", "shard")
NUMBERED = TABLE.append_column("id", pa.array(range(len(TABLE)), pa.int64())).append_column(
    "key", pa.array(list("abcdef"), pa.string())
)
KINDS = {**COLUMNS, "key": "VARCHAR"}
PUBLISHED = NUMBERED
for _name in ("x", "f"):
    _column = NUMBERED[_name]
    _finite = pc.if_else(pc.is_finite(_column), _column, pa.scalar(None, _column.type))
    PUBLISHED = PUBLISHED.set_column(PUBLISHED.column_names.index(_name), _name, _finite)
"""Numbers that are not finite are published as null."""


def rows(where: str) -> list[int]:
    """The rows that DuckDB finds."""
    with duckdb.connect() as duck:
        duck.register("r", PUBLISHED)
        return [
            row[0] for row in duck.sql(f"SELECT id FROM r WHERE {where} ORDER BY id").fetchall()
        ]


def in_sql(milvus: str) -> str:
    """Milvus's filter as SQL: only texts are written otherwise."""
    quoted = re.sub(
        r'"(?:[^"\\]|\\.)*"',
        lambda found: "'" + json.loads(found[0]).replace("'", "''") + "'",
        milvus,
    )
    return quoted.replace("[", "(").replace("]", ")")


@pytest.mark.parametrize("where", TRANSLATED)
def test_a_translation_has_the_condition_s_rows(where: str) -> None:
    assert rows(in_sql(MilvusCondition(where, KINDS, NEVER_NULL).text)) == rows(where)


@pytest.mark.parametrize("where", [*REFUSED, *ALSO_REFUSED])
def test_what_might_have_another_answer_is_refused_in_one_line(where: str) -> None:
    with pytest.raises(BadCondition) as refused:
        MilvusCondition(where, KINDS, NEVER_NULL)
    assert "\n" not in str(refused.value)
    assert repr(where) in str(refused.value)
