"""Rules over a dataset: their expressions checked, and the SQL that applies them all to a shard.

Reads a catalog, writes nothing. A rule drops the rows for which its condition is true. Where it is
null (a score that is missing), it drops nothing and the row counts as `unknown` to it: who wants
such rows dropped writes so, `coalesce(punsafe, 1) > .5` or `punsafe is null or punsafe > .5`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from frenchcat.curate import licence
from frenchcat.curate.adopted import without_images
from frenchcat.curate.decisions import BY_HAND
from frenchcat.curate.errors import UnknownColumn, UserError
from frenchcat.curate.expression import checked
from frenchcat.curate.score.builtin import COLUMNS, SCORES
from frenchcat.curate.score.kinds import PictureScore

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
    for name, condition in rules.items():
        try:
            found = catalog.kind_of(condition)
        except UnknownColumn as error:
            said = _with_maker(error, condition, without_images(catalog.dataset))
            raise UserError(f"rule {name}: {said}") from None
        except UserError as error:
            raise UserError(f"rule {name}: {error}") from None
        if found != "BOOLEAN":
            raise UserError(
                f"rule {name}: {condition!r} is a {found.lower()}, not a condition; "
                f"compare it: {condition} > 0.5"
            )


def _with_maker(error: UnknownColumn, condition: str, blind: bool) -> str:
    """The message; for a column that a score makes, with what to run in place of a near name.

    A `blind` dataset was adopted without images, so a score of images cannot be run.
    """
    if error.column == licence.COLUMN:
        return f"{error}; neither the list nor the ledger of rights states a licence"
    for score, columns in COLUMNS.items():
        if error.column in columns:
            missing = f"no column {error.column!r} in {condition!r}"
            if blind and isinstance(SCORES[score], PictureScore):
                return f"{missing}; the dataset was adopted without images, so leave the rule out"
            return f"{missing}; run frenchcat score, with {score!r} in score.scores"
    return str(error)


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
