"""What a search gives: a ranking of rows, and the rows themselves.

Reads and writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.index.rows import PLACE

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Hit:
    """One row found, and how near it is."""

    key: str
    similarity: float  # cosine, -1 to 1
    url: str | None
    caption: str | None
    columns: dict[str, Any] = field(default_factory=dict)  # the list's and the sidecar's others
    id: int = 0
    shard: str = ""
    extension: str = ""
    offset: int = 0  # of the picture's bytes in the shard's tar
    size: int = 0  # bytes; 0 where the dataset holds no picture of it (adopted without)

    def as_dict(self) -> dict[str, Any]:
        """Key, similarity, url, caption and the other columns, JSON-able."""
        first = {"key": self.key, "similarity": round(self.similarity, 6)}
        return {**first, "url": self.url, "caption": self.caption, **self.columns}


@dataclass(frozen=True)
class Ranked:
    """Rows found, nearest first: positions in this searcher, and cosines."""

    positions: Positions  # (n,)
    similarities: NDArray[np.float32]  # (n,)

    def __len__(self) -> int:
        return len(self.positions)


def hit_of(row: dict[str, Any], similarity: float) -> Hit:
    """A row of rows.py as a hit."""
    place = {name: row.pop(name) for name in PLACE}
    first = {name: row.pop(name, None) for name in ("url", "caption")}
    return Hit(similarity=similarity, columns=row, **place, **first)
