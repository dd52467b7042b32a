"""Images that are inside a list: read from its frozen rows, judged like fetched ones.

Reads ``lists/{shard}.parquet`` a few rows at a time, writes nothing. No server is asked for them,
so neither robots.txt nor headers apply; what the file itself says about its use is respected.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from frenchcat.curate.download.body import check_image
from frenchcat.curate.download.columns import IMAGE_BYTES
from frenchcat.curate.download.fetched import Fetched
from frenchcat.curate.download.settings import FetchSettings
from frenchcat.curate.reasons import FailureReason, FetchFailure

_BATCH_ROWS = 16


def given_images(
    path: Path, rows: Collection[int], settings: FetchSettings
) -> Iterator[tuple[int, Fetched]]:
    """The images of these rows in the frozen list at `path`, in order."""
    import pyarrow.parquet as pq

    row = 0
    with pq.ParquetFile(path) as file:
        if IMAGE_BYTES not in file.schema_arrow.names:
            return
        for batch in file.iter_batches(_BATCH_ROWS, columns=[IMAGE_BYTES]):
            for data in batch.column(0):
                if row in rows and data.is_valid:
                    yield row, _judged(data.as_py(), settings)
                row += 1


def _judged(body: bytes, settings: FetchSettings) -> Fetched:
    try:
        if not body:
            raise FetchFailure(FailureReason.EMPTY_BODY, "the list has an image of 0 bytes")
        if len(body) > settings.max_body_bytes:
            detail = f"{len(body)} bytes in the list, the cap is {settings.max_body_bytes}"
            raise FetchFailure(FailureReason.BODY_TOO_LARGE, detail)
        kind, width, height = check_image(body, settings.max_pixels)
    except FetchFailure as failure:
        nothing = (None, None, None)  # of format, width, height
        return Fetched("", None, failure.reason, failure.detail, (), *nothing, attempts=0)
    return Fetched("", body, None, "", (), kind, width, height, attempts=0)
