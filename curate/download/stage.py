"""Download: URL lists -> frozen rows -> shards in img2dataset's layout; failed rows again.

Reads URL lists and the web, writes ``lists/``, ``shards/`` and ``rights/`` of a dataset. A shard is
made again only if its rows, the resize or the rights settings or the hash lists changed. The
settings of the fetch (limits, deadlines, caps) do not matter: they decide which rows fail, and
`retry_failed` requests failed rows again, so a longer deadline does not repeat the whole crawl.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pydantic import Field

from frenchcat.curate.adopted import refuse_adopted
from frenchcat.curate.command_text import shell_command
from frenchcat.curate.config import as_dict, changed, differences, resolve, settings
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.download import lists
from frenchcat.curate.download.block import BLOCKED, Block, guarded, read_block
from frenchcat.curate.download.columns import IMAGE_BYTES
from frenchcat.curate.download.expected import HASH_MISMATCH, Expected
from frenchcat.curate.download.list_source import BadRows, Captions, Quotes
from frenchcat.curate.download.pictures import (
    CUT_SHORT,
    DECODE_MARGIN,
    REASONS,
    ImageProcessor,
    ResizeSettings,
)
from frenchcat.curate.download.refusals import failures_of
from frenchcat.curate.download.rights.settings import RightsSettings
from frenchcat.curate.download.rights.signal import OPTED_OUT
from frenchcat.curate.download.settings import FetchSettings
from frenchcat.curate.download.sources import Lists
from frenchcat.curate.errors import UserError
from frenchcat.curate.failures import OPTED_OUT as REFUSED
from frenchcat.curate.failures import Failure
from frenchcat.curate.image.shrunk import MIN_MARGIN
from frenchcat.curate.keys import key_of
from frenchcat.curate.markers import Inputs, Signature, counts_of, marker, output_sha256
from frenchcat.curate.notices import say_once
from frenchcat.curate.parquets import read_parquet
from frenchcat.curate.reasons import PERMANENT
from frenchcat.curate.redo import Redo, redo_of
from frenchcat.curate.removals import emptied, removed
from frenchcat.curate.run_stage import run_stage
from frenchcat.curate.safe_text import for_terminal
from frenchcat.curate.stage import (
    Engine,
    Output,
    Progress,
    ShardFunction,
    StageReport,
    up_to_date,
)

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from anyio.from_thread import BlockingPortal

    from frenchcat.curate.download.fetch import Fetcher
    from frenchcat.curate.download.fetched import Fetched
    from frenchcat.curate.download.ledger import Ledger
    from frenchcat.curate.download.pictures import StoredImage
    from frenchcat.curate.download.shards import Outcome, Spool

STAGE = "download"
VERSION = 1
LASTING = PERMANENT | REASONS - {CUT_SHORT} | {"no_url", HASH_MISMATCH} | OPTED_OUT | BLOCKED
"""Reasons that `retry_failed` skips by default, because another request gives the same.

A file that is cut short is not among them: if the server announced no length, it may have been cut
on its way.
"""


@settings
class DownloadSettings:
    """All settings of the download."""

    url_column: str | None = None
    """The list's column of URLs; none: found by its usual names."""
    caption_column: str | None = None
    """The list's column of captions; none: found by its usual names, or there are no captions."""
    image_column: str | None = None
    """The list's column of images, if it contains them; none: found by its usual names."""
    columns: tuple[str, ...] = ()
    """The names of the columns of a csv or tsv without a header, in their order."""
    captions: Captions = "first"
    """Which of several captions in a row is taken: first, longest, or all, as rows of their own."""
    quotes: Quotes = "auto"
    """Quotation marks in csv and tsv. csv: by RFC 4180; none: characters like any other; auto: a
    mark that nobody closes swallows no row."""
    encoding: str | None = None
    """The encoding of a list's text; none: UTF-8, or what its first bytes say."""
    bad_rows: BadRows = "refuse"
    """What to do about an unreadable line. refuse: the list is refused; keep: it becomes a row
    without a URL, which fails and is counted.
    """
    samples_per_shard: int = Field(default=1000, ge=1, le=10_000)
    """Rows per shard (count). Existing shards keep theirs."""
    threads: int | None = Field(default=None, ge=1)
    """Threads that resize, per process; none: by the number of cores."""
    resize: ResizeSettings = ResizeSettings()
    """How images are resized and encoded."""
    decode_margin: float | None = Field(default=DECODE_MARGIN, ge=MIN_MARGIN)
    """A JPEG is decoded at 1/2, 1/4 or 1/8 of its size while that is still so many times as large
    as it is stored, if `resize.downscale_interpolation` is area: faster, in less memory, and nearly
    the same. none: at its full size, as all datasets made before this setting have it.
    """
    verify_hashes: bool = True
    """Whether an image is refused that has another hash than the list's sha256, md5 or pdq."""
    block: tuple[str, ...] = ()
    """Files of hashes (md5, SHA-256, .pdq) of images that must not be stored."""
    rights: RightsSettings = RightsSettings()
    """What is done about opt-outs."""
    fetch: FetchSettings = FetchSettings()
    """How URLs are fetched."""


_SHAPING = ("resize.", "rights.", "block", "decode_margin", "verify_hashes")
_USUAL_PX = 1024  # most images on the web are not much larger


def check_lists(urls: Lists, settings: DownloadSettings | None = None) -> None:
    """Raise `UserError` for lists that cannot be read, before a dataset is made for them."""
    lists.check(urls, shape_of(settings or DownloadSettings()))


def download(
    dataset: Dataset,
    urls: Lists,
    settings: DownloadSettings | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
    refused: Collection[str] = (),
) -> StageReport:
    """Download the rows of `urls` that the dataset does not have; the lock is held.

    The same call resumes; a grown list adds shards. Rows of finished shards that failed for one of
    the reasons `refused` are requested again; if an earlier download brought no image at all, so
    are those that may succeed now. Raises `UserError` for a list that is missing, broken, empty, of
    unknown format or without a URL column, for such hash lists, and for an adopted dataset.
    """
    refuse_adopted(dataset)
    settings, engine = settings or DownloadSettings(), engine or Engine()
    block = read_block(dataset, settings.block)
    shards = lists.freeze(dataset, urls, shape_of(settings))
    stage = DownloadStage(settings, _sharers(engine, len(shards)), block)
    retry = retry_of(dataset, refused)
    again = _refused(dataset, stage, shards, retry)
    if not again:
        return run_stage(dataset, stage, shards, engine, progress)
    if not all(up_to_date(dataset, stage, shard) for shard in shards):
        run_stage(dataset, stage, shards, engine, progress)
    stage = replace(stage, again=retry)
    return run_stage(dataset, stage, shards, engine, progress, again=again)


def retry_of(dataset: Dataset, refused: Collection[str]) -> Retry:
    """The rows to request again unasked: the refused and, if nothing was downloaded, others."""
    counted = failures_of(dataset)
    return Retry(frozenset(refused), passing=counted.failed > 0 and not counted.downloaded)


def _refused(
    dataset: Dataset, stage: DownloadStage, shards: Sequence[str], retry: Retry
) -> list[str]:
    """The finished shards with rows to request again."""
    if not retry.names and not retry.passing:
        return []
    worth = (shard for shard in shards if _worth_asking(dataset, shard, retry))
    return [shard for shard in worth if up_to_date(dataset, stage, shard)]


def retry_failed(
    dataset: Dataset,
    settings: DownloadSettings | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
    *,
    permanent: bool = False,
) -> StageReport:
    """Request only failed rows again, and add the results to their shards; the lock is held.

    Rows with a permanent reason (`LASTING`: 404, not an image, …) only with `permanent`. Images are
    resized as the dataset's others were; of `settings`, only `fetch` counts. The shards stay up to
    date for a later `download`; stages after it redo those that changed. Raises `UserError` if the
    download was never completed, or the dataset was adopted.
    """
    settings, engine = settings or DownloadSettings(), engine or Engine()
    made_with = dataset.manifest().entry(STAGE).settings
    if made_with is None:
        raise UserError(
            f"{dataset.root}: no download was completed yet; first: {dataset.fetch_command()}"
        )
    if kind := dataset.manifest().adopted_from:
        raise UserError(
            f"{dataset.root} was adopted from {kind}: it has no URL list, so "
            "failed rows cannot be requested again; download them anew: "
            f"{shell_command('download', 'URLS', '--out', 'NEW')}"
        )
    resize = resolve(ResizeSettings, made_with["resize"], dataset.path("dataset.json"))
    rights = resolve(RightsSettings, made_with["rights"], dataset.path("dataset.json"))
    verify, margin = bool(made_with.get("verify_hashes", True)), made_with.get("decode_margin")
    settings = changed(settings, resize=resize, rights=rights, verify_hashes=verify)
    settings = changed(settings, decode_margin=margin)
    block = read_block(dataset, settings.block)
    if block.digest != made_with["block"]:
        raise UserError(
            f"{dataset.root} was downloaded with other hash lists; give the same as then: "
            '--set download.block=["list.txt"]'
        )
    shards = lists.shards(dataset)
    sharers = _sharers(engine, len(shards))
    retry = Retry(passing=True, permanent=permanent)
    stage = DownloadStage(settings, sharers, block, again=retry)
    if late := next((shard for shard in shards if not up_to_date(dataset, stage, shard)), None):
        raise UserError(
            f"{dataset.root}: shard {late} is not downloaded as the others are; "
            f"first: {dataset.fetch_command()}"
        )
    again = [shard for shard in shards if _worth_asking(dataset, shard, retry)]
    return run_stage(dataset, stage, shards, engine, progress, again=again)


def as_written(section: Mapping[str, Any]) -> dict[str, Any]:
    """The remembered section `download` as it was meant: before `decode_margin` there was none."""
    return {"decode_margin": None, **section}


def redo(
    dataset: Dataset, settings: DownloadSettings, before: Mapping[str, Any] | None
) -> Redo | None:
    """What a download with these settings would repeat; `before` is the remembered section.

    None if there is nothing to confirm. Raises `UserError` as `read_block` does.
    """
    shards = [shard for shard in lists.shards(dataset) if marker(dataset, STAGE, shard)]
    if not shards:
        return None
    stage = DownloadStage(settings, block=read_block(dataset, settings.block))
    asked = as_dict(settings)
    changes = differences(DownloadSettings, before or asked, asked, "download.")
    shaping = tuple(f"download.{name}" for name in _SHAPING)
    found = {name: values for name, values in changes.items() if name.startswith(shaping)}
    return redo_of(dataset, stage, shards, _said_of(stage.signature.settings), found)


def _said_of(settings: Mapping[str, Any]) -> dict[str, str]:
    """The signature's settings by name -> the names that users know."""
    sections = {
        f"{section}.{name}": f"download.{section}.{name}"
        for section in ("resize", "rights")
        for name in settings[section]
    }
    return {
        **sections,
        "block": "hashes in the lists of download.block",
        "decode_margin": "download.decode_margin",
        "verify_hashes": "download.verify_hashes",
    }


def asks_again(name: str, permanent: bool) -> bool:
    """Whether `retry_failed` requests a row whose failure has this name."""
    return permanent or name not in LASTING


@dataclass(frozen=True)
class Retry:
    """Which failed rows are requested again."""

    names: frozenset[str] = frozenset()  # of failures
    passing: bool = False  # also those that may succeed now
    permanent: bool = False  # all

    def asks(self, name: str) -> bool:
        """Whether rows whose failure has this name are requested again."""
        return name in self.names or (self.passing and asks_again(name, self.permanent))


def _worth_asking(dataset: Dataset, shard: str, retry: Retry) -> bool:
    counts = counts_of(dataset, STAGE, shard)
    names = (name.removeprefix("failed.") for name in counts if name.startswith("failed."))
    return any(retry.asks(name) for name in names)


def shape_of(settings: DownloadSettings) -> lists.Shape:
    """How these settings read a list."""
    fields = {name: getattr(settings, name) for name in lists.Shape.__dataclass_fields__}
    return lists.Shape(**fields)


def _sharers(engine: Engine, shards: int) -> int | None:
    """How many processes share the limits of the fetch; None: only Ray can tell, later."""
    if engine.kind == "ray" and engine.workers is None:
        return None
    return max(1, min(engine.workers or os.cpu_count() or 1, shards))


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
                worker = _Worker(self, dataset, portal, fetcher, pool, 2 * threads, process)
                yield worker.work


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


@dataclass(frozen=True)
class _Worker:
    """Makes the shards of one process."""

    stage: DownloadStage
    dataset: Dataset
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

        encode_format = self.stage.download.resize.encode_format
        with (
            self.dataset.as_local(lists.relative(shard)) as path,
            Spool(output.publication.folder) as spool,
        ):
            there = [n for n in pq.read_schema(path).names if n != IMAGE_BYTES]
            rows = emptied(read_parquet(path, columns=there), removed(self.dataset))
            keys = [key_of(shard, row) for row in range(rows.num_rows)]
            ledger = Ledger(self.stage.download.rights, rows)
            expected = Expected(rows) if self.stage.download.verify_hashes else None
            for note in expected.notes() if expected is not None else ():
                say_once(for_terminal(f"shard {shard}: {note}"))
            outcomes: dict[int, Outcome] = {}
            if self.stage.again is not None:
                outcomes = self._present(shard, spool, encode_format, self.stage.again)
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
        images = given_images(path, set(open_rows), self.stage.download.fetch)
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
        for row, data in shards.pictures(self.dataset, shard, encode_format, stored):
            spool.put(row, data)
        return outcomes
