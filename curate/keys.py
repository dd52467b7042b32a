"""Keys: a row's only identity between stages, made of its shard's name and its place there.

img2dataset's tools choose the number of digits: our shards have names of five digits and rows of
four, an adopted folder of a thousand rows per shard has rows of three. A key tells its shard by its
beginning; shards' names are of one length, as img2dataset and we write them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from frenchcat.curate.dataset import Dataset

ROW_DIGITS = 4


def key_of(shard: str, row: int) -> str:
    """The key of a row of a shard that we write."""
    return f"{shard}{row:0{ROW_DIGITS}d}"


def row_of(key: str) -> int:
    """The row of a key that we wrote."""
    return int(key[-ROW_DIGITS:])


def shard_of(dataset: Dataset, key: str) -> str | None:
    """The shard of a key, of any number of row digits; None for a key of none."""
    shards = dataset.shards("download")
    name = key[: len(shards[0])] if shards else ""
    return name if name in shards else None


def by_shard(dataset: Dataset, keys: Iterable[str]) -> dict[str, set[str]]:
    """Keys by their shard, whose name they begin with; rows' digits are a tool's own choice.

    Shards' names are of one length, as img2dataset and we write them.
    """
    shards = dataset.shards("download")
    width = len(shards[0]) if shards else 0
    found: dict[str, set[str]] = {}
    for key in keys:
        found.setdefault(key[:width], set()).add(key)
    return found
