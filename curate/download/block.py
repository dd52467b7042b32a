"""Images that are not stored, because a hash is in a user's lists or they were removed before.

Reads the hash lists once, before anything is fetched; checks each image after resizing, in its
fetched and its stored bytes. A shard depends on a digest of the lists: neither paths nor the hashes
themselves get into the dataset.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from frenchcat.curate.dataset import Dataset, digest_of
from frenchcat.curate.download.pictures import StoredImage, Unfit
from frenchcat.curate.hash_lists import HashList, read_hash_lists, with_removed
from frenchcat.curate.removals import removed

BLOCKED = frozenset({"blocked_md5", "blocked_sha256", "blocked_pdq"})
"""The reasons, by kind of listed hash."""


@dataclass(frozen=True)
class Block:
    """What must not be stored; `digest` identifies the user's lists, None without any."""

    lists: HashList = field(default_factory=HashList)
    digest: str | None = None


def read_block(dataset: Dataset, paths: tuple[str, ...]) -> Block:
    """The hashes of a user's lists and of the dataset's removals.

    Raises `UserError` for a list that is missing or has a line that is not a hash.
    """
    listed = read_hash_lists(paths)
    named = {kind: sorted(getattr(listed, kind)) for kind in ("md5", "sha256", "pdq")}
    return Block(with_removed(listed, removed(dataset)), digest_of(named) if listed else None)


def guarded(
    process: Callable[[bytes, str], StoredImage], block: Block
) -> Callable[..., StoredImage]:
    """`process`, but raises `Unfit` for a listed image."""
    if not block.lists:
        return process

    def processed(body: bytes, kind: str) -> StoredImage:
        picture = process(body, kind)
        if found := block.lists.holds(body, picture.data):
            raise Unfit(f"blocked_{found}")
        return picture

    return processed
