"""A removal request carried out: matched, logged, and from then on absent.

Writes one file of the log. Search, selections, exports and verdicts read the log, so the rows are
gone from them at once; `compact` takes the bytes away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from frenchcat.curate.catalog import Catalog
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.curate.removals import (
    Removed,
    Request,
    blocked_keys,
    hash_of,
    log,
    next_number,
    together,
    url_hash,
)
from frenchcat.curate.remove.match import Match, RemovalQuery, named_domain, vector_hashes
from frenchcat.curate.vector_stores.published import delete_published


def remove(
    dataset: Dataset, query: RemovalQuery, found: Sequence[Match], note: str = ""
) -> Request:
    """Log the removal of the rows `found` for a query (see `matches`); the lock is held.

    What was asked for is blocked for later crawls too, whether or not a row matched, and rows that
    failed go with it: they have no image, but an address and a caption. Rows are deleted wherever
    the dataset was published, too. Raises `UserError` where there is neither a row nor anything to
    block, and `Unreachable`, with the request logged, where a database does not answer.
    """
    value = query.value.strip()
    urls = [match.url for match in found if match.url]
    uids = [str(match.columns["uid"]) for match in found if match.columns.get("uid")]
    digests = {
        str(match.columns[name])
        for match in found
        for name in ("sha256", "stored_sha256")
        if match.columns.get(name)
    }
    domains: tuple[str, ...] = ()
    if query.by == "url":
        urls.append(value)
    elif query.by == "uid":
        uids.append(value)
    elif query.by == "sha256":
        digests.add(value.lower())
    elif query.by == "domain":
        domains = (named_domain(value),)
    elif not found:
        raise UserError(f"no row of {dataset.root} matches --{query.by} {value}")
    request = Request(
        number=next_number(dataset),
        by=query.by,
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        note=note,
        keys=tuple(sorted(match.key for match in found)),
        url_hashes=tuple(sorted({url_hash(url) for url in urls})),
        uid_hashes=tuple(sorted({hash_of(uid) for uid in uids})),
        sha256=tuple(sorted(digests)),
        pdq=tuple(sorted({str(m.columns["pdq"]) for m in found if m.columns.get("pdq")})),
        vectors=tuple(sorted(set(vector_hashes(dataset, {match.key for match in found})))),
        domains=domains,
    )
    keys = {*request.keys, *_failed(dataset, together([request]))}
    request = replace(request, keys=tuple(sorted(keys)))
    log(dataset, request)
    delete_published(dataset, request.keys, request.number)
    return request


def _failed(dataset: Dataset, gone: Removed) -> list[str]:
    """The keys of rows without an image that a later crawl would have to leave out."""
    if not dataset.shards("download"):
        return []
    with Catalog(dataset) as catalog:
        there = catalog.columns()
        names = [name for name in ("key", "uid", "url") if name in there]
        table = catalog.table(names, "status IS DISTINCT FROM 'success'", view="rows")
    return blocked_keys(table, gone)
