"""The result of a search: a ranking of rows, and the rows themselves. Reads and writes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.list_names import PLACE

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Hit:
    """A row that was found, and its similarity."""

    key: str
    similarity: float  # cosine to the query, -1 to 1; to its caption: the score caption_similarity
    url: str | None
    caption: str | None
    columns: dict[str, Any] = field(default_factory=dict)
    """The other columns of the list and the sidecar, named as in a condition (list_names.py)."""
    id: int = 0
    shard: str = ""
    extension: str = ""
    offset: int = 0  # of the image's bytes in the shard's tar
    size: int = 0  # bytes; 0 if the dataset has no image of it (adopted without)

    def as_dict(self) -> dict[str, Any]:
        """Key, similarity to the query, url, caption and the other columns, ready for JSON."""
        first = {"key": self.key, "similarity": round(self.similarity, 6)}
        return {**first, "url": self.url, "caption": self.caption, **self.columns}


@dataclass(frozen=True)
class Ranked:
    """Rows found, nearest first: positions in this searcher, and cosines."""

    positions: Positions  # (n,)
    similarities: NDArray[np.float32]  # (n,)

    def __len__(self) -> int:
        return len(self.positions)

    def at_least(self, similarity: float | None) -> Ranked:
        """The rows whose cosine is at least this; None: all rows."""
        if similarity is None:
            return self
        near = self.similarities >= similarity
        return Ranked(self.positions[near], self.similarities[near])


def hit_of(row: dict[str, Any], similarity: float, names: Mapping[str, str]) -> Hit:
    """A row of rows.py as a hit; `names` gives its columns' names."""
    place = {name: row.pop(name) for name in PLACE}
    first = {name: row.pop(name, None) for name in ("url", "caption")}
    columns = {names[name]: value for name, value in row.items()}
    cosine = max(-1.0, min(similarity, 1.0))  # of float32 vectors it may come out as 1.0000001
    return Hit(similarity=cosine, columns=columns, **place, **first)
