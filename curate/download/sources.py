"""Where a URL list lies, and the table of the formats that one may have.

Reads files of FORMATS (the text ones gzipped, too): one, several, globs, folders, at any fsspec
address. Writes only copies below a scratch folder that the caller gives.
A remote list is copied there first: its digest has to be taken in any case, and reading it twice
over a network costs more than the disk.

img2dataset's Reader loads a whole file into memory (`pyarrow.csv.read_csv`, `parquet.read_table`).
DuckDB streams instead: peak memory is that of a few batches, whatever the list's length.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

from frenchcat.curate.errors import UserError

_BATCH_ROWS = 20_000


@dataclass(frozen=True)
class Source:
    """One file of a URL list, on this machine."""

    name: str  # base name, as the dataset records it
    path: Path
    kind: str  # a format's name
    gzipped: bool

    @property
    def format(self) -> Format:
        """What its kind means."""
        return next(found for found in FORMATS if found.name == self.kind)


@dataclass(frozen=True)
class Format:
    """How files of one kind are read: by a table function of DuckDB's, or by `rows`, or by both."""

    name: str
    endings: tuple[str, ...]
    function: str = "read_parquet"  # DuckDB's; that of the copies that `rows` gives
    options: str = ""  # of the function
    text: bool = True  # may be gzipped; its types are found, since it has none of its own
    delimiter: str = ""  # between the columns of lines below a header
    rows: Callable[[Source], Iterator[dict[str, list[Any]]] | None] | None = None
    """For what DuckDB does not read: its columns, some rows at a time; None: DuckDB does, after
    all."""


Lists = str | Path | Sequence[str | Path]


def find(lists: Lists) -> list[str]:
    """The files that `lists` names, globs and folders expanded (sorted), in the order given.

    Raises `UserError` where nothing is there, or a file is of no known kind.
    """
    given = [lists] if isinstance(lists, str | Path) else list(lists)
    if not given:
        raise UserError(f"no URL list was named; give a file: {_readable()}")
    found = [address for item in given for address in _expand(str(item))]
    for address in found:
        kind_of(address)
    return found


def kind_of(address: str) -> tuple[str, bool]:
    """A list's kind by its extension, and whether it is gzipped. Raises `UserError`."""
    name = base_name(address).lower()
    stem = name.removesuffix(".gz")
    found = next((one for one in FORMATS if Path(stem).suffix in one.endings), None)
    if found is None or (stem != name and not found.text):
        raise UserError(f"{address}: a URL list is {_readable()}; rename it to end in its kind")
    return found.name, stem != name


def _readable() -> str:
    *names, last = (found.name for found in FORMATS)
    return f"{', '.join(names)} or {last} (the text ones also .gz)"


def base_name(address: str) -> str:
    """The last part of a path or address, without a query."""
    path = address.split("?")[0] if "://" in address else address
    return path.rstrip("/").rsplit("/", 1)[-1]


def _expand(address: str) -> list[str]:
    fs, path = _file_system(address)
    try:
        if fs.isfile(path):
            return [address]
        if fs.isdir(path):
            inside = [str(name) for name in fs.ls(path, detail=False) if _is_list(str(name))]
            if not inside:
                raise UserError(f"{address}: no URL list in this folder; it may hold {_readable()}")
            return sorted(str(fs.unstrip_protocol(name)) for name in inside)
        if any(sign in path for sign in "*?["):
            matched = [str(name) for name in fs.glob(path) if fs.isfile(name)]
            if matched:
                return sorted(str(fs.unstrip_protocol(name)) for name in matched)
    except OSError as error:
        raise UserError(f"{address}: cannot be read ({error})") from None
    raise UserError(f"{address}: there is no such file; check the path of the URL list")


def _is_list(name: str) -> bool:
    base = base_name(name).lower()
    suffix = Path(base.removesuffix(".gz")).suffix
    return not base.startswith((".", "_")) and any(suffix in one.endings for one in FORMATS)


def _file_system(address: str) -> tuple[Any, str]:
    import fsspec

    try:
        fs, path = fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise UserError(f"{address}: {error}") from None
    return fs, str(path)


def fetch(address: str, scratch: Path, number: int) -> Source:
    """The list at `address` as a local file; a remote one is copied into `scratch`."""
    kind, gzipped = kind_of(address)
    fs, remote = _file_system(address)
    path = Path(remote)
    if "file" not in (fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,)):
        path = scratch / f"{number:05d}-{base_name(address)}"
        try:
            fs.get_file(remote, str(path))
        except OSError as error:
            raise UserError(f"{address}: cannot be read ({error})") from None
    if path.stat().st_size == 0:
        raise UserError(f"{address}: the URL list is empty (0 bytes); check how it was written")
    return Source(base_name(address), path, kind, gzipped)


def as_table(source: Source, scratch: Path, number: int, most: int | None = None) -> Source:
    """The source, or a parquet copy of it where DuckDB has no reader: text, and pandas' JSON.

    Of the latter, `most` parts are copied: one is enough for its columns.
    """
    rows = None if source.format.rows is None else source.format.rows(source)
    if rows is None:
        return source
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = scratch / f"{number:05d}-table.parquet"
    writer = None
    try:
        for columns in islice(rows, most):
            table = pa.table(columns)
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        raise UserError(f"{source.name}: the URL list has no rows; check how it was written")
    return Source(source.name, path, "parquet", False)


def text(source: Source) -> IO[str]:
    """A text source opened for reading, decompressed, without a byte order mark."""
    if source.gzipped:
        return gzip.open(source.path, "rt", encoding="utf-8-sig", newline="")
    return open(source.path, encoding="utf-8-sig", newline="")


def header(source: Source) -> list[str]:
    """The column names of a csv or tsv, made unique. Raises `UserError` where it is broken."""
    try:
        with text(source) as file:
            names = next(csv.reader(file, delimiter=source.format.delimiter), [])
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise broken(source, error) from None
    unique: list[str] = []
    for number, name in enumerate(names):
        name = name.strip() or f"column{number}"
        while name.lower() in (taken.lower() for taken in unique):
            name += "_1"
        unique.append(name)
    return unique


def broken(source: Source, error: Exception) -> UserError:
    """The error for a list that cannot be read to its end."""
    lines = str(error).replace(str(source.path), source.name).splitlines()
    kept = []
    for line in lines:
        if line.startswith(("Possible", "This can happen", "*", "  ")):
            break
        kept.append(line.strip())
    why = " ".join(kept)[:300]
    return UserError(f"{source.name}: the URL list is broken ({why}); repair or export it again")


def _lines(source: Source) -> Iterator[dict[str, list[Any]]]:
    """A text list: one URL a line, blank lines left out."""
    batch: list[str] = []
    try:
        with text(source) as file:
            for line in file:
                if url := line.strip():
                    batch.append(url)
                if len(batch) == _BATCH_ROWS:
                    yield {"url": batch}
                    batch = []
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise broken(source, error) from None
    if batch:
        yield {"url": batch}


def _columns_of_json(source: Source) -> Iterator[dict[str, list[Any]]] | None:
    """`{"url": {"0": …}, …}` or `{"url": […], …}` as pandas writes it, read whole; else None."""
    try:
        with text(source) as file:
            start = file.read(1 << 16).lstrip()
        if not start.startswith("{") or start.partition(":")[2].lstrip()[:1] not in ("{", "["):
            return None
        with text(source) as file:
            value = json.load(file)
    except (OSError, EOFError, ValueError):
        return None  # lines of objects, or broken: DuckDB tells which
    if not all(isinstance(column, dict | list) for column in value.values()):
        return None
    columns = {
        name: list(column.values()) if isinstance(column, dict) else column
        for name, column in value.items()
    }
    return iter([columns]) if len({len(column) for column in columns.values()}) == 1 else None


_LINES = "header=true, skip=0, quote='\"', escape='\"', auto_detect=false"
FORMATS = (
    Format("parquet", (".parquet",), text=False),
    Format("csv", (".csv",), "read_csv", f"delim=',', {_LINES}", delimiter=","),
    Format("tsv", (".tsv",), "read_csv", f"delim=chr(9), {_LINES}", delimiter="\t"),
    Format("json", (".json",), "read_json", "format='auto'", rows=_columns_of_json),
    Format("jsonl", (".jsonl", ".ndjson"), "read_json", "format='newline_delimited'"),
    Format("txt", (".txt",), rows=_lines),
)
"""All that a URL list may be. To add one, name it here."""
