"""One part of an index, open: rows of some shards, searched with exact similarities.

Reads ``index/{image,text}-<part>.index`` and, if the faiss codes are not the numbers themselves,
the stored embeddings: candidates found by the codes are compared again, exactly. As many rows are
returned as exist, whatever the index: if a filter leaves few rows, all of these are compared; if
the index finds too few, it is searched more widely, and finally everything is compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.command_text import shell_command
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import Damaged
from frenchcat.index import kinds
from frenchcat.index.rows import IndexRows
from frenchcat.index.vectors import BLOCK, StoredVectors, Vectors

Positions = NDArray[np.int64]
Mask = NDArray[np.bool_]
FEW = 10_000
"""If a filter leaves at most so many rows, comparing all is faster than scanning codes."""


@dataclass(frozen=True)
class PartEntry:
    """A part's entry in index.json."""

    name: str
    factory: str
    exact: bool
    rerank: int | None  # candidates compared exactly, beyond k; None: the index is exact
    probes: int | None  # lists searched; None: there are none
    rows: int
    shards: Mapping[str, Mapping[str, Any]]  # shard -> digest, rows
    files: Mapping[str, Mapping[str, Any]]  # relative -> bytes, sha256
    measured: Mapping[str, Any]

    def index_file(self, modality: str) -> str:
        """The path of a modality's faiss index."""
        return f"index/{modality}-{self.name}.index"

    @property
    def rows_file(self) -> str:
        """The path of the rows."""
        return f"index/rows-{self.name}.arrow"


class IndexPart:
    """One modality of a part."""

    def __init__(self, dataset: Dataset, entry: PartEntry, modality: str, dimension: int) -> None:
        """Open it. Raises `Damaged` if its files do not fit, FileNotFoundError if one is gone."""
        self.entry, self._dataset, self._modality = entry, dataset, modality
        self._dimension, self._lock = dimension, Lock()
        name = entry.index_file(modality)
        try:
            with dataset.as_local(name) as path:
                if not path.exists():
                    raise FileNotFoundError(path)
                self.index = kinds.read_index(path)
        except RuntimeError:
            raise Damaged(
                f"{dataset.path(name)} cannot be read; run: {shell_command('index', dataset.root)}"
            ) from None
        if (self.index.ntotal, self.index.d) != (entry.rows, dimension):
            raise Damaged(
                f"{dataset.path(name)} has {self.index.ntotal} rows of {self.index.d}, but "
                f"index.json says {entry.rows} of {dimension}; delete {dataset.path('index')} and "
                f"run: {shell_command('index', dataset.root)}"
            )
        if not entry.exact:
            _ = self.stored

    def __len__(self) -> int:
        return self.entry.rows

    @cached_property
    def stored(self) -> StoredVectors:
        """The embeddings on disk."""
        shards = {shard: int(said["rows"]) for shard, said in self.entry.shards.items()}
        return StoredVectors(self._dataset, self._modality, shards, self._dimension)

    def vectors(self, positions: Positions) -> Vectors:
        """(n, D) float32: the stored vectors at positions."""
        if self.entry.exact:
            wanted = np.ascontiguousarray(positions, np.int64)
            return np.asarray(self.index.reconstruct_batch(wanted), np.float32)
        return self.stored.gather(positions)

    def search(self, vector: Vectors, k: int, allowed: Mask | None) -> tuple[Vectors, Positions]:
        """The k nearest of the allowed rows: (n,) cosines, descending, and positions.

        n is k, or the number of allowed rows if that is less.
        """
        count = len(self) if allowed is None else int(np.count_nonzero(allowed))
        k = min(k, count)
        if k < 1:
            return np.empty(0, np.float32), np.empty(0, np.int64)
        if not self.entry.exact and allowed is not None and count <= max(FEW, k):
            return self.compared(vector, np.flatnonzero(allowed), k)
        bits = None if allowed is None else np.packbits(allowed, bitorder="little")
        wanted = k if self.entry.exact else min(count, k + max(self.entry.rerank or 0, k))
        for probes in self._probes():
            similarities, positions = kinds.search(self.index, vector, wanted, bits, probes)
            if len(positions) >= k:
                if self.entry.exact:
                    return similarities, positions
                return self.compared(vector, positions, k)
        everything = np.arange(len(self)) if allowed is None else np.flatnonzero(allowed)
        return self.compared(vector, everything, k)

    def compared(self, vector: Vectors, positions: Positions, k: int) -> tuple[Vectors, Positions]:
        """The k nearest of these rows by their stored numbers; equal rows in order of position."""
        positions = np.sort(positions)
        parts = [
            self.vectors(positions[start : start + BLOCK]) @ vector
            for start in range(0, len(positions), BLOCK)
        ]
        similarities = np.concatenate(parts)
        best = np.argsort(-similarities, kind="stable")[:k]
        return similarities[best], positions[best]

    def _probes(self) -> list[int | None]:
        """How widely to search: as tuned, then eight times as wide, then everything."""
        if self.entry.probes is None:
            return [None]
        lists = int(getattr(self.index, "nlist", 1))
        wider = (self.entry.probes, 8 * self.entry.probes, lists)
        return list(dict.fromkeys(min(probes, lists) for probes in wider))


def open_rows(dataset: Dataset, listed: Sequence[PartEntry]) -> IndexRows:
    """The rows of all parts, mapped: they stay readable when a temporary copy is unlinked."""
    batches, count = [], 0
    for entry in listed:
        with dataset.as_local(entry.rows_file) as path:
            rows = _mapped_rows(dataset, entry, path)
        if rows.count != entry.rows:
            raise Damaged(
                f"{dataset.path(entry.rows_file)} has {rows.count} rows, but index.json says "
                f"{entry.rows}; delete {dataset.path('index')} and run: "
                f"{shell_command('index', dataset.root)}"
            )
        batches += rows.batches
        count += rows.count
    starts = np.cumsum([0] + [batch.num_rows for batch in batches])
    return IndexRows(batches, starts[:-1].tolist(), count)


def _mapped_rows(dataset: Dataset, entry: PartEntry, path: Path) -> IndexRows:
    import pyarrow as pa

    try:
        return IndexRows.open(path)
    except pa.ArrowInvalid:
        raise Damaged(
            f"{dataset.path(entry.rows_file)} cannot be read; run: "
            f"{shell_command('index', dataset.root)}"
        ) from None
