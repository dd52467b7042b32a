"""Two builds compared: which rows came, which went, which changed, and in what.

Reads the catalogs of two datasets, writes nothing. Rows are told by `uid`, which survives another
crawl; the same pair listed twice has one uid, and its rows are compared in key order. What only
says where a row lies (key, shard, the keys in duplicates/) is not compared, nor are the columns of
a failure, since `error_message` says the same. Removed rows are not there. Cost: both catalogs in
memory without their pictures, one join.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from frenchcat.curate.catalog import Catalog
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.curate.failures import COLUMNS, NAME_SQL
from frenchcat.curate.sql_text import quoted

if TYPE_CHECKING:
    import pyarrow as pa

PLACES = ("key", "shard", "cluster", "duplicate_of", "also_seen_as")
"""Columns that hold places in one dataset."""
_TURN, _FATE = "frenchcat_turn", "frenchcat_fate"


@dataclass(frozen=True)
class Change:
    """One row that differs."""

    change: str  # added, removed, changed
    uid: str
    url: str | None
    caption: str | None
    columns: dict[str, tuple[Any, Any]] = field(default_factory=dict)  # before and after
    fate: tuple[str | None, str | None] = (None, None)  # kept, dropped:<reason>, failed:<reason>

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        columns = {name: list(pair) for name, pair in self.columns.items()}
        first = {"change": self.change, "uid": self.uid, "url": self.url, "caption": self.caption}
        return {**first, "fate": list(self.fate), "columns": columns}


@dataclass(frozen=True)
class Diff:
    """How two datasets differ."""

    same: int  # rows
    changes: list[Change]  # added, removed, changed; by uid
    new_columns: list[str]
    lost_columns: list[str]

    def counts(self) -> dict[str, int]:
        """Rows by change: added, removed, changed, same."""
        found = Counter(change.change for change in self.changes)
        return {**{n: found[n] for n in ("added", "removed", "changed")}, "same": self.same}

    def by_column(self) -> dict[str, int]:
        """Column -> changed rows that differ in it."""
        return dict(Counter(name for change in self.changes for name in change.columns))

    def by_fate(self) -> dict[tuple[str, str], int]:
        """(before, after) -> rows of both whose fate changed."""
        both = [change for change in self.changes if change.change == "changed"]
        return dict(
            Counter((str(c.fate[0]), str(c.fate[1])) for c in both if c.fate[0] != c.fate[1])
        )


def diff(before: Dataset, after: Dataset) -> Diff:
    """Compare two datasets. Raises `UserError` where one has no shards or no uids."""
    import duckdb

    old, new = _rows(before), _rows(after)
    names = [name for name in old.column_names if name in set(new.column_names)]
    compared = [name for name in names if name not in (*PLACES, *COLUMNS, "uid", _TURN, _FATE)]
    duck = duckdb.connect()
    duck.register("old", old)
    duck.register("new", new)
    found = duck.sql(_sql(old, new, compared)).to_arrow_table()
    same = found.num_rows
    changes = []
    for row in found.to_pylist():
        if (change := _change(row, compared)) is not None:
            changes.append(change)
            same -= 1
    return Diff(
        same,
        changes,
        [name for name in new.column_names if name not in old.column_names],
        [name for name in old.column_names if name not in new.column_names],
    )


def _rows(dataset: Dataset) -> pa.Table:
    """Every row that is there with all that the catalog has of it, its fate, and its turn."""
    with Catalog(dataset) as catalog:
        there = catalog.columns()
        if "uid" not in there:
            raise UserError(f"{dataset.root} has no column uid, which identifies rows")
        keep, reason = ("keep", "reason") if catalog.judged else ("NULL::BOOLEAN", "NULL")
        return catalog.run(
            f"SELECT *, row_number() OVER (PARTITION BY uid ORDER BY key) AS {_TURN}, "
            f"CASE WHEN status <> 'success' THEN 'failed:' || {NAME_SQL} "
            f"WHEN {keep} IS FALSE THEN 'dropped:' || {reason} ELSE 'kept' END AS {_FATE} "
            "FROM (SELECT * FROM samples UNION ALL BY NAME "
            "SELECT * FROM rows WHERE status <> 'success') WHERE uid IS NOT NULL"
        )


def _sql(old: pa.Table, new: pa.Table, compared: list[str]) -> str:
    """SQL: a row a uid and turn: both sides' values of the compared columns where they differ."""
    parts = [
        "coalesce(old.uid, new.uid) AS uid",
        "old.uid IS NULL AS came",
        "new.uid IS NULL AS went",
    ]
    parts += [f"coalesce(new.{name}, old.{name}) AS {name}" for name in ("url", "caption")]
    parts += [f"old.{_FATE} AS old_fate", f"new.{_FATE} AS new_fate"]
    for n, name in enumerate(compared):
        one, other = f"old.{quoted(name)}", f"new.{quoted(name)}"
        if old.schema.field(name).type != new.schema.field(name).type:
            one, other = f"{one}::VARCHAR", f"{other}::VARCHAR"
        differs = f"{one} IS DISTINCT FROM {other}"
        parts += [f"{differs} AS differs_{n}"]
        parts += [
            f"CASE WHEN {differs} THEN {v} END AS {k}_{n}" for k, v in (("a", one), ("b", other))
        ]
    return (
        f"SELECT {', '.join(parts)} FROM old FULL JOIN new "
        f"ON old.uid = new.uid AND old.{_TURN} = new.{_TURN} "
        f"ORDER BY uid, coalesce(old.{_TURN}, new.{_TURN})"
    )


def _change(row: dict[str, Any], compared: list[str]) -> Change | None:
    fate = (row["old_fate"], row["new_fate"])
    about = (row["uid"], row["url"], row["caption"])
    if row["came"] or row["went"]:
        return Change("added" if row["came"] else "removed", *about, {}, fate)
    columns = {
        name: (row[f"a_{n}"], row[f"b_{n}"])
        for n, name in enumerate(compared)
        if row[f"differs_{n}"]
    }
    if not columns and fate[0] == fate[1]:
        return None
    return Change("changed", *about, columns, fate)
