"""One shard of a download: its rows are fetched, resized and written, each with one outcome.

Reads a shard's frozen rows and the web, and the shard itself where only its failed rows are
requested again; writes its tar, sidecar, counts and rights. Images wait in a `Spool` on disk, so
memory does not grow with the shard.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.download import lists
from frenchcat.curate.download.columns import IMAGE_BYTES
from frenchcat.curate.download.download_settings import DownloadSettings
from frenchcat.curate.download.expected import Expected
from frenchcat.curate.download.retry import Retry
from frenchcat.curate.failures import OPTED_OUT as REFUSED
from frenchcat.curate.failures import Failure
from frenchcat.curate.keys import key_of
from frenchcat.curate.notices import say_once
from frenchcat.curate.parquets import read_parquet
from frenchcat.curate.removals import emptied, removed
from frenchcat.curate.safe_text import for_terminal
from frenchcat.curate.stage import Output

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from anyio.from_thread import BlockingPortal

    from frenchcat.curate.download.fetch import Fetcher
    from frenchcat.curate.download.fetched import Fetched
    from frenchcat.curate.download.ledger import Ledger
    from frenchcat.curate.download.pictures import StoredImage
    from frenchcat.curate.download.shards import Outcome, Spool


@dataclass(frozen=True)
class ShardWorker:
    """Makes the shards of one process."""

    dataset: Dataset
    settings: DownloadSettings
    again: Retry | None  # only these failed rows; None: all rows
    portal: BlockingPortal
    fetcher: Fetcher
    pool: ThreadPoolExecutor
    in_hand: int  # images at the resizer
    process: Callable[[bytes, str], StoredImage]

    def work(self, shard: str, output: Output) -> Mapping[str, int]:
        """Fetch a shard's rows, or those of its failed ones that are requested again."""
        import pyarrow.parquet as pq

        from frenchcat.curate.download.ledger import Ledger
        from frenchcat.curate.download.shards import Spool, write

        encode_format = self.settings.resize.encode_format
        with (
            self.dataset.as_local(lists.relative(shard)) as path,
            Spool(output.publication.folder) as spool,
        ):
            there = [n for n in pq.read_schema(path).names if n != IMAGE_BYTES]
            rows = emptied(read_parquet(path, columns=there), removed(self.dataset))
            keys = [key_of(shard, row) for row in range(rows.num_rows)]
            ledger = Ledger(self.settings.rights, rows)
            expected = Expected(rows) if self.settings.verify_hashes else None
            for note in expected.notes() if expected is not None else ():
                say_once(for_terminal(f"shard {shard}: {note}"))
            outcomes: dict[int, Outcome] = {}
            if self.again is not None:
                outcomes = self._present(shard, spool, encode_format, self.again)
                ledger.restore(self.dataset, shard, outcomes, keys)
            self._fetch(path, rows, outcomes, spool, output, ledger, expected)
            ordered = [outcomes[row] for row in range(rows.num_rows)]
            counts = write(output, shard, rows, ordered, spool.get, encode_format)
            ledger.write(output, shard, keys)
            return counts

    def _fetch(
        self,
        path: Path,
        rows: pa.Table,
        outcomes: dict[int, Outcome],
        spool: Spool,
        output: Output,
        ledger: Ledger,
        expected: Expected | None,
    ) -> None:
        """Store or fetch the rows that have no outcome; each gets exactly one."""
        from frenchcat.curate.download.given_images import given_images
        from frenchcat.curate.download.shards import SUCCESS, gather, store

        def keep(row: int, outcome: Outcome, data: bytes | None) -> None:
            if row in outcomes:
                raise RuntimeError(f"row {row} came twice")
            outcomes[row] = outcome
            if outcome.status != SUCCESS and outcome.failure_reason != REFUSED:
                ledger.forget(row)
            if data is not None:
                spool.put(row, data)
            output.advance(1)

        def judge(row: int, fetched: Fetched) -> Failure | None:
            refused = ledger.judge(row, fetched)
            if refused or expected is None or fetched.body is None:
                return refused
            return expected.judge(row, fetched.body)

        uids, urls = rows["uid"].to_pylist(), rows["url"].to_pylist()
        # A row that was removed is empty; the frozen list has its image until it is compacted.
        open_rows = [row for row, uid in enumerate(uids) if row not in outcomes and uid]
        images = given_images(path, set(open_rows), self.settings.fetch)
        store(images, self.process, self.pool, self.in_hand, keep, judge)
        asked = [(row, url) for row, url in enumerate(urls) if row not in outcomes]
        parts = (self.fetcher, self.process, self.pool, self.in_hand, asked, keep, judge)
        self.portal.call(gather, *parts)
        if lost := [row for row, _ in asked if row not in outcomes]:
            raise RuntimeError(f"{len(lost)} rows never came back, the first is row {lost[0]}")

    def _present(
        self, shard: str, spool: Spool, encode_format: str, retry: Retry
    ) -> dict[int, Outcome]:
        """The rows that are not requested again, with their images in the spool."""
        from frenchcat.curate.download import shards

        outcomes = {
            row: outcome
            for row, outcome in shards.present(self.dataset, shard).items()
            if outcome.status == shards.SUCCESS or not retry.asks(outcome.name)
        }
        stored = [row for row, outcome in outcomes.items() if outcome.status == shards.SUCCESS]
        for row, data in shards.stored_images(self.dataset, shard, encode_format, stored):
            spool.put(row, data)
        return outcomes
