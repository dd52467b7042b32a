"""One shard: rows -> fetched -> resized -> tar, sidecar and stats in img2dataset's layout.

Reads a shard's frozen rows (and its present tar and sidecar, when failed rows are asked again),
writes ``shards/{shard}.tar .parquet _stats.json`` through img2dataset's WebDatasetSampleWriter.
The tar holds the stored images in key order with a fixed time; the sidecar holds every row of
the list, stored or with the reason why not.

Fetches run in one event loop, images are resized in a few threads beside it. Images come in
any order and wait in a spool file, not in memory, until they are written in order: memory is that
of the fetches under way and does not grow with the list or the size of the images.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from frenchcat.curate import files, sidecar, tars
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.download.columns import ORIGIN, SOURCE_FILE, SOURCE_ROW
from frenchcat.curate.download.fetched import Fetched
from frenchcat.curate.download.pictures import StoredImage, Unfit
from frenchcat.curate.download.upstream import img2dataset_module
from frenchcat.curate.failures import COLUMNS, Failure
from frenchcat.curate.keys import ROW_DIGITS, key_of, row_of
from frenchcat.curate.stage import Output

if TYPE_CHECKING:
    import pyarrow as pa

NO_URL = "no_url"
UNEXPECTED = "unexpected"
SUCCESS, NOT_FETCHED, NOT_RESIZED = "success", "failed_to_download", "failed_to_resize"


class Fetches(Protocol):
    """The part of a Fetcher that a shard needs."""

    def fetch_all(
        self, urls: Iterable[tuple[int, str]]
    ) -> AsyncGenerator[tuple[int, Fetched], None]:
        """Each URL's outcome with its number, in order of completion."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one row, as the sidecar has it."""

    status: str
    error_message: str | None = None
    width: int | None = None
    height: int | None = None
    original_width: int | None = None
    original_height: int | None = None
    exif: str | None = None
    sha256: str | None = None
    stored_sha256: str | None = None
    failure_reason: str | None = None
    failure_signal: str | None = None
    failure_detail: str | None = None
    original_bytes: int | None = None

    @classmethod
    def failed(cls, status: str, failure: Failure) -> Outcome:
        """The outcome of a row without an image."""
        return cls(
            status,
            failure.sentence,
            failure_reason=failure.reason,
            failure_signal=failure.signal,
            failure_detail=failure.detail,
        )

    @property
    def name(self) -> str:
        """The name under which it is counted: "success", or the failure's name."""
        if self.failure_reason is None:
            return SUCCESS
        return Failure(self.failure_reason, self.failure_signal).name


_NOT_IN_TARS = (*COLUMNS, SOURCE_FILE, SOURCE_ROW)
Judge = Callable[[int, Fetched], Failure | None]
OUTCOME = tuple(Outcome.__dataclass_fields__)


class Spool:
    """Images waiting to be written in order: row -> bytes, on disk."""

    def __init__(self, folder: Path) -> None:
        """Create its file in `folder`, without a name: it vanishes with this process."""
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._places: dict[int, tuple[int, int]] = {}
        self._end = 0

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def put(self, row: int, data: bytes) -> None:
        """Keep a row's image."""
        self._file.seek(self._end)
        self._file.write(data)
        self._places[row] = (self._end, len(data))
        self._end += len(data)

    def get(self, row: int) -> bytes:
        """A row's image."""
        offset, size = self._places[row]
        self._file.seek(offset)
        return self._file.read(size)


# -- fetching and resizing -----------------------------------------------------------------------


async def gather(
    fetches: Fetches,
    process: Callable[[bytes, str], StoredImage],
    pool: Executor,
    in_hand: int,
    urls: Sequence[tuple[int, str | None]],
    keep: Callable[[int, Outcome, bytes | None], None],
    judge: Judge | None = None,
) -> None:
    """Fetch and resize rows, calling `keep` exactly once for each, in any order.

    At most `in_hand` images are at the resizer; fetching waits for it. `judge` says why not to
    store what was fetched, or None; it is called in the pool's threads, too.
    """
    askable: list[tuple[int, str]] = []
    for row, url in urls:
        if url is not None and url.strip():
            askable.append((row, url))
        else:
            keep(row, Outcome.failed(NOT_FETCHED, Failure(NO_URL)), None)
    loop = asyncio.get_running_loop()
    working: set[asyncio.Future[tuple[int, Outcome, bytes | None]]] = set()
    async with contextlib.aclosing(fetches.fetch_all(askable)) as stream:
        async for row, fetched in stream:
            if fetched.body is None:
                failure = (judge and judge(row, fetched)) or _failure(fetched)
                keep(row, Outcome.failed(NOT_FETCHED, failure), None)
                continue
            working.add(loop.run_in_executor(pool, _process, process, row, fetched, judge))
            if len(working) >= in_hand:
                finished, working = await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
                for future in finished:
                    keep(*future.result())
    for future in asyncio.as_completed(working):
        keep(*await future)


def store(
    images: Iterable[tuple[int, Fetched]],
    process: Callable[[bytes, str], StoredImage],
    pool: Executor,
    in_hand: int,
    keep: Callable[[int, Outcome, bytes | None], None],
    judge: Judge,
) -> None:
    """Resize existing images, `in_hand` at a time, calling `keep` for each."""
    images = iter(images)
    while some := list(islice(images, in_hand)):
        working = []
        for row, fetched in some:
            if fetched.body is None:
                keep(row, Outcome.failed(NOT_FETCHED, _failure(fetched)), None)
            else:
                working.append(pool.submit(_process, process, row, fetched, judge))
        for future in working:
            keep(*future.result())


def _process(
    process: Callable[[bytes, str], StoredImage],
    row: int,
    fetched: Fetched,
    judge: Judge | None,
) -> tuple[int, Outcome, bytes | None]:
    assert fetched.body is not None
    try:
        # First: what is opted out is not examined any further.
        if judge is not None and (failure := judge(row, fetched)):
            return row, Outcome.failed(NOT_FETCHED, failure), None
        picture = process(fetched.body, fetched.format or "")
    except Unfit as unfit:
        return row, Outcome.failed(NOT_RESIZED, unfit.failure), None
    except Exception as error:  # a row is never lost, and does not lose others
        failure = Failure(UNEXPECTED, detail=type(error).__name__)
        return row, Outcome.failed(NOT_RESIZED, failure), None
    outcome = Outcome(
        SUCCESS,
        None,
        picture.width,
        picture.height,
        picture.original_width,
        picture.original_height,
        picture.exif,
        picture.sha256,
        picture.stored_sha256,
        original_bytes=picture.original_bytes,
    )
    return row, outcome, picture.data


def _failure(fetched: Fetched) -> Failure:
    assert fetched.reason is not None, "without a body there is a reason"
    return Failure(fetched.reason, fetched.signal, fetched.detail or None)


# -- what is there already -----------------------------------------------------------------------


def present(dataset: Dataset, shard: str) -> dict[int, Outcome]:
    """Row -> outcome from a shard's sidecar; a compacted one lacks removed rows."""
    table = sidecar.read(dataset, shard, ["key", *OUTCOME])
    return {row_of(row.pop("key")): Outcome(**row) for row in table.to_pylist()}


def stored_images(
    dataset: Dataset, shard: str, extension: str, rows: Iterable[int]
) -> Iterator[tuple[int, bytes]]:
    """Row and bytes of these stored rows. Raises `UserError` if the tar is broken or lacks one.

    A tar whose first header is damaged reads as empty, so missing rows are checked.
    """
    missing = set(rows)
    with dataset.as_local(files.TAR.of(shard)) as path:
        for member in tars.members(path):
            row = row_of(member.key)
            if member.extension == extension and row in missing:
                missing.remove(row)
                yield row, tars.read(path, member)
        if missing:
            raise tars.broken(path, f"{key_of(shard, min(missing))}.{extension} is missing")


# -- writing -------------------------------------------------------------------------------------


def write(
    output: Output,
    shard: str,
    rows: pa.Table,
    outcomes: Sequence[Outcome],
    picture: Callable[[int], bytes],
    encode_format: str,
) -> dict[str, int]:
    """Write a shard's three files; returns its counts: rows, downloaded, failed, by reason.

    `rows` are its frozen rows, `outcomes` one per row; `picture` returns the bytes of a stored row.
    """
    tar = output.path(files.TAR.of(shard))
    output.path(files.SIDECAR.of(shard))  # the writer makes it beside the tar
    schema, columns = _schema(rows)
    writer = _writer(shard, tar.parent, schema, encode_format)
    for row, (listed, outcome) in enumerate(zip(rows.to_pylist(), outcomes, strict=True)):
        meta = {**listed, **{name: getattr(outcome, name) for name in OUTCOME}}
        meta["key"] = key_of(shard, row)
        meta = {name: meta[name] for name in columns}
        data = picture(row) if outcome.status == SUCCESS else None
        writer.write(data, meta["key"], listed["caption"], meta)
    writer.close()
    stats = _stats(outcomes)
    text = json.dumps(stats, indent=4, sort_keys=False)
    output.path(files.STATS.of(shard)).write_text(text, encoding="utf-8")
    return _counts(outcomes)


def _schema(rows: pa.Table) -> tuple[pa.Schema, list[str]]:
    """img2dataset's sidecar (extra columns, caption, url, key, …), followed by our columns."""
    import pyarrow as pa

    text, number = pa.string(), pa.int32()
    named = ("uid", "url", "caption", *ORIGIN)
    extras = [field for field in rows.schema if field.name not in named]
    upstream = {"caption": text, "url": text, "key": text, "status": text, "error_message": text}
    upstream |= dict.fromkeys(("width", "height", "original_width", "original_height"), number)
    upstream |= {"exif": text, "sha256": text}
    ours = {"uid": text, "stored_sha256": text, "original_bytes": pa.int64()}
    ours |= dict.fromkeys(COLUMNS, text)
    fields = [*extras, *(pa.field(*column) for column in (upstream | ours).items())]
    fields += [rows.schema.field(name) for name in ORIGIN if name in rows.schema.names]
    return pa.schema(fields), [field.name for field in fields]


def _writer(shard: str, folder: Path, schema: pa.Schema, encode_format: str) -> Any:
    """img2dataset's shard writer, made reproducible."""
    upstream: Any = img2dataset_module("writer").WebDatasetSampleWriter

    class Writer(upstream):  # type: ignore[misc]
        def write(
            self, img_str: bytes | None, key: str, caption: str | None, meta: dict[str, Any]
        ) -> None:
            # Upstream's, but for what JSON cannot say: times become text, NaN null. Why a row
            # failed is no business of one that is stored, nor is its line in the list.
            if img_str is not None:
                said = {k: jsonable(v) for k, v in meta.items() if k not in _NOT_IN_TARS}
                text = json.dumps(said, indent=4)
                sample = {"__key__": key, self.encode_format: img_str, "json": text}
                self.tarwriter.write({**sample, "txt": caption or ""})
            self.buffered_parquet_writer.write(meta)

    writer = Writer(int(shard), str(folder), True, len(shard), schema, encode_format)
    writer.tarwriter.mtime = 0.0  # upstream: now
    writer.buffered_parquet_writer.buffer_size = 10**ROW_DIGITS  # one row group; upstream: 100 rows
    return writer


def jsonable(value: Any) -> Any:
    """A column's value in a form that JSON can represent."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int | bool):
        return value
    if isinstance(value, Mapping):
        return {str(name): jsonable(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    return value.hex() if isinstance(value, bytes) else str(value)


def _stats(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """img2dataset's keys. Its times are zero here: they would make each run's bytes differ."""
    by_status = Counter(outcome.status for outcome in outcomes)
    by_reason = Counter(outcome.name for outcome in outcomes)
    return {
        "count": len(outcomes),
        "successes": by_status[SUCCESS],
        NOT_FETCHED: by_status[NOT_FETCHED],
        NOT_RESIZED: by_status[NOT_RESIZED],
        "duration": 0.0,
        "start_time": 0.0,
        "end_time": 0.0,
        "status_dict": dict(sorted(by_reason.items())),
    }


def _counts(outcomes: Sequence[Outcome]) -> dict[str, int]:
    stored = sum(outcome.status == SUCCESS for outcome in outcomes)
    reasons = Counter(outcome.name for outcome in outcomes if outcome.status != SUCCESS)
    totals = {"rows": len(outcomes), "downloaded": stored, "failed": len(outcomes) - stored}
    return totals | {f"failed.{name}": number for name, number in sorted(reasons.items())}
