"""Safe WHERE expressions: what a user may write where rows are chosen.

Reads a text, gives it back when it is one boolean expression of columns, constants, operators and
the functions named here; refuses everything else (subqueries, files, settings, further
statements) before anything runs. The check is on DuckDB's own parse tree, so that what is checked
is what would run. Trade-off: a list of allowed functions, which a new one must be added to; those
that make long texts of short ones (repeat, lpad, format) are left out, since one could fill the
memory, and so is what gives another answer tomorrow (now, random).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from typing import Any

from frenchcat.curate.errors import BadCondition
from frenchcat.curate.urls import domain_of_host, named_host

FUNCTIONS = frozenset(
    """
    abs acos array_contains array_length asin atan atan2 base64 bin bit_count bit_length
    cardinality ceil ceiling char_length character_length chr coalesce concat concat_ws contains
    cos date_diff date_part date_trunc day degrees edit_dist3 editdist3 element_at ends_with
    epoch even exp extract factorial fdiv floor gcd greatest hamming hash hex hour ifnull
    ilike_escape in_search_path instr isfinite isinf isnan jaccard jaro_similarity
    jaro_winkler_similarity lcase least left len length levenshtein like_escape list_aggregate
    list_any_value list_contains list_element list_extract list_has list_has_all list_has_any
    list_length list_position list_value ln log log10 log2 lower ltrim make_date md5 minute
    mod month not_ilike_escape not_like_escape nullif ord parse_filename pi pow power prefix
    radians regexp_extract regexp_full_match regexp_matches regexp_replace replace
    reverse right round rtrim second sha256 sign signum sin sqrt starts_with strftime
    string_split strip_accents strlen strpos strptime struct_extract substr substring suffix tan
    trim trunc try_strptime ucase unicode upper week weekday year yearweek
    """.split()
)
_KINDS = frozenset(
    "BETWEEN CASE CAST COLUMN_REF COMPARISON CONJUNCTION CONSTANT FUNCTION OPERATOR TYPE".split()
)
CLOCKS = frozenset("current_date current_time current_timestamp localtime localtimestamp".split())
"""Written like columns; where there is no such column, DuckDB takes them for the time."""
_PLACES = ("query_location", "query_location_length")
_IN_NO_DOMAIN = re.compile(r"[/?#@:\[\]]")
_EQUALITIES = frozenset(
    "COMPARE_EQUAL COMPARE_NOTEQUAL COMPARE_DISTINCT_FROM COMPARE_NOT_DISTINCT_FROM COMPARE_IN "
    "COMPARE_NOT_IN".split()
)


@lru_cache(maxsize=256)
def checked(expression: str) -> str:
    """The expression, in brackets, fit to be put after WHERE.

    Raises `BadCondition` for a syntax error, for what is not one expression, for parts that are not
    allowed, naming them, and for a `domain` that is compared with what no domain equals.
    """
    for node in _nodes(_where(expression)):
        kind = node["class"]
        if kind == "LAMBDA" or kind not in _KINDS:
            said = kind.lower().replace("_", " ")
            raise BadCondition(
                f"the expression {expression!r} contains a {said}, which is not allowed"
            )
        if kind == "COLUMN_REF" and node["column_names"][-1].lower() in CLOCKS:
            raise BadCondition(
                f"the current time is not allowed in {expression!r}; write a date instead"
            )
        if kind == "FUNCTION" and not node["is_operator"]:
            _allow(node, expression)
        if node.get("type") in _EQUALITIES:
            _check_domains(node)
    return f"({expression}\n)"


def columns_of(expression: str) -> set[str]:
    """The columns that an expression names. Raises `BadCondition` as `checked` does."""
    checked(expression)
    nodes = _nodes(_where(expression))
    return {node["column_names"][-1] for node in nodes if node["class"] == "COLUMN_REF"}


def tree_of(expression: str) -> Mapping[str, Any]:
    """DuckDB's parse tree of an expression. Raises `BadCondition` as `checked` does."""
    checked(expression)
    tree: Mapping[str, Any] = _where(expression)
    return tree


def _allow(node: dict[str, Any], expression: str) -> None:
    name = node["function_name"].lower()
    if name not in FUNCTIONS or node["schema"] or node["catalog"]:
        import difflib

        near = difflib.get_close_matches(name, FUNCTIONS, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise BadCondition(f"the function {name} is not allowed in {expression!r}{hint}")


def _check_domains(node: dict[str, Any]) -> None:
    """Raise for a text that no `domain` equals: another spelling, a host, a URL."""
    parts = [*node.get("children", ()), *(node[side] for side in ("left", "right") if side in node)]
    if not any(part["class"] == "COLUMN_REF" and _is_domain(part) for part in parts):
        return
    literals = [part.get("literal") or {} for part in parts]
    for text in (str(one["text"]) for one in literals if one.get("kind") == "STRING"):
        try:
            plain = domain_of_host(named_host(text)) if text else text  # of a URL without a host
        except ValueError as error:
            if _IN_NO_DOMAIN.search(text):
                raise BadCondition(str(error)) from None
            plain = text  # an odd host of a list is its own domain
        if text != plain:
            raise BadCondition(
                f"no domain equals {text!r}: a domain is what was registered, in lower case and "
                f"ASCII; write {plain!r}"
            )


def _is_domain(column: dict[str, Any]) -> bool:
    return str(column["column_names"][-1]).lower() == "domain"


def _where(expression: str) -> Any:
    """The parse tree of the expression, once everything around it is as we wrote it."""
    if not expression.strip():
        raise BadCondition("an empty expression; write a condition such as: width >= 256")
    # Alone it must parse, and within brackets, to the same: one that closes our bracket to open
    # another (`a) OR (b`) does not stand alone, one that goes on with GROUP BY or LIMIT does not
    # fit into brackets.
    alone, node, frame = _parsed(expression, expression), _framed(expression), _framed("TRUE")
    where = node.pop("where_clause")
    frame.pop("where_clause")
    same = _bare(alone.pop("where_clause")) == _bare(where) and _bare(alone) == _bare(node)
    if where is None or not same or _bare(node) != _bare(frame):
        raise BadCondition(f"{expression!r} is more than one condition; write one expression")
    return where


def _framed(expression: str) -> dict[str, Any]:
    return _parsed(f"({expression}\n)", expression)


def _quoting(said: str) -> str:
    """A hint, if a syntax error is at a word that is SQL's own: a column may have that name."""
    found = re.search(r'at or near "(\w+)"', said)
    sql = "SELECT 1 FROM duckdb_keywords() WHERE keyword_name = lower(?) AND keyword_category = ?"
    if not found or not _parser().cursor().execute(sql, [found[1], "reserved"]).fetchall():
        return ""
    return f'; a column of that name is written in double quotes: "{found[1]}"'


def _parsed(condition: str, expression: str) -> dict[str, Any]:
    """The parse tree of a query with this condition. Raises `BadCondition` about the expression."""
    import duckdb

    sql = f"SELECT 1 FROM samples WHERE {condition}"
    try:
        (text,) = _parser().cursor().execute("SELECT json_serialize_sql(?)", [sql]).fetchone()
    except duckdb.OutOfMemoryException:  # which says nothing of the condition
        raise
    except (duckdb.Error, UnicodeEncodeError) as error:
        raise BadCondition(
            f"{expression!r} is not a condition: {str(error).splitlines()[0]}"
        ) from None
    tree = json.loads(text)
    if tree["error"]:
        said = tree["error_message"]
        raise BadCondition(f"{expression!r} is not a condition: {said}{_quoting(said)}")
    if len(tree["statements"]) != 1 or "where_clause" not in tree["statements"][0]["node"]:
        raise BadCondition(f"{expression!r} is more than one condition; write one expression")
    node: dict[str, Any] = tree["statements"][0]["node"]
    return node


@cache
def _parser() -> Any:
    import duckdb

    return duckdb.connect()


def _bare(tree: Any) -> Any:
    """The tree without the places in the text."""
    if isinstance(tree, dict):
        return {name: _bare(value) for name, value in tree.items() if name not in _PLACES}
    return [_bare(value) for value in tree] if isinstance(tree, list) else tree


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every expression node of a parse tree."""
    if isinstance(tree, dict):
        if "class" in tree:
            yield tree
        for value in tree.values():
            yield from _nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)
