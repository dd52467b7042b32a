"""Milvus: a collection of rows, one of shards, one that says what is published.

An address ``milvus://user:password@host:19530/database?table=NAME`` is a server's (``secure=true``
for TLS), ``milvus:///path/to/cats.db?table=NAME`` a file of Milvus Lite, which one process opens at
a time. Rows are compared by inner product of float32, which is the local index's cosine. Below
`INDEX_ROWS`, and in a file, all are compared; above, Milvus's HNSW index is searched as widely as
recall needs.

Milvus has no transactions: a shard's rows are deleted, then inserted, then its digest is written,
so a search meanwhile may lack some of them, and a shard without a digest is put again. Duplicates
are collapsed here: a search asks for more rows until k stay. A search of more than `MOST_ROWS` rows
compares all in this process. Cost of a search without an index: one scan of the collection.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pymilvus import DataType

from frenchcat.curate.errors import UserError
from frenchcat.curate.vector_stores.address import StoreAddress
from frenchcat.curate.vector_stores.milvus_collections import (
    MOST_TEXT_BYTES,
    REQUIRED,
    fields_for,
    fields_of,
    make_hnsw_index,
    make_rows_collection,
    make_values_collection,
)
from frenchcat.curate.vector_stores.milvus_condition import MilvusCondition, text_literal
from frenchcat.curate.vector_stores.milvus_connection import ANSWER_SEC, STRONG, MilvusConnection
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

INDEX_ROWS = 100_000
"""From so many rows on, an HNSW index is made on a server."""
MOST_ROWS = 16_384
"""Milvus's limit of rows per answer."""
EF = (64, 128, 256, 512, 1024)
_PART_CHARS = 15_000  # of the recorded contents, which may be longer than a text
_INSERTED_BYTES = 16 << 20  # per request; the limit is 64 MiB
_ASKED = 1000  # ids or keys per request
_MORE = 16  # rows beyond k that are asked for at first


class MilvusStore(VectorDatabase):
    """Rows of a dataset in a collection."""

    longest_text = MOST_TEXT_BYTES
    finite_only = True

    def __init__(self, address: StoreAddress) -> None:
        super().__init__(address)
        self._rows = address.table
        self._shards = f"{address.table}__shards"
        self._published = f"{address.table}__published"
        self._connection = MilvusConnection(address)

    # -- publishing --------------------------------------------------------------------------------

    def contents(self) -> Contents | None:
        """What is published here; None where nothing is."""
        if not self._connection.has(self._published):
            return None
        parts = self._connection.query(self._published, "part >= 0", ["part", "value"])
        parts.sort(key=lambda row: int(row["part"]))
        text = "".join(row["value"] for row in parts)
        self._contents = Contents(**json.loads(text)) if text else None
        return self._contents

    def takes(self, column: str) -> bool:
        """Milvus's names: letters, digits and _, a letter or _ first."""
        plain = column.isascii() and column.replace("_", "a").isalnum()
        return plain and not column[0].isdigit() and len(column) <= 255

    def prepare(self, contents: Contents) -> None:
        """Make the collections; rows of other columns or another dimension go, to be put again."""
        wanted = {**PLACE, **contents.columns, **FACTS}
        connection, dimension = self._connection, contents.dimension
        if fields_of(connection, self._rows) != fields_for(wanted, dimension):
            for name in (self._rows, self._shards):
                connection.drop(name)
            make_rows_collection(connection, self._rows, wanted, dimension)
            make_values_collection(connection, self._shards, "shard", DataType.VARCHAR)
        if not connection.has(self._published):
            make_values_collection(connection, self._published, "part", DataType.INT64)
        self.record(contents)

    def record(self, contents: Contents) -> None:
        """Replace the recorded contents."""
        text = json.dumps(contents.as_dict(), ensure_ascii=False)
        parts = [text[at : at + _PART_CHARS] for at in range(0, len(text), _PART_CHARS)]
        rows = [{"part": n, "value": part, "nothing": [0.0, 0.0]} for n, part in enumerate(parts)]
        with self._connection.asked() as client:
            client.upsert(self._published, rows, timeout=ANSWER_SEC)
        self._connection.delete(self._published, f"part >= {len(rows)}")
        self._contents = contents

    def shards(self) -> dict[str, str]:
        """Shard -> digest."""
        if not self._connection.has(self._shards):
            return {}
        found = self._connection.batches(self._shards, 'shard >= ""', ["shard", "value"])
        return {row["shard"]: row["value"] for rows in found for row in rows}

    def put(self, shard: str, digest: str, rows: pa.Table, vectors: Mapping[str, Vectors]) -> None:
        """Replace a shard's rows; its digest is written last."""
        self.drop_shard(shard)
        self._refuse_taken(shard, rows["id"].to_pylist())
        each = 4 * len(VECTORS) * self._known().dimension + 4096
        step = max(1, _INSERTED_BYTES // each)
        with self._connection.asked() as client:
            for start in range(0, rows.num_rows, step):
                part = rows.slice(start, step).to_pylist()
                for at, row in enumerate(part, start):
                    row |= {VECTORS[by]: vectors[by][at].tolist() for by in VECTORS}
                client.insert(self._rows, part, timeout=ANSWER_SEC)
            said = {"shard": shard, "value": digest, "nothing": [0.0, 0.0]}
            client.upsert(self._shards, [said], timeout=ANSWER_SEC)

    def _refuse_taken(self, shard: str, ids: Sequence[int]) -> None:
        """Milvus takes two rows of one id without a word."""
        for part in _parts(ids):
            taken = self._connection.query(self._rows, f"id in {list(part)}", ["id", "shard"])
            if taken:
                raise UserError(
                    f"two rows of shard {shard} and {taken[0]['shard']} have the id "
                    f"{taken[0]['id']}; their keys are equal: delete one of the shards"
                )

    def drop_shard(self, shard: str) -> None:
        """Delete a shard's rows; its digest first, so that half a shard is put again."""
        for name in (self._shards, self._rows):
            self._connection.delete(name, f"shard == {text_literal(shard)}")

    def delete(self, keys: Collection[str]) -> int:
        """Delete rows at once."""
        there = self.present(keys)
        for part in _parts(there):
            self._connection.delete(self._rows, f"key in {_texts(part)}")
        return len(there)

    def present(self, keys: Collection[str]) -> list[str]:
        """Those of these keys that have a row, sorted."""
        found = [
            row["key"]
            for part in _parts(sorted(keys))
            for row in self._connection.query(self._rows, f"key in {_texts(part)}", ["key"])
        ]
        return sorted(found)

    def clear(self) -> None:
        """Drop the collections."""
        for name in (self._published, self._shards, self._rows):
            self._connection.drop(name)
        self._contents = None

    def build_index(self, queries: Mapping[str, Vectors], target: float) -> Mapping[str, Any]:
        """An HNSW index per modality where rows are many, searched as widely as recall needs."""
        if self._connection.file is not None or self.count() < INDEX_ROWS:
            return NO_INDEX
        exact = {by: [self._best(one, by) for one in rows] for by, rows in queries.items()}
        make_hnsw_index(self._connection, self._rows)

        def found(query: Vectors, by: str, ef: int) -> NDArray[np.float32]:
            return self._search(query, 10, by, "", ef)[1]

        return width_for_recall(queries, exact, found, EF, target)

    def _best(self, vector: Vectors, by: str) -> NDArray[np.float32]:
        return self._compared(vector, 10, by, EVERYTHING)[1]

    # -- searching ---------------------------------------------------------------------------------

    def check(self, shown: RowFilter) -> None:
        """Raise `BadCondition` for a condition that is not translated."""
        self._before(shown)

    def nearest(
        self, vector: Vectors, k: int, by: str, shown: RowFilter
    ) -> tuple[Ids, NDArray[np.float32]]:
        """The k nearest rows of those shown; equal ones by id."""
        search, where = self._known().search, self._before(shown)
        asked = k + _MORE
        while asked <= MOST_ROWS:
            ef = max(int(search["ef"]), asked) if search.get("index") else None
            ids, cosines = self._search(vector, asked, by, where, ef)
            whole = len(ids) < asked and ef is None  # these are all that there are
            stay = self._stay(ids, shown)
            last = cosines[-1] if len(cosines) and not whole else -np.inf
            ids, cosines = ids[stay], cosines[stay]
            # Of rows as near as the last one, others may not have been named.
            if whole or (len(ids) >= k and cosines[k - 1] > last):
                order = np.lexsort((ids, -cosines))[:k]
                return ids[order], cosines[order]
            if ef is not None and len(stay) < asked:
                break  # the index leaves rows out
            asked *= 4
        return self._compared(vector, k, by, shown)

    def _search(
        self, vector: Vectors, k: int, by: str, where: str, ef: int | None
    ) -> tuple[Ids, NDArray[np.float32]]:
        with self._connection.asked() as client:
            (found,) = client.search(
                self._rows,
                data=[np.asarray(vector, np.float32).tolist()],
                filter=where,
                limit=k,
                anns_field=VECTORS[by],
                search_params={"metric_type": "IP", "params": {} if ef is None else {"ef": ef}},
                output_fields=["id"],
                consistency_level=STRONG,
                timeout=ANSWER_SEC,
            )
        ids = np.array([hit["id"] for hit in found], np.int64)
        return ids, np.array([hit["distance"] for hit in found], np.float32)

    def _compared(
        self, vector: Vectors, k: int, by: str, shown: RowFilter
    ) -> tuple[Ids, NDArray[np.float32]]:
        """All shown rows, compared in this process, a batch at a time."""
        ids, cosines = np.empty(0, np.int64), np.empty(0, np.float32)
        names = ["id", VECTORS[by]]
        for rows in self._batches(self._before(shown), names):
            here = np.array([row["id"] for row in rows], np.int64)
            there = np.array([row[VECTORS[by]] for row in rows], np.float32)
            stay = self._stay(here, shown)
            ids = np.concatenate([ids, here[stay]])
            cosines = np.concatenate([cosines, there[stay] @ np.asarray(vector, np.float32)])
            order = np.lexsort((ids, -cosines))[:k]
            ids, cosines = ids[order], cosines[order]
        return ids, cosines

    def _stay(self, ids: Ids, shown: RowFilter) -> NDArray[np.bool_]:
        """(n,) whether each row is the one of its cluster that is shown."""
        if shown.duplicates or not len(ids):
            return np.ones(len(ids), bool)
        found = self.rows(ids, ["frenchcat_cluster"])
        clusters: list[str | None] = [row["frenchcat_cluster"] if row else None for row in found]
        best: dict[str, tuple[bool, int]] = {}
        names = ["id", "frenchcat_cluster", "frenchcat_stays"]
        for part in _parts(sorted({one for one in clusters if one})):
            where = _all_of(self._before(shown), f"frenchcat_cluster in {_texts(part)}")
            for row in self._all(where, names):
                rank = (not row["frenchcat_stays"], int(row["id"]))
                name = row["frenchcat_cluster"]
                best[name] = min(rank, best.get(name, rank))
        gone = (True, -1)  # of a cluster whose rows were removed meanwhile
        there = zip(ids.tolist(), clusters, strict=True)
        stay = [one is None or best.get(one, gone)[1] == row for row, one in there]
        return np.array(stay, np.bool_)

    def among(self, ids: Ids, shown: RowFilter) -> NDArray[np.bool_]:
        """(n,) whether each of these rows is shown."""
        wanted, where = np.asarray(ids, np.int64), self._before(shown)
        met = [
            int(row["id"])
            for part in _parts(wanted.tolist())
            for row in self._connection.query(
                self._rows, _all_of(where, f"id in {list(part)}"), ["id"]
            )
        ]
        found = np.array(sorted(set(met)), np.int64)
        return np.isin(wanted, found[self._stay(found, shown)])

    def ids(self, shown: RowFilter, most: int) -> Ids:
        """(n,) the first `most` ids of rows that are shown, ascending."""
        met = [int(row["id"]) for row in self._all(self._before(shown), ["id"])]
        found = np.array(sorted(met), np.int64)
        kept: list[int] = []
        for start in range(0, len(found), _ASKED):
            part = found[start : start + _ASKED]
            kept += part[self._stay(part, shown)].tolist()
            if len(kept) >= most:
                break
        return np.array(kept[:most], np.int64)

    def rows(self, ids: Ids, columns: Sequence[str]) -> list[dict[str, Any] | None]:
        """Each id's columns; None where there is no such row."""
        found: dict[int, dict[str, Any]] = {}
        for part in _parts([int(one) for one in ids]):
            for row in self._connection.query(self._rows, f"id in {list(part)}", ["id", *columns]):
                found[int(row["id"])] = {name: row.get(name) for name in columns}
        return [found.get(int(one)) for one in ids]

    def vectors(self, ids: Ids, by: str) -> Vectors:
        """(n, D) float32, the vectors of rows that there are, in their order."""
        name = VECTORS[by]
        there = [row[name] for row in self.rows(ids, [name]) if row is not None]
        return np.array(there, np.float32).reshape(len(there), self._known().dimension)

    def count(self) -> int:
        """How many rows there are."""
        (found,) = self._connection.query(self._rows, "", ["count(*)"])
        return int(found["count(*)"])

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def _all(self, where: str, names: Sequence[str]) -> list[dict[str, Any]]:
        return [row for rows in self._batches(where, names) for row in rows]

    def _batches(self, where: str, names: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
        """The rows that meet a filter, however many; a file's by shard."""
        parts = [""]
        if self._connection.file is not None:
            parts = [f"shard == {text_literal(shard)}" for shard in self.shards()]
        for part in parts:
            yield from self._connection.batches(self._rows, _all_of(where, part), names)

    def _before(self, shown: RowFilter) -> str:
        """What hides rows before duplicates are looked at."""
        parts = []
        if shown.where is not None:
            parts.append(MilvusCondition(shown.where, self._asked_about(), REQUIRED).text)
        if shown.safe:
            parts.append("frenchcat_unsafe == false")
        if not shown.dropped:
            parts.append("frenchcat_dropped == false")
        return _all_of(*parts)


def _parts(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (values[at : at + _ASKED] for at in range(0, len(values), _ASKED))


def _texts(values: Sequence[str]) -> str:
    return f"[{', '.join(map(text_literal, values))}]"


def _all_of(*conditions: str) -> str:
    given = [one for one in conditions if one]
    return given[0] if len(given) == 1 else " and ".join(f"({one})" for one in given)
