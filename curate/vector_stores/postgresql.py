"""PostgreSQL with pgvector: a table of rows, one of shards, one that says what is published.

Rows are compared by inner product of float32, which is the local index's cosine. Below `INDEX_ROWS`
a search compares all rows and is exact; above, pgvector's HNSW index finds candidates, and where a
filter leaves fewer than k of them everything is compared. Duplicates are collapsed in SQL.

Needs the extension `vector` 0.5 or later. A shard is put in one transaction. Cost of a search
without an index: one scan of the table.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from psycopg import errors

from frenchcat.curate.errors import UserError, first_line
from frenchcat.curate.sql_text import quoted
from frenchcat.curate.vector_stores.address import StoreAddress
from frenchcat.curate.vector_stores.postgres_condition import PostgresCondition
from frenchcat.curate.vector_stores.postgres_connection import (
    Connection,
    PostgresConnections,
    adapt_vectors,
)
from frenchcat.curate.vector_stores.store import (
    EVERYTHING,
    FACTS,
    NO_INDEX,
    PLACE,
    VECTORS,
    Contents,
    Ids,
    RowFilter,
    VectorDatabase,
    Vectors,
    width_for_recall,
)

if TYPE_CHECKING:
    import pyarrow as pa

INDEX_ROWS = 20_000
"""From so many rows on, an HNSW index is faster than comparing all (0.1 s at 512 numbers)."""
INDEX_DIMENSIONS = 2_000
"""pgvector's limit for an index of float32 vectors."""
MOST_EF = 1_000
"""pgvector's limit for the candidates of an HNSW search."""
EF = (40, 100, 200, 400, MOST_EF)
MAX_NAME_BYTES = 63
_TYPES = {"BOOLEAN": "bool", "FLOAT": "float4", "DOUBLE": "float8", "VARCHAR": "text"}


def _type_of(duckdb: str) -> str:
    return _TYPES.get(duckdb, "int8")


class PostgresStore(VectorDatabase):
    """Rows of a dataset in a table."""

    def __init__(self, address: StoreAddress) -> None:
        super().__init__(address)
        self._table = quoted(address.table)
        self._shards = quoted(f"{address.table}__shards")
        self._published = quoted(f"{address.table}__published")
        self._connections = PostgresConnections(address)

    # -- publishing --------------------------------------------------------------------------------

    def contents(self) -> Contents | None:
        """What is published here; None where nothing is."""
        with self._connections.asked() as connection:
            name = f"{self.address.table}__published"
            there = connection.execute("SELECT to_regclass(%s)", [quoted(name)]).fetchone()
            if there == (None,):
                return None
            found = connection.execute(f"SELECT value FROM {self._published}").fetchone()
        self._contents = None if found is None else Contents(**json.loads(found[0]))
        return self._contents

    def takes(self, column: str) -> bool:
        """PostgreSQL cuts longer names without a word."""
        return 0 < len(column.encode()) <= MAX_NAME_BYTES and "\0" not in column

    def prepare(self, contents: Contents) -> None:
        """Make tables and columns; columns of another type are made anew."""
        wanted = {**PLACE, **contents.columns, **FACTS}
        with self._connections.asked(0) as connection:
            try:
                with connection.transaction():
                    connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            except (errors.UndefinedFile, errors.InsufficientPrivilege, errors.FeatureNotSupported):
                raise UserError(
                    f"{self.address} lacks the extension pgvector; install it on the server, and "
                    "let its owner run: CREATE EXTENSION vector"
                ) from None
            vectors = ", ".join(
                f"{quoted(name)} vector({contents.dimension}) NOT NULL" for name in VECTORS.values()
            )
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {self._table} (id int8 PRIMARY KEY, {vectors})"
            )
            self._columns(connection, wanted)
            for column in ("key", "shard", "frenchcat_cluster"):
                index = quoted(f"{self.address.table}__{column}")
                connection.execute(
                    f"CREATE INDEX IF NOT EXISTS {index} ON {self._table} ({quoted(column)})"
                )
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {self._shards} "
                "(shard text PRIMARY KEY, digest text NOT NULL)"
            )
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {self._published} "
                "(one bool PRIMARY KEY DEFAULT true CHECK (one), value text NOT NULL)"
            )
        adapt_vectors(self._connections.current())
        self.record(contents)

    def _columns(self, connection: Connection, wanted: Mapping[str, str]) -> None:
        """Give the table these columns, and no others beside the vectors."""
        rows = connection.execute(
            "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute "
            "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
            [self._table],
        ).fetchall()
        named = {
            "int8": "bigint",
            "bool": "boolean",
            "float4": "real",
            "float8": "double precision",
        }
        there = {name: kind for name, kind in rows if name not in VECTORS.values()}
        for name, kind in there.items():
            if name not in wanted or named.get(_type_of(wanted[name]), "text") != kind:
                connection.execute(f"ALTER TABLE {self._table} DROP COLUMN {quoted(name)}")
        for name, kind in wanted.items():
            made = _type_of(kind)
            if name not in there or there[name] != named.get(made, "text"):
                collated = ' COLLATE "C"' if made == "text" else ""
                connection.execute(
                    f"ALTER TABLE {self._table} ADD COLUMN {quoted(name)} {made}{collated}"
                )

    def record(self, contents: Contents) -> None:
        """Replace the recorded contents."""
        with self._connections.asked() as connection:
            connection.execute(
                f"INSERT INTO {self._published} (value) VALUES (%s) "
                "ON CONFLICT (one) DO UPDATE SET value = excluded.value",
                [json.dumps(contents.as_dict(), ensure_ascii=False)],
            )
        self._contents = contents

    def shards(self) -> dict[str, str]:
        """Shard -> digest."""
        with self._connections.asked() as connection:
            return dict(connection.execute(f"SELECT shard, digest FROM {self._shards}").fetchall())

    def put(self, shard: str, digest: str, rows: pa.Table, vectors: Mapping[str, Vectors]) -> None:
        """Replace a shard's rows, all in one transaction."""
        names = [*rows.column_names, *VECTORS.values()]
        kinds = [_type_of(self._kind_of(name)) for name in rows.column_names]
        columns = [rows[name].to_pylist() for name in rows.column_names]
        columns += [list(vectors[modality]) for modality in VECTORS]
        copied = f"COPY {self._table} ({', '.join(map(quoted, names))}) FROM STDIN (FORMAT BINARY)"
        with self._connections.asked(0) as connection:
            self._without(connection, shard)
            try:
                with connection.cursor() as cursor, cursor.copy(copied) as copy:
                    copy.set_types([*kinds, *("vector" for _ in VECTORS)])
                    for row in zip(*columns, strict=True):
                        copy.write_row(row)
            except errors.UniqueViolation as error:
                raise UserError(
                    f"two rows of shard {shard} and another have one id ({first_line(error)}); "
                    "their keys are equal: delete one of the shards"
                ) from None
            connection.execute(f"INSERT INTO {self._shards} VALUES (%s, %s)", [shard, digest])

    def _kind_of(self, name: str) -> str:
        columns = {} if self._contents is None else self._contents.columns
        return {**PLACE, **columns, **FACTS}[name]

    def _without(self, connection: Connection, shard: str) -> None:
        connection.execute(f"DELETE FROM {self._table} WHERE shard = %s", [shard])
        connection.execute(f"DELETE FROM {self._shards} WHERE shard = %s", [shard])

    def drop_shard(self, shard: str) -> None:
        """Delete a shard's rows."""
        with self._connections.asked(0) as connection:
            self._without(connection, shard)

    def delete(self, keys: Collection[str]) -> int:
        """Delete rows at once."""
        with self._connections.asked() as connection:
            sql = f"DELETE FROM {self._table} WHERE key = ANY(%s)"
            return int(connection.execute(sql, [list(keys)]).rowcount)

    def present(self, keys: Collection[str]) -> list[str]:
        """Those of these keys that have a row, sorted."""
        with self._connections.asked() as connection:
            sql = f"SELECT key FROM {self._table} WHERE key = ANY(%s) ORDER BY key"
            return [row[0] for row in connection.execute(sql, [list(keys)])]

    def clear(self) -> None:
        """Drop the tables."""
        with self._connections.asked(0) as connection:
            for table in (self._published, self._shards, self._table):
                connection.execute(f"DROP TABLE IF EXISTS {table}")
        self._contents = None

    def build_index(self, queries: Mapping[str, Vectors], target: float) -> Mapping[str, Any]:
        """An HNSW index per modality where rows are many, searched as widely as recall needs."""
        contents = self._contents
        assert contents is not None
        if self.count() < INDEX_ROWS or contents.dimension > INDEX_DIMENSIONS:
            return NO_INDEX
        with self._connections.asked(0) as connection:
            connection.execute("SET LOCAL maintenance_work_mem = '1GB'")
            for modality, column in VECTORS.items():
                name = quoted(f"{self.address.table}__{modality}")
                connection.execute(
                    f"CREATE INDEX IF NOT EXISTS {name} ON {self._table} "
                    f"USING hnsw ({quoted(column)} vector_ip_ops)"
                )
        exact = {
            by: [self._found(one, 10, by, EVERYTHING, None)[1] for one in rows]
            for by, rows in queries.items()
        }

        def found(query: Vectors, by: str, ef: int) -> NDArray[np.float32]:
            return self._found(query, 10, by, EVERYTHING, ef)[1]

        return width_for_recall(queries, exact, found, EF, target)

    # -- searching ---------------------------------------------------------------------------------

    def check(self, shown: RowFilter) -> None:
        """Raise `BadCondition` for a condition that is not translated."""
        self._shown(shown, "r")

    def nearest(
        self, vector: Vectors, k: int, by: str, shown: RowFilter
    ) -> tuple[Ids, NDArray[np.float32]]:
        """The k nearest rows of those shown."""
        search = self._known().search
        if search.get("index") and k <= MOST_EF:
            ids, cosines = self._found(vector, k, by, shown, max(int(search["ef"]), k))
            if len(ids) == k:
                return ids, cosines
        return self._found(vector, k, by, shown, None)

    def _found(
        self, vector: Vectors, k: int, by: str, shown: RowFilter, ef: int | None
    ) -> tuple[Ids, NDArray[np.float32]]:
        """By `ef` candidates of the index; None: all rows are compared."""
        product = f"r.{quoted(VECTORS[by])} <#> %s"
        sql = (
            f"WITH found AS MATERIALIZED (SELECT r.id, {product} AS d FROM {self._table} r WHERE "
            f"{self._shown(shown, 'r').replace('%', '%%')} ORDER BY "
            f"{f'{product}' if ef else f'{product}, r.id'} LIMIT {int(k)}) "
            "SELECT id, d FROM found ORDER BY d, id"
        )
        given = np.asarray(vector, np.float32)
        with self._connections.asked() as connection:
            if ef is None:
                connection.execute("SET LOCAL enable_indexscan = off")
            else:
                connection.execute(f"SET LOCAL hnsw.ef_search = {int(ef)}")
            rows = connection.execute(sql, [given, given], binary=True).fetchall()
        ids = np.array([row[0] for row in rows], np.int64)
        return ids, np.array([-row[1] for row in rows], np.float32)

    def among(self, ids: Ids, shown: RowFilter) -> NDArray[np.bool_]:
        """(n,) whether each of these rows is shown."""
        sql = f"SELECT r.id FROM {self._table} r WHERE r.id = ANY(%s) AND " + self._shown(
            shown, "r"
        ).replace("%", "%%")
        with self._connections.asked() as connection:
            found = connection.execute(sql, [list(map(int, ids))]).fetchall()
        return np.isin(np.asarray(ids, np.int64), [row[0] for row in found])

    def ids(self, shown: RowFilter, most: int) -> Ids:
        """(n,) the first `most` ids of rows that are shown, ascending."""
        sql = (
            f"SELECT r.id FROM {self._table} r WHERE {self._shown(shown, 'r')} "
            f"ORDER BY r.id LIMIT {int(most)}"
        )
        with self._connections.asked() as connection:
            return np.array([row[0] for row in connection.execute(sql).fetchall()], np.int64)

    def rows(self, ids: Ids, columns: Sequence[str]) -> list[dict[str, Any] | None]:
        """Each id's columns; None where there is no such row."""
        names = ", ".join(map(quoted, ("id", *columns))).replace("%", "%%")
        sql = f"SELECT {names} FROM {self._table} WHERE id = ANY(%s)"
        with self._connections.asked() as connection:
            rows = connection.execute(sql, [list(map(int, ids))]).fetchall()
        found = {row[0]: dict(zip(columns, row[1:], strict=True)) for row in rows}
        return [found.get(int(one)) for one in ids]

    def vectors(self, ids: Ids, by: str) -> Vectors:
        """(n, D) float32, the vectors of rows that there are, in their order."""
        sql = f"SELECT id, {quoted(VECTORS[by])} FROM {self._table} WHERE id = ANY(%s)"
        with self._connections.asked() as connection:
            found = dict(connection.execute(sql, [list(map(int, ids))], binary=True).fetchall())
        there = [found[int(one)] for one in ids if int(one) in found]
        return np.array(there, np.float32).reshape(len(there), self._known().dimension)

    def count(self) -> int:
        """How many rows there are."""
        with self._connections.asked(0) as connection:
            (number,) = connection.execute(f"SELECT count(*) FROM {self._table}").fetchone() or (0,)
        return int(number)

    def close(self) -> None:
        """End the connections of all threads."""
        self._connections.close()

    def _shown(self, shown: RowFilter, alias: str) -> str:
        """The SQL condition of the rows that a filter shows."""
        before = self._before(shown, alias)
        if shown.duplicates:
            return before
        a, b = f"{alias}.", "other."
        better = (
            f"(({b}frenchcat_stays AND NOT {a}frenchcat_stays) OR "
            f"({b}frenchcat_stays = {a}frenchcat_stays AND {b}id < {a}id))"
        )
        return (
            f"{before} AND ({a}frenchcat_cluster IS NULL OR NOT EXISTS (SELECT 1 FROM "
            f"{self._table} other WHERE {b}frenchcat_cluster = {a}frenchcat_cluster AND "
            f"{self._before(shown, 'other')} AND {better}))"
        )

    def _before(self, shown: RowFilter, alias: str) -> str:
        """What hides rows before duplicates are looked at."""
        parts = ["TRUE"]
        if shown.where is not None:
            parts.append(PostgresCondition(shown.where, self._asked_about(), alias).text)
        if shown.safe:
            parts.append(f"NOT {alias}.frenchcat_unsafe")
        if not shown.dropped:
            parts.append(f"NOT {alias}.frenchcat_dropped")
        return " AND ".join(parts)
