"""A table in parts -> the bytes of a file, as they are made: NDJSON, JSON, CSV, Parquet, Arrow.

Reads and writes nothing. Memory: a part, and of Parquet the footer of all.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from frenchcat.curate.json_text import json_text, plain
from frenchcat.curate.safe_text import for_csv

if TYPE_CHECKING:
    import pyarrow as pa

Batches = Iterable["pa.RecordBatch"]


def ndjson(schema: pa.Schema, batches: Batches) -> Iterator[bytes]:
    """A JSON object a line."""
    for batch in batches:
        rows = (json_text({name: plain(value) for name, value in row.items()}, compact=True)
                for row in batch.to_pylist())  # fmt: skip
        yield "".join(f"{row}\n" for row in rows).encode()


def json_rows(schema: pa.Schema, batches: Batches) -> Iterator[bytes]:
    """A list of objects."""
    before = b"[\n"
    for part in ndjson(schema, batches):
        if part:
            yield before + part.rstrip(b"\n").replace(b"\n", b",\n")
            before = b",\n"
    yield b"\n]\n" if before == b",\n" else b"[]\n"


def csv_rows(schema: pa.Schema, batches: Batches) -> Iterator[bytes]:
    """A header and one line per row; lists and structs as JSON, formulas made harmless."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([for_csv(name) for name in schema.names])
    for batch in batches:
        for row in batch.to_pylist():
            writer.writerow([_cell(value) for value in row.values()])
        yield _taken(text)
    yield _taken(text)  # the header, where there is no row


def parquet(schema: pa.Schema, batches: Batches) -> Iterator[bytes]:
    """A Parquet file; each part is a row group."""
    import pyarrow.parquet as pq

    sink = _Sink()
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
            yield sink.taken()
    yield sink.taken()


def arrow(schema: pa.Schema, batches: Batches) -> Iterator[bytes]:
    """An Arrow IPC stream."""
    import pyarrow as pa

    sink = _Sink()
    with pa.ipc.new_stream(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
            yield sink.taken()
    yield sink.taken()


Writer = Callable[["pa.Schema", Batches], Iterator[bytes]]
FORMATS: dict[str, tuple[str, Writer]] = {
    "ndjson": ("application/x-ndjson", ndjson),
    "json": ("application/json", json_rows),
    "csv": ("text/csv; charset=utf-8", csv_rows),
    "parquet": ("application/vnd.apache.parquet", parquet),
    "arrow": ("application/vnd.apache.arrow.stream", arrow),
}
"""Name, which is the file's ending, too -> media type, and what writes it."""


class _Sink(io.RawIOBase):
    """A file that gives what was written since the last time."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._at = 0

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        taken = bytes(data)  # type: ignore[call-overload]
        self._parts.append(taken)
        self._at += len(taken)
        return len(taken)

    def tell(self) -> int:
        return self._at

    def taken(self) -> bytes:
        found, self._parts = b"".join(self._parts), []
        return found


def _cell(value: object) -> object:
    if isinstance(value, str | int | float | bool) or value is None:
        return for_csv(value)
    made = plain(value)
    return for_csv(made if isinstance(made, str) else json_text(made, compact=True))


def _taken(text: io.StringIO) -> bytes:
    found = text.getvalue().encode()
    text.seek(0)
    text.truncate()
    return found
