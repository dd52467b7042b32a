"""Why rows have no image, and what to do: which settings refused them, and the cures.

Reads dataset.json, and for examples the sidecars; writes nothing. A row that a setting of the fetch
refused is requested again when that setting allows more than before: a stored image does not depend
on the limits (stage.py), so nothing else would request it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from frenchcat.curate import sidecar
from frenchcat.curate.command_text import shell_command
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.download.settings import FetchSettings
from frenchcat.curate.errors import NothingDownloaded
from frenchcat.curate.failures import REASON
from frenchcat.curate.reasons import FailureReason, FetchFailure
from frenchcat.curate.urls import parse_url

REFUSED_BY: Mapping[str, str] = {
    FailureReason.ADDRESS_REFUSED: "allow_hosts",
    FailureReason.PORT_REFUSED: "allow_hosts",
    FailureReason.BODY_TOO_LARGE: "max_body_bytes",
    FailureReason.TOO_MANY_PIXELS: "max_pixels",
    FailureReason.TOO_MANY_REDIRECTS: "max_redirects",
    FailureReason.DEADLINE: "deadline_sec",
    FailureReason.CONNECT_FAILED: "connect_timeout_sec",
    FailureReason.TLS_FAILED: "verify_tls",
    FailureReason.HOST_GIVEN_UP: "max_host_failures",
}
"""Reason -> the setting of the fetch that makes rows fail with it."""
_NETWORK = "check the network of this machine (frenchcat connects directly, not through a proxy)"
_LINKS = "the list's URLs are dead or wrong; check some of them in a browser"
_COLUMN = "check which column has the images' URLs: --set download.url_column=NAME"
_LIMITED = (
    "the sites refuse or limit crawlers; send fewer requests: "
    "--set download.fetch.requests_per_sec_per_host=1"
)
_CURES: Mapping[str, str] = {
    "address_refused": "hosts of private addresses have to be allowed, if you trust them: {hosts}",
    "port_refused": "hosts at such ports have to be allowed, if you trust them: {hosts}",
    "dns_failed": _NETWORK,
    "connect_failed": _NETWORK,
    "connection_lost": _NETWORK,
    "host_given_up": _NETWORK,
    "deadline": f"{_NETWORK}, or allow more time: --set download.fetch.deadline_sec=120",
    "tls_failed": "check the clock and the certificates of this machine, or, if you accept that "
    "images may be replaced on the way: --set download.fetch.verify_tls=false",
    "body_too_large": "allow more bytes: --set download.fetch.max_body_bytes=268435456",
    "too_many_pixels": "allow more pixels: --set download.fetch.max_pixels=400000000",
    "too_many_redirects": "allow more: --set download.fetch.max_redirects=10",
    "http_401": _LIMITED,
    "http_403": _LIMITED,
    "http_429": _LIMITED,
    "http_404": _LINKS,
    "http_410": _LINKS,
    "no_url": _COLUMN,
    "bad_url": _COLUMN,
    "scheme_refused": _COLUMN,
    "not_an_image": f"the URLs do not lead to images; {_COLUMN}",
    "opted_out": "the sites or files forbid this use, which is respected; see docs/rights.md",
    "hash_mismatch": "the URLs answer with other images than the list's hashes name; if you want "
    "those: --set download.verify_hashes=false",
    "too_small": "allow smaller images: --set download.resize.min_image_size=0",
    "aspect_ratio": "allow longer images: --set download.resize.max_aspect_ratio=none",
}
_MOST_HOSTS = 3  # that are named


@dataclass(frozen=True)
class Failures:
    """How many rows of a dataset have no image, by the name of the failure; most common first."""

    downloaded: int
    names: Mapping[str, int]

    @property
    def failed(self) -> int:
        """Rows without an image."""
        return sum(self.names.values())


def failures_of(dataset: Dataset) -> Failures:
    """The failures, as counted by the last complete download or compaction."""
    counts = dataset.manifest().entry("download").counts
    names = Counter(
        {
            name.removeprefix("failed."): number
            for name, number in counts.items()
            if name.startswith("failed.")
        }
    )
    return Failures(counts.get("downloaded", 0), dict(names.most_common()))


def refused_before(before: FetchSettings, now: FetchSettings) -> frozenset[str]:
    """The reasons for which rows failed under `before`, and may not under `now`."""
    return frozenset(
        reason
        for reason, name in REFUSED_BY.items()
        if _allows_more(getattr(before, name), getattr(now, name))
    )


def _allows_more(before: Any, now: Any) -> bool:
    if isinstance(now, tuple):
        return not set(now) <= set(before)
    if isinstance(now, bool):
        return bool(before and not now)  # verify_tls
    return before is not None and (now is None or now > before)


def require_downloaded(dataset: Dataset) -> None:
    """Raise `NothingDownloaded` if every row of a dataset failed, with the commonest reason and its
    cure.

    Does nothing for a dataset without rows, or whose rows were all removed: later stages report it.
    """
    found = failures_of(dataset)
    if found.downloaded or not found.failed:
        return
    name, number = next(iter(found.names.items()))
    every = shell_command("download", "--retry-failed", "--all", "--out", dataset.root)
    of = f"all {found.failed}" if number == found.failed else f"{number} of {found.failed}"
    raise NothingDownloaded(
        f"{dataset.root}: no row was downloaded; {of} failed as {name}: {cure_of(dataset, name)}. "
        "Then run the same command again; it asks again for what may pass now, and "
        f"{every} for every row"
    )


def cure_of(dataset: Dataset, name: str) -> str:
    """What to do about rows with this failure, in one sentence."""
    reason = name.split(":")[0]
    text = _CURES.get(reason, f"see {shell_command('info', dataset.root)} and docs/build.md")
    return text.format(hosts=_allowing(dataset, reason)) if "{hosts}" in text else text


def _allowing(dataset: Dataset, reason: str) -> str:
    """The options that allow the hosts of the first rows that were refused."""
    hosts: dict[str, None] = {}
    for shard in dataset.shards("download"):
        rows = sidecar.read(dataset, shard, ["url"]).to_pylist()
        for url in (row["url"] for row in rows if row[REASON] == reason):
            try:
                found = parse_url(url)
            except FetchFailure:
                continue
            host = f"[{found.host}]" if ":" in found.host else found.host
            hosts[f"{host}:{found.port}"] = None
            if len(hosts) > _MOST_HOSTS:
                break
        if hosts:
            break
    options = [f"--allow-host {host}" for host in list(hosts)[:_MOST_HOSTS]]
    return " ".join(options) + (" …" if len(hosts) > _MOST_HOSTS else "")
