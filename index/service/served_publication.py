"""A dataset that is served from the vector database to which it was published.

Search, rows, vectors, conditions, facets and sorting ask the database; images, exports, selections
and removals need the dataset's place, and are refused with one line where it cannot be reached.
What lists rows (a page without a query, facets, the map) takes `MOST_LISTED` rows at most.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from frenchcat.curate.dataset import MANIFEST, Dataset
from frenchcat.curate.errors import UnknownColumn, UserError
from frenchcat.curate.info import Info, info
from frenchcat.curate.list_names import told_apart
from frenchcat.curate.removals import removed_keys
from frenchcat.curate.sql_text import literal
from frenchcat.curate.vector_stores import Contents, RowFilter, open_store
from frenchcat.curate.vector_stores.store import EVERYTHING, VectorDatabase
from frenchcat.index.map import LazyMap, Map, map_of
from frenchcat.index.rows import id_of
from frenchcat.index.search import Hit, Positions
from frenchcat.index.service.batching import Encoder
from frenchcat.index.service.column_values import Numbers, column_of, histogram, top_values
from frenchcat.index.service.problems import Refused
from frenchcat.index.service.rows import ANSWERED
from frenchcat.index.service.served_dataset import ServedDataset
from frenchcat.index.service.served_source import ServedSource
from frenchcat.index.service.stage_columns import FROM_HIT
from frenchcat.index.store_searcher import StoreSearcher, contents_of, filter_of
from frenchcat.index.visible import View

if TYPE_CHECKING:
    import pyarrow as pa

    from frenchcat.curate.clip.model import Clip

MOST_LISTED = 200_000
_MOST_COPIES = 10_000


class PublishedSource(ServedSource):
    """What was published at an address, to be served."""

    def __init__(self, address: str) -> None:
        """Connect. Raises `NotFound` where nothing is published, and `Unreachable`."""
        self.store = open_store(address)
        self.root = str(self.store.address)
        try:
            self._name = contents_of(self.store).name
        except BaseException:
            self.store.close()
            raise

    @property
    def name(self) -> str:
        """The name under which it was published."""
        return self._name

    @property
    def weights(self) -> str:
        """The digest of the model that made the vectors which are there now."""
        return contents_of(self.store).weights

    def stamp(self) -> object:
        """Changes when something was published."""
        return self.store.contents()

    def load_clip(self) -> Clip:
        """The model that made the vectors."""
        return StoreSearcher(self.store).clip

    def open(self, name: str, encoder: Encoder) -> ServedPublication:
        """The version of now, open."""
        return ServedPublication(name, self, encoder)

    def close(self) -> None:
        """End the connections."""
        self.store.close()


class ServedPublication(ServedDataset):
    """One publication, open."""

    def __init__(self, name: str, source: PublishedSource, encoder: Encoder) -> None:
        self.name, self.encoder = name, encoder
        searcher = StoreSearcher(source.store)
        self.searcher, self._store, self._contents = searcher, source.store, searcher.contents
        self.values = _Values(source.store, self.columns)  # type: ignore[assignment]
        self.stage_columns = _StageColumns(source.store, searcher.contents)  # type: ignore[assignment]
        self.map = LazyMap(self._mapped)
        self.model, self.weights = self._contents.model, self._contents.weights
        self.version = str(self.searcher.version)
        self._info: tuple[object, Info] | None = None

    @property
    def dataset(self) -> Dataset:  # type: ignore[override]
        """The dataset's place. Raises `Refused` (404) where it cannot be reached."""
        found = Dataset(self._contents.root)
        try:
            there = found.exists(MANIFEST)
        except (OSError, UserError):
            there = False
        if not there:
            raise Refused(
                404, f"{self.name} is served from a database, and {found.root} cannot be read here"
            )
        return found

    def cluster(self, key: str) -> list[Hit]:
        """The rows of a key's cluster of duplicates, its own first. Raises as `position` does."""
        at = self.position(key)
        members = self._members([at]).get(at, [at])
        return self.hits(np.array([at, *(one for one in members if one != at)]))

    def copies(self, keys: Sequence[str]) -> list[int]:
        """For rows that were not removed: how many others are duplicates of each."""
        ids = [id_of(key) for key in keys]
        members = self._members(ids)
        return [len(members.get(one, [one])) - 1 for one in ids]

    def _mapped(self) -> Map:
        return map_of(_listed(self._store, EVERYTHING), self._store.vectors)

    def _members(self, ids: Sequence[int]) -> dict[int, list[int]]:
        """The ids of each row's cluster, of those that have copies."""
        if "cluster" not in self._contents.columns or not len(ids):
            return {}
        names = ["id", "cluster", "multiplicity"]
        rows = self._store.rows(np.asarray(ids, np.int64), names)
        own = {row["id"]: row["cluster"] for row in rows if row and (row["multiplicity"] or 0) > 1}
        if not own:
            return {}
        listed = ", ".join(map(literal, set(own.values())))
        shown = RowFilter(f"cluster IN ({listed})", False, True, True)
        found = self._store.rows(self._store.ids(shown, _MOST_COPIES), names)
        members: dict[str, list[int]] = {}
        for row in found:
            if row is not None:
                members.setdefault(row["cluster"], []).append(row["id"])
        return {one: members[cluster] for one, cluster in own.items() if cluster in members}

    def allowed(self, view: View) -> Positions:
        """The ids of rows that may be found. Raises `UserError` for more than are listed."""
        return _listed(self._store, filter_of(view))

    def info(self) -> Info:
        """The dataset's rows counted. Raises `Refused` where its place cannot be reached."""
        dataset = self.dataset
        version = (self.version, dataset.read_bytes(MANIFEST), removed_keys(dataset))
        if self._info is None or self._info[0] != version:
            self._info = version, info(dataset)
        return self._info[1]

    @property
    def columns(self) -> dict[str, str]:
        """Name -> DuckDB type of what a condition may name."""
        return {"key": "VARCHAR", "shard": "VARCHAR", **self._contents.columns}

    @property
    def hit_columns(self) -> list[str]:
        """The columns that a row of an answer may have, besides those of the answer itself."""
        own = told_apart(self.searcher.column_names, ANSWERED)
        return [*own.values(), *self.stage_columns.names(())]

    def all_keys(self, positions: Positions | None) -> pa.Array:
        """The keys of rows; None: all rows."""
        import pyarrow as pa

        ids = _listed(self._store, EVERYTHING) if positions is None else positions
        return pa.array([row["key"] for row in self._store.rows(ids, ["key"]) if row], pa.string())


def _listed(store: VectorDatabase, shown: RowFilter) -> Positions:
    found = store.ids(shown, MOST_LISTED + 1)
    if len(found) > MOST_LISTED:
        raise UserError(
            f"more than {MOST_LISTED} rows meet this, which are not listed from a database; search "
            "for something, or give a condition that fewer rows meet"
        )
    return found


class _StageColumns:
    """What later stages say of hits: the published columns that no hit has."""

    def __init__(self, store: VectorDatabase, contents: Contents) -> None:
        self._store = store
        self._names = list(contents.stage_columns)

    def of(self, hits: Sequence[Hit], names: Collection[str] | None = None) -> list[dict[str, Any]]:
        """For each hit: name -> value, of `names`, or of all but `domain` and `shard`."""
        chosen = [
            name
            for name in (*self._names, *(FROM_HIT if names is not None else ()))
            if names is None or name in names
        ]
        if not chosen or not hits:
            return [{} for _ in hits]
        ids = np.array([hit.id for hit in hits], np.int64)
        nothing = dict.fromkeys(chosen)
        return [row or nothing for row in self._store.rows(ids, chosen)]

    def names(self, shards: Collection[str]) -> list[str]:
        """The columns that there are."""
        return [*self._names, *FROM_HIT]


class _Values:
    """Columns of rows that are listed, to be sorted and counted by."""

    def __init__(self, store: VectorDatabase, columns: Mapping[str, str]) -> None:
        self._store, self._columns = store, columns

    def sorted(self, positions: Positions, name: str, descending: bool) -> Positions:
        """Ids sorted by a column; ties stay in order, rows without a value come last."""
        ranks = self._read(positions, [name])[name].ranks(np.arange(len(positions)))
        order = np.argsort(-ranks if descending else ranks, kind="stable")
        return positions[order]

    def facets(
        self, names: Sequence[str], positions: Positions | None, bins: int, top: int
    ) -> dict[str, dict[str, Any]]:
        """How rows are spread over columns, by column; None: all rows."""
        if positions is None:
            positions = _listed(self._store, EVERYTHING)
        found: dict[str, dict[str, Any]] = {}
        for name, column in self._read(positions, names).items():
            if isinstance(column, Numbers):
                found[name] = histogram(column, None, bins)
            else:
                found[name] = top_values(column, None, top)
        return found

    def _read(self, positions: Positions, names: Sequence[str]) -> dict[str, Any]:
        import pyarrow as pa

        known = self._columns
        if unknown := [name for name in names if name not in known]:
            there = ", ".join(known)
            raise UnknownColumn(f"no column {unknown[0]!r}; there are: {there}", unknown[0])
        rows = self._store.rows(positions, names)
        found = {}
        for name in names:
            values = [None if row is None else row[name] for row in rows]
            if known[name] == "BOOLEAN":
                values = [None if one is None else str(one).lower() for one in values]
            text = known[name] in ("VARCHAR", "BOOLEAN")
            found[name] = column_of(pa.array(values, pa.string() if text else pa.float64()))
        return found
