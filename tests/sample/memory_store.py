"""A vector database in this process: every row compared, conditions answered by DuckDB.

The reference for the databases that are there in life, and quick enough for every test.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from frenchcat.curate.errors import NoSpace, Unreachable
from frenchcat.curate.vector_stores import address as addresses
from frenchcat.curate.vector_stores.address import StoreAddress, StoreKind
from frenchcat.curate.vector_stores.postgres_condition import PostgresCondition
from frenchcat.curate.vector_stores.store import Contents, RowFilter, VectorDatabase


class Kept:
    """What a server keeps of one table."""

    def __init__(self) -> None:
        self.contents: Contents | None = None
        self.digests: dict[str, str] = {}
        self.tables: dict[str, pa.Table] = {}
        self.vectors: dict[str, Mapping[str, Any]] = {}


class Server:
    """A server that can be stopped, and filled."""

    def __init__(self) -> None:
        self.kept: dict[str, Kept] = {}
        self.down = False
        self.room: int | None = None  # shards that it still takes
        self.before_put: Callable[[], None] = lambda: None


SERVERS: dict[str, Server] = {}


class MemoryStore(VectorDatabase):
    """One table of a server."""

    def __init__(self, address: StoreAddress) -> None:
        super().__init__(address)
        self._server = SERVERS[address.connection]
        _ = self._kept

    @property
    def _kept(self) -> Kept:
        if self._server.down:
            raise Unreachable(f"{self.address} does not answer (down); start it")
        return self._server.kept.setdefault(self.address.table, Kept())

    def contents(self) -> Contents | None:
        return self._kept.contents

    def takes(self, column: str) -> bool:
        return len(column) < 64

    def prepare(self, contents: Contents) -> None:
        self._kept.contents = contents

    record = prepare

    def shards(self) -> dict[str, str]:
        return dict(self._kept.digests)

    def put(self, shard: str, digest: str, rows: pa.Table, vectors: Mapping[str, Any]) -> None:
        self._server.before_put()
        if self._server.room is not None:
            if self._server.room == 0:
                raise NoSpace(f"{self.address} is full; make room there")
            self._server.room -= 1
        kept = self._kept
        kept.digests[shard], kept.tables[shard], kept.vectors[shard] = digest, rows, vectors

    def drop_shard(self, shard: str) -> None:
        for one in (self._kept.digests, self._kept.tables, self._kept.vectors):
            one.pop(shard, None)

    def delete(self, keys: Collection[str]) -> int:
        kept, before = self._kept, self.count()
        for shard, table in kept.tables.items():
            left = np.array([key not in keys for key in table["key"].to_pylist()], bool)
            kept.tables[shard] = table.filter(left)
            kept.vectors[shard] = {by: rows[left] for by, rows in kept.vectors[shard].items()}
        return before - self.count()

    def present(self, keys: Collection[str]) -> list[str]:
        return sorted(set(keys).intersection(self._table()["key"].to_pylist()))

    def build_index(self, queries: Mapping[str, Any], target: float) -> Mapping[str, Any]:
        return {"recall@10": 1.0}

    def clear(self) -> None:
        del self._server.kept[self.address.table]

    def check(self, shown: RowFilter) -> None:
        if shown.where is not None and (contents := self._kept.contents) is not None:
            columns = {"key": "VARCHAR", "shard": "VARCHAR", **contents.columns}
            PostgresCondition(shown.where, columns, "r")

    def nearest(self, vector: Any, k: int, by: str, shown: RowFilter) -> tuple[Any, Any]:
        self.check(shown)
        ids = np.array(self._table()["id"].to_pylist(), np.int64)
        if not len(ids):
            return ids, np.empty(0, np.float32)
        rows = np.concatenate([one[by] for one in self._kept.vectors.values()])
        there = self.among(ids, shown)
        cosines = (rows @ vector)[there]
        order = np.lexsort((ids[there], -cosines))[:k]
        return ids[there][order], cosines[order].astype(np.float32)

    def among(self, ids: Any, shown: RowFilter) -> Any:
        met = self._rows(shown)
        if not shown.duplicates:
            first: dict[str, tuple[bool, int]] = {}
            for row in met:
                if (cluster := row["frenchcat_cluster"]) is not None:
                    rank = (not row["frenchcat_stays"], row["id"])
                    first[cluster] = min(rank, first.get(cluster, rank))
            met = [
                row
                for row in met
                if row["frenchcat_cluster"] is None
                or first[row["frenchcat_cluster"]][1] == row["id"]
            ]
        return np.isin(np.asarray(ids, np.int64), [row["id"] for row in met])

    def _rows(self, shown: RowFilter) -> list[dict[str, Any]]:
        sql = f"SELECT * FROM samples WHERE ({shown.where or 'TRUE'})"
        sql += " AND NOT frenchcat_unsafe" * shown.safe
        sql += " AND NOT frenchcat_dropped" * (not shown.dropped)
        with duckdb.connect() as duck:
            duck.register("samples", self._table())
            found: list[dict[str, Any]] = duck.sql(sql).to_arrow_table().to_pylist()
        return found

    def ids(self, shown: RowFilter, most: int) -> Any:
        everything = np.sort(np.array(self._table()["id"].to_pylist(), np.int64))
        return everything[self.among(everything, shown)][:most]

    def rows(self, ids: Any, columns: Sequence[str]) -> list[dict[str, Any] | None]:
        table = self._table()
        there = dict(zip(table["id"].to_pylist(), table.select(columns).to_pylist(), strict=True))
        return [there.get(int(one)) for one in ids]

    def vectors(self, ids: Any, by: str) -> Any:
        known = self._table()["id"].to_pylist()
        rows = np.concatenate([one[by] for one in self._kept.vectors.values()])
        return rows[[known.index(one) for one in ids if one in known]]

    def count(self) -> int:
        return self._table().num_rows

    def close(self) -> None:
        pass

    def _table(self) -> pa.Table:
        tables = list(self._kept.tables.values())
        if not tables:
            return pa.table({"id": pa.array([], pa.int64()), "key": pa.array([], pa.string())})
        return pa.concat_tables(tables, promote_options="default")


def started(monkeypatch: pytest.MonkeyPatch, name: str = "one") -> tuple[str, Server]:
    """The address of a new, empty server, and the server."""
    kind = StoreKind(__name__, "MemoryStore", "memory", "numpy")
    monkeypatch.setitem(addresses.KINDS, "memory", kind)
    place = f"memory://{name}"
    SERVERS[place] = Server()
    return place, SERVERS[place]
