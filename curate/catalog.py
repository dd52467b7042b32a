"""DuckDB views over a dataset: what each stage says of a row, joined by key.

Reads the published parquet files of a dataset (shards/, scores/, duplicates/, verdicts/, rights/),
writes nothing. The views::

    rows      every row of the list: the sidecars' columns, `shard`, and why a row failed
              (curate/sidecar.py), whatever the age of its sidecar
    samples   the stored images: `rows`, and whatever scores, duplicates, verdicts there are;
              `opted_out` names the signals that opt a row out, null where none does;
              `synthetic` says what tells that a program generated the image, else null;
              `licence_name` names the stated licences (curate/licence.py), null without any;
              `caption_similarity` is another name of the score `similarity`
    rights    one row per signal; missing if no shard has a ledger

A list's own column that is called as one of ours is ``list_<name>`` (curate/list_names.py). A
column whose type differs between files has the type that curate/promote.py gives for it.

A user's expression is checked (curate/expression.py), and the connection is closed to every file
outside the dataset before one runs. Cost: linear in rows scanned; only the columns named are read.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence, Set
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from frenchcat.curate import files, licence, list_names
from frenchcat.curate.connections import connection
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import BadCondition, UnknownColumn
from frenchcat.curate.expression import checked, columns_of
from frenchcat.curate.failures import COLUMNS
from frenchcat.curate.makers import how_to_make
from frenchcat.curate.parquets import ParquetFiles
from frenchcat.curate.promote import folded
from frenchcat.curate.sidecar import FAILED_SQL, LATER, filled_sql
from frenchcat.curate.sql_text import literal, quoted
from frenchcat.curate.urls import domain_of

if TYPE_CHECKING:
    import pyarrow as pa

_OPTED_OUT = (
    "string_agg(DISTINCT signal, ', ' ORDER BY signal) FILTER (decision = 'opt_out') AS opted_out"
)
_SYNTHETIC = (
    "string_agg(DISTINCT value, ', ' ORDER BY value) FILTER (signal = 'synthetic') AS synthetic"
)
_LICENCE = f"{licence.COLUMN}(list(value) FILTER (signal = 'license')) AS {licence.COLUMN}"
RIGHTS_SQL = f"SELECT key, {_OPTED_OUT}, {_SYNTHETIC}, {_LICENCE} FROM {{}} GROUP BY key"
"""SQL: a row's signals in three columns, of a table of signals."""
_SUCCESS = "status = 'success'"
_NAMED: dict[str, set[str]] = {"count(*) AS n": set(), "key": {"key"}}
"""What our own lists of columns name, as far as they do not need every column."""
_SIMILARITY = "similarity"
"""The score that `caption_similarity` stands for: a hit's own similarity is to the query."""


class Catalog:
    """The views of one dataset as it is now; use it as a context manager, from one thread."""

    def __init__(
        self, dataset: Dataset, joined: Sequence[str] | None = None, spill: Path | None = None
    ) -> None:
        """Open it; `joined` are folders of `files.joined()` to have in it, None: all of them.

        With `spill`, an existing folder, memory is bounded (connections.py).

        Raises `UserError` where nothing was downloaded.
        """
        self.dataset = dataset
        self._from: dict[str, list[str]] = {}  # folder -> its columns in `samples`
        self._kinds: dict[str, str] | None = None  # of `samples`
        self._sql = ""  # of `samples`
        self._domains = False  # whether `samples` has the column `domain` added
        shards = dataset.require_shards()
        self.duck = connection(dataset, spill)
        self._files: dict[str, ParquetFiles] = {}
        chosen = list(files.joined()) if joined is None else list(joined)
        for folder in (*chosen, "rights"):
            if found := self._parquets(folder):
                self._files[folder] = ParquetFiles(self.duck, dataset, found)
        if "scores" in self._files:
            made = frozenset(map(folded, self._files["scores"].schema.names))
        else:
            made = list_names.score_columns(dataset)
        self._files["shards"] = ParquetFiles(
            self.duck,
            dataset,
            [files.SIDECAR.of(shard) for shard in shards],
            lambda names: list_names.shown_of_sidecar(names, made),
        )
        self._view("sidecars", self._files["shards"].sql(shard="shard"))
        there = self._described("sidecars")
        self._view("rows", filled_sql("sidecars", there))
        listed = [name for name in there if name not in COLUMNS]
        self._samples([folder for folder in chosen if folder in self._files], listed)

    def __enter__(self) -> Catalog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self.duck.close()

    def columns(self) -> dict[str, str]:
        """Name -> DuckDB type of the columns of `samples`."""
        if self._kinds is None:  # it reads the footer of every file
            self._kinds = self._described("samples")
        return dict(self._kinds)

    @property
    def judged(self) -> bool:
        """Whether there are verdicts."""
        return "verdicts" in self._from

    def kind_of(self, expression: str) -> str:
        """The DuckDB type of a user's expression over `samples`. Raises `UserError`."""
        sql = f"DESCRIBE SELECT {checked(expression)} AS value FROM samples"
        kind: str = self.run(sql, expression)["column_type"][0].as_py()
        return kind

    def of_shard(self, shard: str) -> str:
        """SQL of one shard's stored images with the columns of `samples`, removed ones too.

        Reads that shard's files alone, however many there are.
        """
        parts = []
        for folder, names in self._from.items():
            source = self._of_shard(folder, shard)
            columns = [quoted(name) for name in names if name != "key" or folder == "shards"]
            key = [] if folder == "shards" else ["key"]
            parts.append(f"(SELECT {', '.join(key + columns)} FROM ({source}))")
        joined = " LEFT JOIN ".join(
            part if n == 0 else f"{part} USING (key)" for n, part in enumerate(parts)
        )
        more = f"{literal(shard)} AS shard{self._alias()}{self._licence()}{self._later()}"
        return f"SELECT *, {more} FROM {joined} WHERE {_SUCCESS}"

    def _of_shard(self, folder: str, shard: str) -> str:
        """SQL of the rows that a folder has of a shard, with all columns even without rows."""
        source = "rights" if folder == "said" else folder
        found, file = self._files[source], f"{source}/{shard}.parquet"
        sql = found.sql(relative=file) if found.has(file) else f"{found.sql()} LIMIT 0"
        return RIGHTS_SQL.format(f"({sql})") if folder == "said" else sql

    @property
    def has_rights(self) -> bool:
        """Whether there is the view `rights`."""
        return "rights" in self._files

    @property
    def failed_sql(self) -> str:
        """SQL: the rows without an image that were not removed, with the columns of `rows`."""
        return self._failed

    def count(self, where: str | None = None) -> int:
        """How many stored images meet a condition. Raises `UserError` for a bad one."""
        found = self.table("count(*) AS n", where)
        count: int = found["n"][0].as_py()
        return count

    def keys(self, where: str | None = None) -> list[str]:
        """The keys of the stored images that meet a condition, sorted."""
        keys: list[str] = self.table("key", where, order="key")["key"].to_pylist()
        return keys

    def table(
        self,
        columns: str | Sequence[str] = "*",
        where: str | None = None,
        order: str | None = None,
        view: str = "samples",
    ) -> pa.Table:
        """Rows of a view as a table; `where` is a user's, `columns` and `order` are ours.

        Raises `UserError` for a condition that is not allowed or names an unknown column.
        """
        chosen = columns if isinstance(columns, str) else ", ".join(map(quoted, columns))
        named = _NAMED.get(columns) if isinstance(columns, str) else {*columns}
        if view == "samples" and named is not None and order in (None, "key"):
            view = self._samples_with(named | (columns_of(where) if where is not None else set()))
        sql = f"SELECT {chosen} FROM {view}"
        if where is not None:
            sql += f" WHERE {checked(where)}"
        if order is not None:
            sql += f" ORDER BY {order}"
        return self.run(sql, where or "")

    def run(self, sql: str, expression: str = "") -> pa.Table:
        """The result of our own SQL, in which the user's `expression` stands."""
        import duckdb

        try:
            return self.duck.sql(sql).to_arrow_table()
        except duckdb.BinderException as error:
            raise self._explained(str(error), expression) from None
        except (
            duckdb.CatalogException,
            duckdb.ConversionException,
            duckdb.InvalidInputException,
            duckdb.NotImplementedException,
            duckdb.OutOfRangeException,
            duckdb.TypeMismatchException,
        ) as error:
            raise BadCondition(f"{expression!r} fails: {_first_line(error)}") from None

    def add_for(self, *expressions: str | None) -> None:
        """Add the column `domain` where one of a user's expressions names it."""
        named = {folded(name) for text in expressions if text for name in columns_of(text)}
        if "domain" in named:
            self.add_domains()

    def add_domains(self) -> None:
        """Add the column `domain` to `samples`: what each URL's owner registered."""
        import pyarrow as pa

        if "domain" in self.columns():
            return
        urls = self.duck.sql("SELECT key, url FROM samples").to_arrow_table()
        domains = [domain_of(url) for url in urls["url"].to_pylist()]
        self.duck.register("domains", pa.table({"key": urls["key"], "domain": domains}))
        self._kinds, self._domains = None, True
        self.duck.execute(
            "CREATE OR REPLACE TEMP VIEW samples AS "
            f"SELECT stored.*, domains.domain FROM ({self._sql}) stored JOIN domains USING (key)"
        )

    def _explained(self, message: str, expression: str) -> BadCondition:
        # DuckDB has no class for it, so its sentence is read here and nowhere else.
        found = re.search(r'column "([^"]+)" not found', message, re.I)
        if found is None:
            return BadCondition(f"{expression!r} does not fit: {_first_line(message)}")
        beside = folded(list_names.beside(found[1]))
        near = [name for name in self.columns() if folded(name) == beside]
        how = how_to_make(self.dataset, [found[1]])
        if not how:
            near = near or difflib.get_close_matches(found[1], self.columns(), 1)
        hint = f"did you mean {near[0]}?" if near else "known: " + ", ".join(self.columns())
        if how:
            hint = f"{hint} For frenchcat's own: {how}" if near else how
        return UnknownColumn(f"no column {found[1]!r} in {expression!r}; {hint}", found[1])

    def _view(self, name: str, sql: str) -> None:
        self.duck.execute(f"CREATE TEMP VIEW {name} AS {sql}")

    def _samples(self, joined: Sequence[str], listed: Sequence[str]) -> None:
        """The view `samples`: stored images with what later stages say of them.

        `listed` are the columns of `rows` that it has: not those that say why a row failed.
        """
        self._listed = tuple(listed)
        self._from["shards"] = [name for name in listed if name != "shard"]
        taken = {folded(name) for name in listed}
        for folder in joined:
            self._view(folder, self._files[folder].sql())
            self._take(folder, self._files[folder].schema.names, taken)
        if "rights" in self._files:
            self._view("rights", self._files["rights"].sql())
            self._view("said", RIGHTS_SQL.format("rights"))
            self._take("said", ("key", *files.RIGHTS_COLUMNS), taken)
        present = self._present()
        self._condition = f"{_SUCCESS}{present}"
        self._failed = f"SELECT * FROM rows WHERE {FAILED_SQL}{present}"
        self._sql = self._joined(list(self._from)[1:])
        self._view("samples", self._sql)

    def _joined(self, folders: Sequence[str]) -> str:
        """SQL of `samples` with the columns of these folders alone beside those of `rows`."""
        chosen = ", ".join(f"rows.{quoted(name)}" for name in self._listed)
        for folder in folders:
            chosen += "".join(f", {folder}.{quoted(name)}" for name in self._from[folder])
        if "scores" in folders:
            chosen += self._alias()
        chosen += self._licence() + self._later()
        joins = "".join(f" LEFT JOIN {folder} USING (key)" for folder in folders)
        return f"SELECT {chosen} FROM rows{joins} WHERE {self._condition}"

    def _samples_with(self, names: Set[str]) -> str:
        """`samples`, joined with those folders only that have these columns: joins are costly."""
        wanted = {folded(name) for name in names}
        if folded(files.CAPTION_SIMILARITY) in wanted:
            wanted = wanted - {folded(files.CAPTION_SIMILARITY)} | {_SIMILARITY}
        owned = {folder: set(map(folded, own)) for folder, own in self._from.items()}
        there = owned.pop("shards") | set(map(folded, self._listed))
        if self._domains or wanted - there.union(*owned.values()):
            return "samples"
        return f"({self._joined([f for f, own in owned.items() if own & wanted])}) AS samples"

    def _alias(self) -> str:
        """SQL of the score `similarity` by its other name, where there is that score."""
        there = _SIMILARITY in self._from.get("scores", ())
        return f", {_SIMILARITY} AS {files.CAPTION_SIMILARITY}" if there else ""

    def _licence(self) -> str:
        """SQL of the licences as the list's own columns name them, where there is no ledger."""
        own = licence.columns_of(self._from["shards"])
        if "said" in self._from or not own:
            return ""
        texts = ", ".join(f"{quoted(name)}::VARCHAR" for name in own)
        return f", {licence.COLUMN}([{texts}]) AS {licence.COLUMN}"

    def _later(self) -> str:
        """SQL of the columns that no sidecar has yet: null, so that rules may name them."""
        there = {name.lower() for names in self._from.values() for name in names}
        missing = [name for name in LATER if name not in there]
        return "".join(f", NULL::{LATER[name]} AS {name}" for name in missing)

    def _take(self, view: str, names: Sequence[str], taken: set[str]) -> None:
        """Have those columns of a view in `samples` that are not taken yet; they are from now."""
        names = [name for name in names if folded(name) not in taken]
        self._from[view] = names
        taken |= {folded(name) for name in names}

    def _described(self, view: str) -> dict[str, str]:
        """Name -> DuckDB type of a view's columns."""
        return {row[0]: row[1] for row in self.duck.execute(f"DESCRIBE {view}").fetchall()}

    def _present(self) -> str:
        """The condition that leaves out removed rows (curate/remove)."""
        import pyarrow as pa

        from frenchcat.curate.removals import removed_keys

        if not (gone := removed_keys(self.dataset)):
            return ""
        self.duck.register("removed", pa.table({"key": sorted(gone)}))
        return " AND rows.key NOT IN (SELECT key FROM removed)"

    def _parquets(self, folder: str) -> list[str]:
        names = self.dataset.files(folder)
        return [f"{folder}/{name}" for name in names if name.endswith(".parquet")]


def _first_line(error: object) -> str:
    return str(error).split("\n")[0].removeprefix("Binder Error: ")
