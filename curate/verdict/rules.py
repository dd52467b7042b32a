"""Rules over a dataset: their expressions checked, and the SQL that applies them all to a shard.

Reads a catalog, writes nothing. A rule drops the rows for which its condition is true. Where it is
null (a score that is missing), it drops nothing and the row counts as `unknown` to it: who wants
such rows dropped writes so, `coalesce(punsafe, 1) > .5` or `punsafe is null or punsafe > .5`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from frenchcat.curate import files, licence
from frenchcat.curate.decisions import BY_HAND
from frenchcat.curate.errors import UnknownColumn, UserError
from frenchcat.curate.expression import checked, columns_of
from frenchcat.curate.makers import how_to_make
from frenchcat.curate.promote import folded

if TYPE_CHECKING:
    from frenchcat.curate.catalog import Catalog


def check_rules(rules: Mapping[str, str]) -> None:
    """Raise `UserError` for a rule that is not a condition; needs no dataset, so do it first."""
    for name, condition in rules.items():
        try:
            checked(condition)
        except UserError as error:
            raise UserError(f"rule {name}: {error}") from None


def check_columns(catalog: Catalog, rules: Mapping[str, str]) -> None:
    """Raise `UserError` for a rule that names a column there is not, or that is no yes or no."""
    unknown: dict[str, UnknownColumn] = {}
    for name, condition in rules.items():
        try:
            found = catalog.kind_of(condition)
        except UnknownColumn as error:
            unknown[name] = error
            continue
        except UserError as error:
            raise UserError(f"rule {name}: {error}") from None
        if found != "BOOLEAN":
            raise UserError(
                f"rule {name}: {condition!r} is a {found.lower()}, not a condition; "
                f"compare it: {condition} > 0.5"
            )
    if unknown:
        first, lacks = next(iter(unknown.items()))
        said = _missing(catalog, lacks, rules[first], [rules[name] for name in unknown])
        raise UserError(f"rule {first}: {said}")


def _missing(
    catalog: Catalog, error: UnknownColumn, condition: str, conditions: Iterable[str]
) -> str:
    """What a rule lacks; if a stage makes it, what to run for all that the `conditions` lack."""
    if error.column == licence.COLUMN:
        return f"{error}; neither the list nor the ledger of rights states a licence"
    missing = f"no column {error.column!r} in {condition!r}"
    if folded(error.column) in files.VERDICTS.columns:
        return f"{missing}; the rules decide about it, so none of them can read it"
    if how_to_make(catalog.dataset, [error.column]) is None:
        return str(error)
    there = {*map(folded, catalog.columns()), *files.VERDICTS.columns}
    lacking = {name for one in conditions for name in columns_of(one) if folded(name) not in there}
    return f"{missing}; {how_to_make(catalog.dataset, lacking)}"


def verdict_sql(shard_sql: str, rules: Mapping[str, str]) -> str:
    """SQL: a shard's rows in key order: key, `reason`, and `rule_0`… as each rule says.

    The tables `removed` (key), `failed` (key, reason) and `decided` (key, keep) must be there: what
    a removal request names and what has no vector comes before all rules, and no rule is asked of
    it; then what somebody has decided by hand, of which rules are counted as of the others.
    """
    said = "".join(f", {checked(sql)} AS rule_{n}" for n, sql in enumerate(rules.values()))
    cases = "".join(f" WHEN rule_{n} THEN '{name}'" for n, name in enumerate(rules))
    by_hand = f" WHEN decided.keep THEN NULL WHEN NOT decided.keep THEN '{BY_HAND}'"
    first = f"CASE{by_hand}{cases} END"
    return (
        "SELECT judged.*, coalesce(removed.reason, failed.reason) AS before, "
        f"coalesce(before, {first})::VARCHAR AS reason "
        f"FROM (SELECT key{said} FROM ({shard_sql})) judged "
        "LEFT JOIN removed USING (key) LEFT JOIN failed USING (key) "
        "LEFT JOIN decided USING (key) ORDER BY key"
    )


def counts_sql(rules: Mapping[str, str]) -> str:
    """SQL over `verdict_sql`'s result: one row of counts named as markers name them."""
    counts = ['count(*) AS "rows"', 'count(*) FILTER (reason IS NULL) AS "kept"']
    for n, name in enumerate(rules):
        for count, condition in (
            ("dropped", f"reason = '{name}'"),
            ("alone", f"before IS NULL AND rule_{n}"),
            ("unknown", f"before IS NULL AND rule_{n} IS NULL"),
        ):
            counts.append(f'count(*) FILTER ({condition}) AS "{count}.{name}"')
    return f"SELECT {', '.join(counts)} FROM verdict"
