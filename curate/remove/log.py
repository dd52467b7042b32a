"""The log of removal requests: ``removals/000001.json``, one file a request, never changed.

A request keeps what its rows were as hashes (of URL, uid, bytes), so that the log itself brings
nothing back: no URL, caption or picture is in it, but for a domain, which is the request. Readers
ask `removed_keys`, which is quick: the files are few and small, and cached by name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from frenchcat.curate.dataset import Dataset

FOLDER = "removals"


@dataclass(frozen=True)
class Request:
    """One request, as it is logged."""

    number: int
    by: str  # url, domain, sha256, uid, key, like
    time: str  # ISO 8601, UTC, when it was made
    note: str = ""
    keys: tuple[str, ...] = ()
    url_hashes: tuple[str, ...] = ()  # SHA-256 of the canonical URL
    uid_hashes: tuple[str, ...] = ()
    sha256: tuple[str, ...] = ()  # of original and of stored bytes
    pdq: tuple[str, ...] = ()
    vectors: tuple[str, ...] = ()  # SHA-256 of the float16 rows, see residue.py
    domains: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The file's value."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True)
class Removed:
    """Everything that the requests of a dataset name, together."""

    keys: frozenset[str] = frozenset()
    url_hashes: frozenset[str] = frozenset()
    uid_hashes: frozenset[str] = frozenset()
    sha256: frozenset[str] = frozenset()
    pdq: frozenset[str] = frozenset()
    vectors: frozenset[str] = frozenset()
    domains: frozenset[str] = frozenset()
    requests: tuple[Request, ...] = field(default=(), compare=False)

    def __bool__(self) -> bool:
        return bool(self.requests)


def hash_of(text: str) -> str:
    """How the log keeps a URL or a uid: SHA-256, hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def url_hash(url: str) -> str:
    """The hash of a URL's canonical form, so that another spelling is the same."""
    from frenchcat.curate.urls import canonical_url

    return hash_of(canonical_url(url) or url)


def removed(dataset: Dataset) -> Removed:
    """What was removed so far."""
    names = tuple(name for name in dataset.files(FOLDER) if name.endswith(".json"))
    return _read(dataset, names)


def removed_keys(dataset: Dataset) -> frozenset[str]:
    """The keys that must not be seen any more."""
    return removed(dataset).keys


def removed_by_shard(dataset: Dataset) -> dict[str, set[str]]:
    """Those keys by their shard."""
    return by_shard(dataset, removed_keys(dataset))


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


@lru_cache(64)
def _read(dataset: Dataset, names: tuple[str, ...]) -> Removed:
    # A request is never changed, so its name says all.
    requests = [_parsed(dataset.read_json(f"{FOLDER}/{name}")) for name in names]
    return together(requests)


def together(requests: Iterable[Request]) -> Removed:
    """The union of requests."""
    found = tuple(requests)
    fields = ("keys", "url_hashes", "uid_hashes", "sha256", "pdq", "vectors", "domains")
    unions = {name: frozenset(v for r in found for v in getattr(r, name)) for name in fields}
    return Removed(**unions, requests=found)


def _parsed(value: dict[str, Any]) -> Request:
    fields: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in value.items()}
    return Request(**fields)


def log(dataset: Dataset, request: Request) -> None:
    """Add a request; from here on its rows are absent. The lock is held."""
    dataset.write_json(f"{FOLDER}/{request.number:06d}.json", request.as_json())


def next_number(dataset: Dataset) -> int:
    """The number of the next request."""
    return max((r.number for r in removed(dataset).requests), default=0) + 1
