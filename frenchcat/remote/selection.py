"""A frozen selection of a served dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from frenchcat.remote.messages import table_of

if TYPE_CHECKING:
    import pyarrow as pa

    from frenchcat.connected import RemoteDataset


class RemoteSelection:
    """Frozen rows of a served dataset; `RemoteDataset.select` and `.selection` give it."""

    def __init__(
        self, dataset: RemoteDataset, about: Mapping[str, Any], fetch: Callable[[str], bytes]
    ) -> None:
        """`about` is what the service says of it; `fetch` gets a path of the dataset's."""
        self.dataset, self._about, self._fetch = dataset, about, fetch

    def __repr__(self) -> str:
        return f"{self.dataset!r}.selection({self.name!r})"

    def __len__(self) -> int:
        return int(self._about["rows"])

    @property
    def name(self) -> str:
        """The selection's name."""
        return str(self._about["name"])

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of its keys, captions, image digests and weights."""
        return str(self._about["digest"])

    @property
    def sql(self) -> str:
        """The query that chose the rows."""
        return str(self._about["sql"])

    @property
    def rows(self) -> pa.Table:
        """Key, shard, offset and size in the shard's tar, caption, url, weight and more.

        As they are now: a removal takes rows out.
        """
        path = f"/selections/{quote(self.name, safe='')}/rows?format=arrow"
        return table_of(self._fetch(path))
