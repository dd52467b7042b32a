"""The stage `download`: what a shard depends on, and what works on the shards of one process.

Reads frozen rows (lists.py) and the web, writes ``shards/`` and ``rights/`` of a dataset. A shard
is made again only if its rows, the resize or the rights settings or the hash lists changed. The
settings of the fetch (limits, deadlines, caps) do not matter: they decide which rows fail, and
`retry_failed` requests failed rows again, so a longer deadline does not repeat the whole crawl.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from frenchcat.curate.config import as_dict, changed
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.download import lists
from frenchcat.curate.download.block import Block, guarded
from frenchcat.curate.download.download_settings import DownloadSettings
from frenchcat.curate.download.pictures import ImageProcessor
from frenchcat.curate.download.retry import Retry
from frenchcat.curate.download.settings import FetchSettings
from frenchcat.curate.markers import Inputs, Signature, counts_of, output_sha256
from frenchcat.curate.stage import ShardFunction

STAGE = "download"
VERSION = 1
_USUAL_PX = 1024  # most images on the web are not much larger


@dataclass(frozen=True)
class DownloadStage:
    """The stage `download`; with `again`, only failed rows of finished shards."""

    download: DownloadSettings
    sharers: int | None = 1
    block: Block = field(default_factory=Block)
    again: Retry | None = None

    in_process: bool = False

    @property
    def signature(self) -> Signature:
        """What a stored image depends on, and whether it is stored."""
        resize, rights = as_dict(self.download.resize), as_dict(self.download.rights)
        settings: dict[str, Any] = {"resize": resize, "rights": rights, "block": self.block.digest}
        # Older datasets were made without a word of these.
        if not self.download.verify_hashes:
            settings["verify_hashes"] = False
        if self.download.decode_margin is not None:
            settings["decode_margin"] = self.download.decode_margin
        return Signature(STAGE, VERSION, settings)

    def inputs(self, dataset: Dataset, shard: str) -> Inputs:
        """The frozen rows."""
        return {"rows": output_sha256(dataset, lists.STAGE, shard, lists.relative(shard))}

    def output_bytes(self, dataset: Dataset, shard: str) -> float:
        """Half a bit per pixel and row: small, as half of a list may be unavailable."""
        if self.again:
            return 0.0
        rows = counts_of(dataset, lists.STAGE, shard).get("rows", 0)
        return rows * min(self.download.resize.image_size, _USUAL_PX) ** 2 / 16

    @contextlib.contextmanager
    def start(self, dataset: Dataset) -> Iterator[ShardFunction]:
        """One fetcher and a few resizing threads for all the shards of a process."""
        from anyio.from_thread import start_blocking_portal

        from frenchcat.curate.download.fetch import Fetcher
        from frenchcat.curate.download.shard_worker import ShardWorker

        sharers = self.sharers or _ray_cores()
        fetch = shared(self.download.fetch, sharers)
        threads = self.download.threads or max(1, -(-(os.cpu_count() or 1) // sharers))
        processor = ImageProcessor(
            self.download.resize, fetch.max_pixels, self.download.decode_margin
        )
        process = guarded(processor, self.block)
        with ThreadPoolExecutor(threads, "resize") as pool, start_blocking_portal() as portal:
            asking = Fetcher(fetch, rights=self.download.rights)
            with portal.wrap_async_context_manager(asking) as fetcher:
                yield ShardWorker(
                    dataset, self.download, self.again, portal, fetcher, pool, 2 * threads, process
                ).work


def shared(fetch: FetchSettings, sharers: int) -> FetchSettings:
    """One process's share of the limits; at least one connection."""
    rate = fetch.requests_per_sec_per_host
    return changed(
        fetch,
        connections=max(1, fetch.connections // sharers),
        connections_per_host=max(1, fetch.connections_per_host // sharers),
        requests_per_sec_per_host=None if rate is None else rate / sharers,
    )


def _ray_cores() -> int:
    import ray

    return max(1, int(ray.cluster_resources().get("CPU", 1)))  # type: ignore[no-untyped-call]
