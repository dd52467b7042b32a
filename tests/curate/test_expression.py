"""What may stand after WHERE, and what may not."""

import subprocess
import sys

import pytest

from frenchcat.curate.errors import BadCondition, UserError
from frenchcat.curate.expression import checked, columns_of

FINE = [
    "width >= 256",
    "similarity > .25 and punsafe < .1",
    "caption ilike '%cat%' or caption is null",
    "least(original_width, original_height) < 200",
    "list_contains([1, 2], width)",
    "width between 2 and 3 and not (height in (1, 2))",
    "case when width > 2 then true else false end",
    "regexp_matches(url, '^https://') -- a comment",
    "width::double / height < 3",
    "caption = 'it''s; DROP TABLE rows'",
    "caption = ') OR (TRUE'",
    "(width > 1) or (height > 1)",
    "caption glob '*cat*' and caption similar to '.*cat.*'",
    "width in (1, 2, 3) and try(1 / width) > 0",
    " and ".join(["width > 1"] * 1000),
    "domain = 'bbc.co.uk' or domain in ('xn--bcher-kva.de', '127.0.0.1', '::1', '')",
    "domain = 'two words.org'",
    "domain like '%.DE' and list_domain = 'BÜCHER.de'",
]
NOT_FINE = [
    ("", "empty"),
    ("width >", "not a condition"),
    ("width > 1; DROP TABLE rows", "is not a condition|more than one"),
    ("TRUE) UNION SELECT (1", "not a condition|more than one"),
    ("TRUE) GROUP BY (1", "not a condition"),
    ("TRUE) LIMIT (1", "not a condition"),
    ("TRUE) OR (EXISTS (SELECT 1)", "not a condition"),
    ("width > (SELECT 1)", "subquery"),
    ("width in (SELECT 1)", "subquery"),
    ("read_text('/etc/passwd') is null", "read_text is not allowed"),
    ("getenv('HOME') = ''", "getenv is not allowed"),
    ("lowr(caption) = 'x'", "did you mean lower"),
    ("row_number() over () > 1", "window"),
    ("/* width > 1", "not a condition"),
    ("width > $1", "parameter"),
    ("domain = 'bücher.de'", "no domain equals 'bücher.de'.*write 'xn--bcher-kva.de'"),
    ("Samples.Domain not in ('a.org', 'www.BBC.co.uk')", "write 'bbc.co.uk'"),
    ("'https://a.org/' <> domain", "is not a domain; write it like example.org"),
    ("list_filter([1], lambda x: x > 0) = [1]", "lambda|not allowed"),
    ("main.lower('x') = 'x'", "not allowed"),
    ("current_setting('threads') = 1", "not allowed"),
    ("FALSE) OR (TRUE", "not a condition"),
    ("width > 1) OR (height > 1", "not a condition"),
    ("width > 1 GROUP BY width", "not a condition|more than one"),
    ("width > 1 UNION SELECT 1", "not a condition|more than one"),
    ("width > 1 -- \n; DROP TABLE rows", "not a condition|more than one"),
    ("-- nothing", "not a condition"),
    ("/* nothing */", "not a condition"),
    ("PRAGMA database_list", "not a condition"),
    ("ATTACH 'x.db' AS x", "not a condition"),
    ("COPY rows TO 'x'", "not a condition"),
    ("SET threads = 1", "not a condition"),
    ("EXISTS (FROM 'x.csv')", "subquery"),
    ("width = ANY(SELECT 1)", "subquery"),
    ("read_parquet('x.parquet') is null", "read_parquet is not allowed"),
    ("read_csv('x.csv') is null", "read_csv is not allowed"),
    ("read_blob('x') is null", "read_blob is not allowed"),
    ("glob('*') is null", "glob is not allowed"),
    ("\"read_text\"('x') is null", "read_text is not allowed"),
    ("system.main.read_text('x') is null", "read_text is not allowed"),
    ("query('select 1') is null", "query is not allowed"),
    ("getvariable('x') = 1", "getvariable is not allowed"),
    ("nextval('x') = 1", "nextval is not allowed"),
    ("length(repeat('x', 2000000000)) > 1", "repeat is not allowed"),
    ("length(lpad('x', 2000000000, 'y')) > 1", "lpad is not allowed"),
    ("random() > .5", "random is not allowed"),
    ("now() > '2020-01-01'", "now is not allowed"),
    ("current_date > '2020-01-01'", "the current time is not allowed"),
    ("* is null", "star"),
    ("COLUMNS(*) is null", "star"),
    ("#1 = 1", "positional"),
    ("count(*) > 1", "not allowed"),
    ("max(width) > 1", "max is not allowed"),
    ("(" * 3000 + "true" + ")" * 3000, "not a condition"),
    ("not " * 3000 + "true", "not a condition"),
    ("caption = '\udcff'", "not a condition"),
]


@pytest.mark.parametrize("expression", FINE)
def test_conditions_pass_as_they_are(expression: str) -> None:
    assert expression in checked(expression)


@pytest.mark.parametrize(("expression", "said"), NOT_FINE)
def test_everything_else_is_refused_in_words(expression: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        checked(expression)


def test_an_expression_cannot_get_round_what_it_stands_beside() -> None:
    import duckdb

    duck = duckdb.connect()
    duck.execute("CREATE TABLE samples AS SELECT 1 AS width, FALSE AS keep")
    for expression in (*FINE, *(bad for bad, _ in NOT_FINE)):
        try:
            sql = f"SELECT * FROM samples WHERE {checked(expression)} AND keep"
        except UserError:
            continue
        try:
            assert duck.sql(sql).fetchall() == []
        except duckdb.BinderException:  # a column that this table lacks
            continue


def test_the_columns_of_an_expression() -> None:
    assert columns_of("width > 2 and lower(caption) = 'height'") == {"width", "caption"}


def test_a_column_with_the_name_of_an_sql_word_is_told_how_to_be_written() -> None:
    with pytest.raises(BadCondition, match=r'; a column of that name is written .*: "when"$'):
        checked("when > 3")
    assert checked('"when" > 3')
    with pytest.raises(BadCondition, match=r'near "dog"$'):
        checked("caption like 'cat' dog")


def test_a_lack_of_memory_says_nothing_of_the_condition() -> None:
    code = """
import duckdb
connect = duckdb.connect
duckdb.connect = lambda: connect(config={"memory_limit": "100KB"})
from frenchcat.curate.expression import checked
try:
    checked(" OR ".join(f"width = {n}" for n in range(900)))
except duckdb.OutOfMemoryException:
    print("no memory")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "no memory\n", done.stderr
