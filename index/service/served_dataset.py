"""A dataset that is served from its folder: one version of it, open, and its model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.catalog import Catalog
from frenchcat.curate.dataset import MANIFEST, Dataset
from frenchcat.curate.embeddings import model_of
from frenchcat.curate.info import Info, info
from frenchcat.curate.list_names import told_apart
from frenchcat.index.build import JSON
from frenchcat.index.map import LazyMap, made_of
from frenchcat.index.rows import id_of
from frenchcat.index.search import Hit, Positions, Ranked, Searcher, clip_of
from frenchcat.index.service.batching import Encoder
from frenchcat.index.service.column_values import ColumnValues
from frenchcat.index.service.conditions import not_here
from frenchcat.index.service.problems import Refused
from frenchcat.index.service.rows import ANSWERED
from frenchcat.index.service.served_source import ServedSource
from frenchcat.index.service.stage_columns import StageColumns
from frenchcat.index.visible import View

if TYPE_CHECKING:
    import pyarrow as pa

    from frenchcat.curate.clip.model import Clip


class ServedDataset:
    """A dataset's searcher, and what is looked up besides."""

    def __init__(self, name: str, dataset: Dataset, encoder: Encoder) -> None:
        """Open it. Raises `UserError` if it has no index, or a broken one."""
        self.name, self.dataset, self.encoder = name, dataset, encoder
        self.searcher = Searcher(dataset)
        self.searcher.visible.evaluate = not_here
        self.map = LazyMap(lambda: made_of(self.searcher))
        self.stage_columns = StageColumns(dataset)
        self.values = ColumnValues(self.searcher)
        model = model_of(dataset)
        self.model, self.weights = str(model["model"]), str(model["weights"])
        self.version = str(self.searcher.version)
        self._info: tuple[object, Info] | None = None

    def __len__(self) -> int:
        return len(self.searcher)

    @property
    def dimension(self) -> int:
        """Of its vectors."""
        return self.searcher.dimension

    def position(self, key: str) -> int:
        """The position of a key. Raises `Refused` (404) for one that is unknown or removed."""
        (at,) = self.searcher.positions([id_of(key)]).tolist()
        if at < 0 or self.searcher.rows.row(at)["key"] != key:
            raise Refused(404, f"{self.name} has no row {key!r}")
        return int(at)

    def row(self, key: str) -> Hit:
        """The row of a key. Raises as `position` does."""
        return self.searcher.hit(self.position(key))

    def cluster(self, key: str) -> list[Hit]:
        """The rows of a key's cluster of duplicates, its own first. Raises as `position` does."""
        at = self.position(key)
        others = [place for place in self.searcher.visible.cluster(at).tolist() if place != at]
        return self.hits(np.array([at, *others]))

    def hits(self, positions: Positions) -> list[Hit]:
        """The rows at positions."""
        return self.searcher.hits(Ranked(positions, np.ones(len(positions), np.float32)))

    def allowed(self, view: View) -> Positions | None:
        """The positions of rows that may be found; None: all."""
        mask = self.searcher.visible.mask(view)
        return None if mask is None else np.flatnonzero(mask)

    def copies(self, keys: Sequence[str]) -> list[int]:
        """For rows that were not removed: how many others are duplicates of each."""
        positions = self.searcher.places.of([id_of(key) for key in keys])
        found: list[int] = self.searcher.visible.copies(positions).tolist()
        return found

    def vector_of(self, key: str) -> NDArray[np.float32]:
        """The image's vector of a key, (D,), unit length."""
        (vector,) = self.searcher.vectors(np.array([self.position(key)]))
        return np.asarray(vector / np.linalg.norm(vector), np.float32)

    def filters(self) -> dict[str, bool]:
        """Which filters have data to filter by."""
        there = self.columns
        return {
            "safe": "punsafe" in there or "keep" in there,
            "verdicts": "keep" in there,
            "duplicates": "cluster" in there,
        }

    def info(self) -> Info:
        """The dataset's rows counted, once for every state of its files and removals."""
        version = self.searcher.visible.version_of("")
        if self._info is None or self._info[0] != version:
            self._info = version, info(self.dataset)
        return self._info[1]

    @cached_property
    def columns(self) -> dict[str, str]:
        """Name -> DuckDB type of what a condition may name."""
        with Catalog(self.dataset) as catalog:
            return {**catalog.columns(), "domain": "VARCHAR"}  # worked out where it is named

    @cached_property
    def hit_columns(self) -> list[str]:
        """The columns that a row of an answer may have, besides those of the answer itself."""
        own = told_apart(self.searcher.column_names, ANSWERED)
        shards = self.dataset.shards("download")
        return [*own.values(), *self.stage_columns.names(shards[:1] + shards[-1:])]

    def all_keys(self, positions: Positions | None) -> pa.Array:
        """The keys of rows at positions; None: all rows."""
        import pyarrow as pa

        keys = self.searcher.rows.keys()
        found = keys if positions is None else keys.take(pa.array(positions))
        return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found

    def keys(self, positions: Sequence[int]) -> list[str]:
        """The keys of rows at positions."""
        rows = self.searcher.rows.take(np.asarray(positions, np.int64), ["key"])
        return [str(row["key"]) for row in rows]


class FolderSource(ServedSource):
    """A dataset's folder.

    Its index.json, which a build publishes last, and dataset.json, which every stage writes at its
    end, say whether there is a new version.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.root = dataset.root

    @property
    def name(self) -> str:
        """The dataset's own name, else its folder's."""
        return self.dataset.manifest().name or Path(self.root.rstrip("/")).name

    @property
    def weights(self) -> str:
        """The digest of the model that made the vectors."""
        return str(model_of(self.dataset)["weights"])

    def stamp(self) -> object:
        """Changes when the index does, or a stage's results."""
        return tuple(self._stamp(relative) for relative in (JSON, MANIFEST))

    def load_clip(self) -> Clip:
        """The model that made the vectors."""
        return clip_of(self.dataset)

    def open(self, name: str, encoder: Encoder) -> ServedDataset:
        """The version of now, open."""
        return ServedDataset(name, self.dataset, encoder)

    def close(self) -> None:
        """Nothing is held."""

    def _stamp(self, relative: str) -> object:
        dataset = self.dataset
        if not dataset.local:
            if not dataset.exists(relative):
                return None
            info = dataset.fs.info(dataset.path(relative))
            return info.get("ETag") or (info.get("size"), str(info.get("LastModified")))
        try:
            found = os.stat(dataset.path(relative))
        except FileNotFoundError:
            return None
        return (found.st_ino, found.st_mtime_ns, found.st_size)
