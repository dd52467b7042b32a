"""What a vector database does for a dataset: rows by shard, deletion, exact-k search, lookups.

A row has an id (index/rows.py), key and shard, the vectors of image and caption, the columns that
conditions and hits name, and four facts that decide whether it is shown: unsafe, dropped, the
cluster of its duplicates and whether dedup keeps it. Rows of one shard appear together.

A search obeys a `RowFilter` inside the database and gives exactly k rows where k may be shown.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.errors import UserError
from frenchcat.curate.vector_stores.address import StoreAddress
from frenchcat.curate.vector_stores.store_errors import publish_command

if TYPE_CHECKING:
    import pyarrow as pa

Ids = NDArray[np.int64]
Vectors = NDArray[np.float32]
FORMAT = 1
PLACE = {
    "id": "BIGINT",
    "key": "VARCHAR",
    "shard": "VARCHAR",
    "extension": "VARCHAR",
    "offset": "BIGINT",
    "size": "BIGINT",
}
"""Columns of every row, and their types by DuckDB's names: where its image lies."""
FACTS = {
    "frenchcat_unsafe": "BOOLEAN",
    "frenchcat_dropped": "BOOLEAN",
    "frenchcat_cluster": "VARCHAR",  # null: no other row is its duplicate
    "frenchcat_stays": "BOOLEAN",
}
"""What decides whether a row is shown (index/visible.py)."""
VECTORS = {"image": "frenchcat_image", "text": "frenchcat_text"}
"""Modality -> the column of its vectors."""
TYPES = frozenset(
    (
        *("BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT"),
        *("UTINYINT", "USMALLINT", "UINTEGER", "FLOAT", "DOUBLE", "VARCHAR"),
    )
)
"""DuckDB types that are published; columns of others are left out, and named."""


@dataclass(frozen=True)
class Contents:
    """What is published at an address, as it is kept there."""

    name: str  # the dataset's
    owner: str  # tells this publication from another dataset's of the same name
    root: str  # the dataset's path or address, where images are read
    dimension: int
    model: str
    weights: str  # their digest
    clip: Mapping[str, Any]  # settings of the model that encodes queries
    columns: Mapping[str, str]  # name -> DuckDB type, beside PLACE and FACTS
    hit_columns: Sequence[str] = ()  # those that a hit has
    stage_columns: Sequence[str] = ()  # those that later stages found
    complete: bool = False
    shards: int = 0  # of the dataset, when it was last published
    search: Mapping[str, Any] = field(default_factory=dict)  # recall, and how it is reached
    format: int = FORMAT

    def as_dict(self) -> dict[str, Any]:
        """The contents, ready for JSON."""
        return asdict(self)

    def changed(self, **values: Any) -> Contents:
        """With other values."""
        return replace(self, **values)


@dataclass(frozen=True)
class RowFilter:
    """Which rows a search may give."""

    where: str | None = None
    safe: bool = True
    dropped: bool = False
    duplicates: bool = False


EVERYTHING = RowFilter(None, False, True, True)


class VectorDatabase(ABC):
    """One dataset's rows in a database; may be used from several threads.

    Every method raises `Unreachable` where the database does not answer.
    """

    longest_text: ClassVar[int | None] = None
    """Bytes of the longest text that is taken; longer ones are cut, and counted."""
    finite_only: ClassVar[bool] = False
    """Whether NaN and infinite numbers are refused; they become null, and are counted."""

    def __init__(self, address: StoreAddress) -> None:
        """Connect. Raises `Unreachable`."""
        self.address = address
        self._contents: Contents | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # -- publishing --------------------------------------------------------------------------------

    @abstractmethod
    def contents(self) -> Contents | None:
        """What is published here; None where nothing is."""

    def is_of(self, owner: str | None) -> bool:
        """Whether what is published here belongs to a dataset: `owner` is its token for here."""
        contents = self.contents()
        return contents is not None and contents.owner == owner

    @abstractmethod
    def takes(self, column: str) -> bool:
        """Whether a column may have this name here."""

    @abstractmethod
    def prepare(self, contents: Contents) -> None:
        """Make what is needed to put rows with these columns, and record the contents.

        Rows that are there stay. Raises `Unwritable` where the user may not.
        """

    @abstractmethod
    def record(self, contents: Contents) -> None:
        """Replace the recorded contents."""

    @abstractmethod
    def shards(self) -> dict[str, str]:
        """Shard -> the digest that `put` was given."""

    @abstractmethod
    def put(self, shard: str, digest: str, rows: pa.Table, vectors: Mapping[str, Vectors]) -> None:
        """Replace a shard's rows. Raises `NoSpace` where the database is full.

        `rows` has the columns of PLACE, FACTS and the contents; `vectors` is by modality, (N, D).
        """

    @abstractmethod
    def drop_shard(self, shard: str) -> None:
        """Delete a shard's rows."""

    @abstractmethod
    def delete(self, keys: Collection[str]) -> int:
        """Delete rows at once; gives the number that there were."""

    @abstractmethod
    def present(self, keys: Collection[str]) -> list[str]:
        """Those of these keys that have a row, sorted."""

    @abstractmethod
    def build_index(self, queries: Mapping[str, Vectors], target: float) -> Mapping[str, Any]:
        """Make searching fast where rows are many; gives `Contents.search`.

        `queries` are by modality, (n, D), to measure recall@10 with, which shall be `target`.
        """

    @abstractmethod
    def clear(self) -> None:
        """Delete everything that was published here."""

    # -- searching ---------------------------------------------------------------------------------

    @abstractmethod
    def check(self, shown: RowFilter) -> None:
        """Raise `BadCondition` for a condition that this database cannot be asked."""

    @abstractmethod
    def nearest(
        self, vector: Vectors, k: int, by: str, shown: RowFilter
    ) -> tuple[Ids, NDArray[np.float32]]:
        """The k nearest rows of those shown: (n,) ids and cosines, descending; n < k if fewer."""

    @abstractmethod
    def among(self, ids: Ids, shown: RowFilter) -> NDArray[np.bool_]:
        """(n,) whether each of these rows is shown."""

    @abstractmethod
    def ids(self, shown: RowFilter, most: int) -> Ids:
        """(n,) the first `most` ids of rows that are shown, ascending."""

    @abstractmethod
    def rows(self, ids: Ids, columns: Sequence[str]) -> list[dict[str, Any] | None]:
        """Each id's columns; None where there is no such row."""

    @abstractmethod
    def vectors(self, ids: Ids, by: str) -> Vectors:
        """(n, D) float32, the vectors of rows that there are, in their order."""

    @abstractmethod
    def count(self) -> int:
        """How many rows there are."""

    @abstractmethod
    def close(self) -> None:
        """End the connections."""

    # -- what databases share ----------------------------------------------------------------------

    def _known(self) -> Contents:
        """What is published here, asked once. Raises `UserError` where nothing is."""
        found = self._contents or self.contents()
        if found is None:
            raise UserError(
                f"nothing is published at {self.address}; first: {publish_command(self.address)}"
            )
        return found

    def _asked_about(self) -> dict[str, str]:
        """Name -> type of the columns that conditions may name."""
        return {"key": "VARCHAR", "shard": "VARCHAR", **self._known().columns}


NO_INDEX: Mapping[str, Any] = {"index": None, "recall@10": 1.0}
"""`Contents.search` where all rows are compared."""
Found = Callable[[Vectors, str, int], NDArray[np.float32]]
"""(query, modality, ef) -> the cosines of the ten rows found by `ef` candidates of an index."""


def width_for_recall(
    queries: Mapping[str, Vectors],
    exact: Mapping[str, Sequence[NDArray[np.float32]]],
    found: Found,
    widths: Sequence[int],
    target: float,
) -> Mapping[str, Any]:
    """`Contents.search` of an HNSW index: the first of `widths` whose recall@10 is `target`.

    `exact` are the cosines of each query's ten nearest rows. The last width is taken where none
    reaches the target.
    """
    recall = 1.0
    for ef in widths:
        shares = [
            np.mean(found(one, by, ef) >= best.min() - 1e-6)
            for by, rows in queries.items()
            for one, best in zip(rows, exact[by], strict=True)
            if len(best)
        ]
        recall = float(np.mean(shares)) if shares else 1.0
        if recall >= target:
            break
    return {"index": "hnsw", "ef": ef, "recall@10": round(recall, 4)}
