"""The log of removal requests: ``removals/000001.json``, one file per request, never changed.

A request keeps what its rows were as hashes (of URL, uid, bytes), so that the log itself brings
nothing back: no URL, caption or image is in it, but for a domain, which is the request. Readers
ask `removed_keys`, which is quick: the files are few and small, and cached by name. A later crawl
leaves out the rows that the log names by URL, uid or domain before it asks for anything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.curate.keys import by_shard
from frenchcat.curate.urls import canonical_url, domain_of, host_of, plain_host

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER = "removals"


@dataclass(frozen=True)
class Request:
    """One request, as it is logged."""

    number: int
    by: str  # url, domain, sha256, uid, key, like, undo
    time: str  # ISO 8601, UTC, when it was made
    note: str = ""
    keys: tuple[str, ...] = ()
    url_hashes: tuple[str, ...] = ()  # SHA-256 of the canonical URL
    uid_hashes: tuple[str, ...] = ()
    sha256: tuple[str, ...] = ()  # of original and of stored bytes
    pdq: tuple[str, ...] = ()
    vectors: tuple[str, ...] = ()  # SHA-256 of the float16 rows, see residue.py
    domains: tuple[str, ...] = ()
    undoes: int | None = None  # the number of a request that does not count any more

    def as_json(self) -> dict[str, Any]:
        """The file's value."""
        value = {name: getattr(self, name) for name in self.__dataclass_fields__}
        if self.undoes is None:
            del value["undoes"]  # only a request that undoes another has it
        return value


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


def check_clock(dataset: Dataset, now: datetime) -> None:
    """Raise `UserError` if a request was logged later than `now`: a clock is wrong."""
    for request in removed(dataset).requests:
        if datetime.fromisoformat(request.time) > now:
            raise UserError(
                f"this machine's clock says {now:%Y-%m-%d %H:%M} UTC, but removal "
                f"{request.number} of {dataset.root} was logged at {request.time}; set the clock"
            )


def hash_of(text: str) -> str:
    """How the log keeps a URL or a uid: SHA-256, hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def url_hash(url: str) -> str:
    """The hash of a URL's canonical form, so that another spelling is the same."""
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


@lru_cache(64)
def _read(dataset: Dataset, names: tuple[str, ...]) -> Removed:
    # A request is never changed, so its name says all.
    requests = [_parsed(dataset.read_json(f"{FOLDER}/{name}")) for name in names]
    return together(requests)


def together(requests: Iterable[Request]) -> Removed:
    """The union of requests, but for those that a later one undoes."""
    found = tuple(requests)
    undone = {r.undoes for r in found}
    counted = [r for r in found if r.number not in undone]
    fields = ("keys", "url_hashes", "uid_hashes", "sha256", "pdq", "vectors", "domains")
    unions = {name: frozenset(v for r in counted for v in getattr(r, name)) for name in fields}
    unions["domains"] = frozenset(map(plain_host, unions["domains"]))  # as any log spells them
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


# -- what a later crawl leaves out -----------------------------------------------------------------


def without_removed(rows: pa.Table, gone: Removed) -> pa.Table:
    """A part of a list (columns uid and url) without what was removed."""
    listed = rows.select(["uid", "url"]).to_pylist()
    keep = [not _blocked(row["uid"], row["url"], gone) for row in listed]
    return rows if all(keep) else rows.filter(np.array(keep, bool))


def blocked_keys(rows: pa.Table, gone: Removed) -> list[str]:
    """Of rows with the columns key, uid and url, those that were removed."""
    return [
        row["key"] for row in rows.to_pylist() if _blocked(row.get("uid"), row.get("url"), gone)
    ]


def emptied(rows: pa.Table, gone: Removed) -> pa.Table:
    """A frozen list with nothing in the rows that were removed, as compaction leaves them."""
    import pyarrow as pa

    if not gone:
        return rows
    listed = rows.to_pylist()
    keep = [not _blocked(row["uid"], row["url"], gone) for row in listed]
    if all(keep):
        return rows
    nothing = dict.fromkeys(rows.column_names)
    left = [row if kept else nothing for row, kept in zip(listed, keep, strict=True)]
    return pa.Table.from_pylist(left, schema=rows.schema)


def _blocked(uid: str | None, url: str | None, gone: Removed) -> bool:
    if uid and hash_of(uid) in gone.uid_hashes:
        return True
    if not url:
        return False
    if gone.domains and not gone.domains.isdisjoint((domain_of(url), host_of(url))):
        return True
    return url_hash(url) in gone.url_hashes
