"""DuckDB views over a dataset: what each stage says of a row, joined by key.

Reads the published parquet files of a dataset (shards/, scores/, duplicates/, verdicts/, rights/),
writes nothing. Two views::

    rows      every row of the list: the sidecars' columns and `shard`
    samples   the stored pictures: `rows`, and whatever scores, duplicates, verdicts there are

A user's expression is checked (curate/expression.py), and the connection is closed to every file
outside the dataset before one runs. Cost: linear in rows scanned; only the columns named are read.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from curate.dataset import Dataset
from curate.errors import UserError
from curate.expression import checked

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

JOINED = ("scores", "duplicates", "verdicts")
"""Folders with one row a stored picture, joined into `samples`."""
_SUCCESS = "status = 'success'"


class Catalog:
    """The views of one dataset as it is now; use it as a context manager, from one thread."""

    def __init__(self, dataset: Dataset, threads: int | None = None) -> None:
        """Open it. Raises `UserError` where nothing was downloaded."""
        self.dataset = dataset
        shards = dataset.shards("download")
        if not shards:
            raise UserError(f"{dataset.root} holds no shards; run frenchcat download first")
        self.duck = _connection(dataset, threads)
        sidecars = [f"shards/{shard}.parquet" for shard in shards]
        self._view("rows", f"{_shard_of('shards')}, * EXCLUDE (filename)", sidecars)
        self._samples(shards)

    def __enter__(self) -> Catalog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.duck.close()

    def columns(self) -> dict[str, str]:
        """Name -> DuckDB type of the columns of `samples`."""
        described = self.duck.execute("DESCRIBE samples").fetchall()
        return {row[0]: row[1] for row in described}

    def count(self, where: str | None = None) -> int:
        """How many stored pictures meet a condition. Raises `UserError` for a bad one."""
        found = self.table("count(*) AS n", where)
        count: int = found["n"][0].as_py()
        return count

    def keys(self, where: str | None = None) -> list[str]:
        """The keys of the stored pictures that meet a condition, sorted."""
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
            raise UserError(self._explain(str(error), expression)) from None
        except (duckdb.ConversionException, duckdb.InvalidInputException) as error:
            raise UserError(f"{expression!r} fails: {_first_line(error)}") from None
        except duckdb.OutOfRangeException as error:
            raise UserError(f"{expression!r} fails: {_first_line(error)}") from None

    def add_domains(self) -> None:
        """Add the column `domain` to `samples`: what each URL's owner registered."""
        import pyarrow as pa

        from curate.domains import domain_of

        if "domain" in self.columns():
            return
        urls = self.duck.sql("SELECT key, url FROM samples").to_arrow_table()
        domains = [domain_of(url) for url in urls["url"].to_pylist()]
        self.duck.register("domains", pa.table({"key": urls["key"], "domain": domains}))
        (sql,) = self.duck.execute(
            "SELECT sql FROM duckdb_views() WHERE view_name = 'samples'"
        ).fetchone() or ("",)
        inner = sql[sql.index(" AS ") + 4 :].rstrip("; \n")
        self.duck.execute(
            "CREATE OR REPLACE VIEW samples AS "
            f"SELECT stored.*, domains.domain FROM ({inner}) stored JOIN domains USING (key)"
        )

    def _explain(self, message: str, expression: str) -> str:
        found = re.search(r'column "([^"]+)" not found', message, re.I)
        if found is None:
            return f"{expression!r} does not fit: {_first_line(message)}"
        near = difflib.get_close_matches(found[1], self.columns(), 1)
        hint = f"did you mean {near[0]}?" if near else "known: " + ", ".join(self.columns())
        return f"no column {found[1]!r} in {expression!r}; {hint}"

    def _view(self, name: str, columns: str, relatives: Sequence[str]) -> None:
        """A view over parquet files of the dataset, read where they are."""
        paths = ", ".join(_literal(self.dataset.path(relative)) for relative in relatives)
        files = f"read_parquet([{paths}], union_by_name = true, filename = true)"
        self.duck.execute(f"CREATE VIEW {name} AS SELECT {columns} FROM {files}")

    def _samples(self, shards: Sequence[str]) -> None:
        """The view `samples`: stored pictures with what later stages say of them."""
        taken = {row[0].lower() for row in self.duck.execute("DESCRIBE rows").fetchall()}
        joins, chosen = "", "rows.*"
        for folder in JOINED:
            there = self._parquets(folder)
            if not there:
                continue
            self._view(folder, "* EXCLUDE (filename)", there)
            described = self.duck.execute(f"DESCRIBE {folder}").fetchall()
            new = [row[0] for row in described if row[0].lower() not in taken]
            taken |= {name.lower() for name in new}
            chosen += "".join(f", {folder}.{quoted(name)}" for name in new)
            joins += f" LEFT JOIN {folder} USING (key)"
        sql = f"SELECT {chosen} FROM rows{joins} WHERE {_SUCCESS}{self._present()}"
        self.duck.execute(f"CREATE VIEW samples AS {sql}")
        if rights := self._parquets("rights"):
            self._view("rights", "* EXCLUDE (filename)", rights)

    def _present(self) -> str:
        """The condition that leaves out removed rows (curate/remove)."""
        import pyarrow as pa

        from curate.remove.log import removed_keys

        if not (gone := removed_keys(self.dataset)):
            return ""
        self.duck.register("removed", pa.table({"key": sorted(gone)}))
        return " AND rows.key NOT IN (SELECT key FROM removed)"

    def _parquets(self, folder: str) -> list[str]:
        names = self.dataset.files(folder)
        return [f"{folder}/{name}" for name in names if name.endswith(".parquet")]


def quoted(name: str) -> str:
    """A column's name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _first_line(error: object) -> str:
    return str(error).split("\n")[0].removeprefix("Binder Error: ")


def _shard_of(folder: str) -> str:
    return rf"regexp_extract(filename, '{folder}/([^/]+)\.parquet$', 1) AS shard"


def _connection(dataset: Dataset, threads: int | None) -> DuckDBPyConnection:
    """A connection that sees the dataset's files and no others."""
    import duckdb

    duck = duckdb.connect()
    if threads is not None:
        duck.execute(f"SET threads = {int(threads)}")
    duck.execute("SET preserve_insertion_order = true")
    if not dataset.local:
        duck.register_filesystem(dataset.fs)
        return duck
    root = dataset.path("").rstrip("/") + "/"
    duck.execute(f"SET allowed_directories = [{_literal(root)}]")
    duck.execute("SET enable_external_access = false")
    duck.execute("SET lock_configuration = true")
    return duck
