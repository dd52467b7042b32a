"""Where a URL list is, and the table of the formats that it may have.

Reads files of FORMATS (the text ones compressed, too): one, several, globs, folders with the
folders inside, at any fsspec address. Writes only copies below a scratch folder that the caller
gives. A remote list is copied there first: its digest has to be taken in any case, and reading it
twice over a network costs more than the disk. Text is copied into a form that DuckDB reads without
doubt (columns, or lines of clean objects), with the line of each row.

img2dataset's Reader loads a whole file into memory (`pyarrow.csv.read_csv`, `parquet.read_table`).
DuckDB streams instead: peak memory is that of a few batches, whatever the list's length.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote

from frenchcat.curate.command_text import shell_command
from frenchcat.curate.download import delimited
from frenchcat.curate.download.column_names import like_url, unique
from frenchcat.curate.download.json_lists import copy_objects
from frenchcat.curate.download.list_errors import some
from frenchcat.curate.download.list_source import (
    RESERVED,
    ROW,
    Reading,
    Source,
    batched,
    broken,
)
from frenchcat.curate.download.list_text import COMPRESSED, beginning, decoded, lines
from frenchcat.curate.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 20_000
_BATCH_CHARS = 32 << 20
_TAB = "a tab in a URL (a list with captions is a tsv: rename it to end in .tsv)"
_DEPTH = 20  # of folders in a folder
_NO_LISTS = re.compile(
    r"(readme|licen[cs]e|notice|changelog|citation)\b.*"
    r"|(dataset_infos?|state|metadata|croissant|.*_stats)\.json"
)
"""Files beside lists that are not lists, by name in lower case."""
_PARTITION = re.compile(r"([A-Za-z_][^=/]*)=([^/]*)")
_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class Format:
    """How files of one kind are read: by DuckDB, or through a copy that `rows` or `objects` make.

    `rows` returns columns, some rows at a time; with a column `ROW` if a row's number differs from
    its place in the file.
    """

    name: str
    endings: tuple[str, ...]
    text: bool = True  # may be compressed; other formats are compressed inside
    typed: bool = True  # of `rows`: its columns have types; else their types are found
    objects: bool = False  # JSON
    places: Literal["line", "row"] = "row"  # what messages count its rows in
    rows: Callable[[Source], Iterator[dict[str, Any]]] | None = None


Lists = str | Path | Sequence[str | Path]


@dataclass(frozen=True)
class FoundList:
    """A file of a list: where it is, and what its folders say about its rows."""

    address: str
    name: str  # as the dataset records it
    partitions: dict[str, str | None] = field(default_factory=dict)


@dataclass
class FoundLists:
    """The files that were found, and those left out that might be lists by their extensions."""

    found: list[FoundList] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def find(lists: Lists) -> FoundLists:
    """The files that `lists` names, globs and folders expanded (sorted), in the order given.

    Raises `UserError` if nothing is there, or a file is of an unknown kind.
    """
    given = [lists] if isinstance(lists, str | Path) else list(lists)
    if not given:
        raise UserError(f"no URL list was named; give a file: {_readable()}")
    search = FoundLists()
    for item in given:
        _expand(str(item), search)
    for one in search.found:
        kind_of(one.address)
    return search


def kind_of(address: str) -> str:
    """A list's kind by its extension. Raises `UserError`."""
    name = base_name(address).lower()
    stem = _uncompressed(name)
    found = next((one for one in FORMATS if Path(stem).suffix in one.endings), None)
    if found is None or (stem != name and not found.text):
        raise UserError(f"{address}: a URL list is {_readable()}; rename it to end in its kind")
    return found.name


def format_of(kind: str) -> Format:
    """A format by its name."""
    return next(found for found in FORMATS if found.name == kind)


def _uncompressed(name: str) -> str:
    return next((name.removesuffix(end) for end in COMPRESSED if name.endswith(end)), name)


def _readable() -> str:
    *names, last = (found.name for found in FORMATS)
    return f"{', '.join(names)} or {last} (the text ones also .gz, .bz2, .xz or .zst)"


def base_name(address: str) -> str:
    """The last part of a path or address, without a query."""
    path = address.split("?")[0] if "://" in address else address
    return path.rstrip("/").rsplit("/", 1)[-1]


def _expand(address: str, search: FoundLists) -> None:
    fs, path = _file_system(address)
    try:
        if fs.isfile(path):
            search.found.append(FoundList(address, base_name(address)))
            return
        if fs.isdir(path):
            _search_folder(address, fs, path.rstrip("/"), search)
            return
        is_pattern = any(sign in path for sign in "*?[")
        if is_pattern and (matched := sorted(str(name) for name in fs.glob(path))):
            _take_matched(address, fs, path, matched, search)
            return
    except OSError as error:
        raise UserError(f"{address}: cannot be read ({error})") from None
    raise UserError(f"{address}: there is no such file; check the path of the URL list")


def _take_matched(
    address: str, fs: Any, pattern: str, matched: Sequence[str], search: FoundLists
) -> None:
    """Every list that a pattern matches, and those in the folders that it matches."""
    root = re.split(r"[*?\[]", pattern)[0].rpartition("/")[0]
    named: list[str] = []
    for name in matched:
        if fs.isfile(name):
            named.append(name)
        else:
            found = map(str, fs.find(name, maxdepth=_DEPTH))
            named += [one for one in found if _may_be_list(one, root)]
    inside = [name for name in named if _may_be_list(name, root) and _is_list(fs, name)]
    if not inside:
        for name in named:
            kind_of(name)  # says what a list's name ends in
        raise UserError(f"{address}: no URL list among {some(named) or 'what it matches'}")
    search.found += [_below(fs, root, name) for name in inside]
    search.left_out += [_below(fs, root, name).name for name in named if name not in inside]


def _search_folder(address: str, fs: Any, path: str, search: FoundLists) -> None:
    """Every list in a folder and in its subfolders."""
    if fs.isfile(f"{path}/dataset.json") and fs.isdir(f"{path}/shards"):
        raise UserError(f"{address} is a dataset, not a URL list; a list of its own is meant")
    named = [str(name) for name in fs.find(path, maxdepth=_DEPTH) if _may_be_list(str(name), path)]
    inside = [name for name in named if _is_list(fs, name)]
    if not inside:
        raise UserError(
            f"{address}: no URL list in this folder; it may hold {_readable()}; for a folder of "
            f"images or of another tool: {shell_command('adopt', address, '--out', 'DATASET')}"
        )
    search.found += [_below(fs, path, name) for name in sorted(inside)]
    search.left_out += [_below(fs, path, name).name for name in named if name not in inside]


def _below(fs: Any, root: str, path: str) -> FoundList:
    relative = path[len(root) :].lstrip("/") if path.startswith(root) else base_name(path)
    partitions: dict[str, str | None] = {}
    for part in relative.split("/")[:-1]:
        if match := _PARTITION.fullmatch(part):
            value = unquote(match[2])
            partitions[unquote(match[1])] = None if value == _NULL_PARTITION else value
    address = path if _is_local(fs) else str(fs.unstrip_protocol(path))
    return FoundList(address, relative, partitions)


def _may_be_list(path: str, root: str) -> bool:
    """Whether a file has a list's extension, and no part of its path below the root is hidden."""
    parts = path[len(root) :].strip("/").split("/")
    hidden = any(part.startswith((".", "_")) for part in parts)
    suffix = Path(_uncompressed(parts[-1].lower())).suffix
    return not hidden and any(suffix in one.endings for one in FORMATS)


def _is_list(fs: Any, path: str) -> bool:
    """Whether a file in a folder is a list: a plain text is one if it begins with a URL."""
    name = base_name(path).lower()
    if _NO_LISTS.fullmatch(name):
        return False
    if Path(_uncompressed(name)).suffix != ".txt" or _uncompressed(name) != name:
        return True
    with fs.open(path, "rb") as file:
        text = beginning(file.read(1 << 16))
    return like_url(next((line for line in text.splitlines() if line.strip()), ""))


def _is_local(fs: Any) -> bool:
    """Whether a file system is this machine's."""
    return "file" in (fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,))


def _file_system(address: str) -> tuple[Any, str]:
    import fsspec

    try:
        if "://" not in address:  # a path, of which no character stands for anything
            fs = fsspec.filesystem("file")
            return fs, str(fs._strip_protocol(address))
        fs, path = fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise UserError(f"{address}: {error}") from None
    return fs, str(path)


def fetch(one: FoundList, scratch: Path, number: int, reading: Reading | None = None) -> Source:
    """A list as a local file; a remote one is copied into `scratch`."""
    kind = kind_of(one.address)
    fs, remote = _file_system(one.address)
    path = Path(remote)
    if not _is_local(fs):
        path = scratch / f"{number:05d}-{base_name(one.address)}"
        try:
            fs.get_file(remote, str(path))
        except OSError as error:
            raise UserError(f"{one.address}: cannot be read ({error})") from None
    if path.stat().st_size == 0:
        raise UserError(f"{one.name}: the URL list is empty (0 bytes); check how it was written")
    if format_of(kind).text or format_of(kind).rows is None:
        _refuse_others(one.name, path)
    if any(sign in str(path) for sign in "*?["):  # DuckDB would treat the name as a pattern
        link = scratch / f"{number:05d}-link"
        link.symlink_to(path.resolve())
        path = link
    places = format_of(kind).places
    return Source(one.name, path, kind, reading or Reading(), one.partitions, places=places)


_OTHERS = (
    (rb"version https://git-lfs", "a pointer of Git LFS, not the file; fetch it: git lfs pull"),
    (rb"PK\x03\x04", "a zip archive or spreadsheet; export it as csv or parquet"),
    (rb"\s*<(!doctype html|html|\?xml)", "a web page or XML, not a list; download the list again"),
    (
        rb"%PDF-|Obj\x01|ORC|ARROW1|\x89HDF|SQLite format 3",
        "in an unknown format; export it as csv or parquet",
    ),
)
"""What a file given as a list really is, by its first bytes."""


def _refuse_others(name: str, path: Path) -> None:
    with open(path, "rb") as file:
        head = file.read(64)
    for pattern, what in _OTHERS:
        if re.match(pattern, head, re.IGNORECASE):
            raise UserError(f"{name}: {what}")


def as_table(source: Source, scratch: Path, number: int, most: int | None = None) -> Source:
    """The source, or a copy of it if DuckDB has no reliable reader.

    `most` parts are copied: one is enough for its columns.
    """
    found = format_of(source.kind)
    if found.objects:
        path = scratch / f"{number:05d}-objects.jsonl"
        if copy_objects(source, path, most and most * _BATCH_ROWS):
            return replace(source, path=path, copied="objects")
        tables: Iterator[dict[str, Any]] = iter(())
    elif found.rows is None:
        if not _hides_ours(source):
            return source
        tables = _parquet(source)
    else:
        tables = found.rows(source)
    path = scratch / f"{number:05d}-table.parquet"
    _write_tables(tables, path, most)
    return replace(source, path=path, copied="typed" if found.typed else "texts")


def _hides_ours(source: Source) -> bool:
    """Whether a parquet has a column with a name that is added while reading."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(source.path).names
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        return False  # DuckDB reports what is wrong with it
    return any(name.lower() in {"file_row_number", *RESERVED} for name in names)


def as_text(source: Source, scratch: Path, number: int) -> Source:
    """A copy of a parquet with its text columns decoded, for bytes that are not UTF-8."""
    path = scratch / f"{number:05d}-text.parquet"
    _write_tables(_parquet(source), path, None)
    return replace(source, path=path, copied="typed")


def _parquet(source: Source) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    row = 0
    try:
        with pq.ParquetFile(source.path) as file:
            for batch in file.iter_batches(_BATCH_ROWS):
                columns = dict(zip(unique(batch.schema.names), batch.columns, strict=True))
                for name, column in columns.items():
                    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
                        columns[name] = _decoded(column, source, row)
                row += batch.num_rows
                yield columns
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise broken(source, error) from None


def _decoded(column: pa.Array, source: Source, before: int) -> pa.Array:
    """A text column, with those rows decoded that are not UTF-8."""
    import pyarrow as pa

    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        wide = pa.types.is_large_string(column.type)
        raw = column.cast(pa.large_binary() if wide else pa.binary()).to_pylist()
        texts = [v if v is None else decoded(v, source, n) for n, v in enumerate(raw, before + 1)]
        return pa.array(texts, column.type)
    return column


def _write_tables(tables: Iterator[dict[str, Any]], path: Path, most: int | None) -> None:
    """Write parts one after another; of those that have rows, at most `most`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer, written, rows = None, 0, 0
    try:
        for columns in tables:
            table = pa.table(columns)
            if ROW not in table.column_names:
                numbers = range(rows + 1, rows + table.num_rows + 1)
                table = table.append_column(ROW, pa.array(numbers, pa.int64()))
            rows += table.num_rows
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
            written += table.num_rows > 0
            if written == most:
                break
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        nothing = {"url": pa.array([], pa.string()), ROW: pa.array([], pa.int64())}
        pq.write_table(pa.table(nothing), path)


def _urls(source: Source) -> Iterator[dict[str, list[Any]]]:
    """A text list: one URL per line, blank lines left out."""
    filled = ((row, len(line), url) for row, line in lines(source) if (url := line.strip()))
    for batch in batched(filled, _BATCH_ROWS, _BATCH_CHARS):
        for row, url in batch:
            if "\t" in url:
                source.oddities.note(_TAB, row)
        yield {"url": [url for _, url in batch], ROW: [row for row, _ in batch]}


FORMATS = (
    Format("parquet", (".parquet",), text=False),
    Format("csv", (".csv",), typed=False, rows=delimited.tables, places="line"),
    Format("tsv", (".tsv",), typed=False, rows=delimited.tables, places="line"),
    Format("json", (".json",), objects=True),
    Format("jsonl", (".jsonl", ".ndjson"), objects=True, places="line"),
    Format("txt", (".txt",), rows=_urls, places="line"),
)
"""All formats of a URL list. To add one, add its entry here."""
