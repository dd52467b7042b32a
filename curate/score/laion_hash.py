"""`hash`: LAION's number for a row, by which its lists of scores are joined.

Reads URL and caption. As LAION made it (cc2dataset, LAION-5B's metadata): the first, signed 64-bit
half of the 128-bit MurmurHash3 (x64, seed 0) of URL and caption joined, in UTF-8.
It names the text, not the image.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from frenchcat.curate.score.kinds import Column, Columns

if TYPE_CHECKING:
    import pyarrow as pa


class LaionHash:
    """The score."""

    name = "hash"
    version = 1
    columns = (Column("hash", "int64", "LAION's number of URL and caption", charted=False),)

    def settings(self) -> Mapping[str, Any]:
        """It depends on the row alone."""
        return {}

    def of_rows(self, rows: pa.Table) -> Columns:
        """A missing URL or caption counts as an empty one."""
        pairs = zip(rows["url"].to_pylist(), rows["caption"].to_pylist(), strict=True)
        return {"hash": [laion_hash(url or "", caption or "") for url, caption in pairs]}


def laion_hash(url: str, caption: str) -> int:
    """Signed 64-bit hash of a URL and its caption."""
    import mmh3

    text = (url + caption).encode("utf-8", errors="surrogatepass")
    return int(mmh3.hash64(text)[0])
