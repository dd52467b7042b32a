"""From files of a URL list to one relation: uid, url, caption, then the list's own columns.

Reads list files through DuckDB, writes nothing. Types: parquet and JSON keep theirs; a csv column
becomes BIGINT, DOUBLE or BOOLEAN only where no value of the whole file would lose a character of
meaning (``007`` and numbers beyond 64 bits stay text), which costs one more pass over the file and
finds every broken line before anything is written.

An extra column whose name (in any case) is one of the sidecar's own is carried on as
``list_<name>``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from frenchcat.curate.download.sources import Source, broken, header
from frenchcat.curate.errors import UserError
from frenchcat.curate.failures import COLUMNS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# Usual names, best first: img2dataset, LAION, DataComp, cc2dataset, Conceptual Captions, Unsplash.
URL_NAMES = ("url", "image_url", "img_url", "photo_image_url", "image_link", "link", "uri", "href")
CAPTION_NAMES = ("caption", "text", "alt", "alt_text", "txt", "title", "description")
# Columns of the sidecar (img2dataset's, then ours), which a list's own may not take.
SIDECAR = (
    *("caption", "url", "key", "status", "error_message", "width", "height"),
    *("original_width", "original_height", "exif", "sha256", "md5", "uid", "stored_sha256"),
    "original_bytes",
    *COLUMNS,
)
SOURCE = "frenchcat_source"  # the file that a row came from
_UID = "^[0-9a-f]{32}$"


@dataclass(frozen=True)
class Table:
    """A file of the list: its DuckDB expression and its columns, (name, type)."""

    source: Source
    sql: str
    columns: tuple[tuple[str, str], ...]


def uid_of(url: str, caption: str | None) -> str:
    """A row's identity over crawls: the first 32 hex digits of SHA-256 of URL, newline, caption."""
    return hashlib.sha256(f"{url}\n{caption or ''}".encode()).hexdigest()[:32]


def names_of(connection: DuckDBPyConnection, source: Source) -> list[str]:
    """The columns of a file, read from its beginning only. Raises `UserError` where broken."""
    if source.format.delimiter:
        return header(source)
    return [name for name, _ in _describe(connection, source, _reader(source, sample=1000))]


def has_rows(connection: DuckDBPyConnection, source: Source) -> bool:
    """Whether a file has at least one row. Raises `UserError` where its beginning is broken."""
    import duckdb

    columns = None
    if source.format.delimiter:
        columns = tuple((name, "VARCHAR") for name in header(source))
    here = _reader(source, sample=1000, columns=columns).replace(
        _HERE, f"[{literal(str(source.path))}]"
    )
    try:
        return bool(connection.sql(f"SELECT 1 FROM {here} LIMIT 1").fetchall())
    except duckdb.Error as error:
        raise broken(source, error) from None


def open_table(
    connection: DuckDBPyConnection, source: Source, url: str | None, caption: str | None
) -> tuple[Table, str, str | None]:
    """A file as a table, with its URL and caption column. Raises `UserError`; reads it whole."""
    if source.format.delimiter:
        names = header(source)
        url, caption = pick(source, names, url, caption)
        keep = {url, caption, *(name for name in names if name.lower() == "uid")}
        return _typed_csv(connection, source, names, keep), url, caption
    sql = _reader(source, sample=-1)
    columns = _describe(connection, source, sql)
    url, caption = pick(source, [name for name, _ in columns], url, caption)
    if source.format.text:
        columns = tuple(
            (name, "VARCHAR" if name in (url, caption) else kind) for name, kind in columns
        )
        sql = _reader(source, columns=columns)
    return Table(source, sql, columns), url, caption


def pick(
    source: Source, names: Sequence[str], url: str | None, caption: str | None
) -> tuple[str, str | None]:
    """The URL and the caption column: as named, else by their usual names in any case.

    Raises `UserError` where there is no URL column, or a named one is missing.
    """
    found = ", ".join(names) or "none"
    lowered = {name.lower(): name for name in reversed(names)}
    for setting, named in (("url_column", url), ("caption_column", caption)):
        if named is not None and named not in names:
            raise UserError(
                f"{source.name}: no column {named!r} ({setting}); the columns are: {found}"
            )
    url = url or next((lowered[name] for name in URL_NAMES if name in lowered), None)
    if url is None:
        raise UserError(
            f"{source.name}: no URL column; the columns are: {found}; "
            "name it with --set download.url_column=NAME"
        )
    others = {name: own for name, own in lowered.items() if own != url}
    caption = caption or next((others[name] for name in CAPTION_NAMES if name in others), None)
    return url, caption


def selection(table: Table, url: str, caption: str | None, alike: Sequence[Source]) -> str:
    """A SELECT of uid, url, caption, extra columns and the source file, for files of one schema."""
    u = f"{quote(url)}::VARCHAR"
    c = f"{quote(caption)}::VARCHAR" if caption else "NULL::VARCHAR"
    computed = f"left(sha256(coalesce({u}, '') || chr(10) || coalesce({c}, '')), 32)"
    names = [name for name, _ in table.columns]
    own = next((name for name in names if name.lower() == "uid"), None)
    uid = computed
    if own is not None:
        o = f"lower({quote(own)}::VARCHAR)"
        uid = f"CASE WHEN regexp_matches({o}, '{_UID}') THEN {o} ELSE {computed} END"
    extras = [
        f"{quote(name)} AS {quote(new)}"
        for name, new in _renamed([n for n in names if n not in (url, caption, own)])
    ]
    columns = [f"{uid} AS uid", f"{u} AS url", f"{c} AS caption", *extras, SOURCE]
    paths = ", ".join(literal(str(source.path)) for source in alike)
    return f"SELECT {', '.join(columns)} FROM {table.sql.replace(_HERE, f'[{paths}]')}"


_HERE = "[:files:]"


def _renamed(names: Sequence[str]) -> list[tuple[str, str]]:
    taken = {*SIDECAR, *(name.lower() for name in names)}
    renamed = []
    for name in names:
        new = name
        if name.lower() in SIDECAR:
            new = f"list_{name}"
            while new.lower() in taken:
                new += "_1"
            taken.add(new.lower())
        renamed.append((name, new))
    return renamed


def _reader(
    source: Source, sample: int = -1, columns: tuple[tuple[str, str], ...] | None = None
) -> str:
    """A DuckDB table function over the files, which `selection` puts in."""
    found = source.format
    if not found.text:
        return f"{found.function}({_HERE}, filename='{SOURCE}')"
    options = f"{found.options}, compression='{'gzip' if source.gzipped else 'none'}'"
    options += f", filename='{SOURCE}'"
    if columns is not None:
        kinds = ", ".join(f"{literal(name)}: {literal(kind)}" for name, kind in columns)
        options += f", columns={{{kinds}}}"
    elif not found.delimiter:
        # Every row counts for the types, and a field of few rows is a column like any other.
        options += f", sample_size={sample}, map_inference_threshold=-1"
        options += ", field_appearance_threshold=0"
    return f"{found.function}({_HERE}, {options})"


def _describe(
    connection: DuckDBPyConnection, source: Source, sql: str
) -> tuple[tuple[str, str], ...]:
    import duckdb

    here = sql.replace(_HERE, f"[{literal(str(source.path))}]")
    try:
        relation = connection.sql(f"SELECT * FROM {here}")
        columns = tuple(zip(relation.columns, (str(kind) for kind in relation.types), strict=True))
    except duckdb.Error as error:
        raise broken(source, error) from None
    return tuple(column for column in columns if column[0] != SOURCE)


def _typed_csv(
    connection: DuckDBPyConnection, source: Source, names: Sequence[str], keep: set[str | None]
) -> Table:
    """A csv read as text, then cast where a whole column allows it."""
    import duckdb

    plain = _reader(source, columns=tuple((name, "VARCHAR") for name in names))
    here = plain.replace(_HERE, f"[{literal(str(source.path))}]")
    tests = [test for name in names for test in _tests(quote(name))]
    try:
        (row,) = connection.sql(f"SELECT {', '.join(tests)} FROM {here}").fetchall()
    except duckdb.Error as error:
        raise broken(source, error) from None
    columns = []
    for number, name in enumerate(names):
        fits = dict(zip(_TYPES, row[number * len(_TYPES) :], strict=False))
        kind = "VARCHAR"
        if name not in keep:
            kind = next((kind for kind in _TYPES if fits[kind]), "VARCHAR")
        columns.append((name, kind))
    casts = ", ".join(f"{quote(name)}::{kind} AS {quote(name)}" for name, kind in columns)
    return Table(source, f"(SELECT {casts}, {SOURCE} FROM {plain})", tuple(columns))


_TYPES = ("BIGINT", "DOUBLE", "BOOLEAN")


def _tests(column: str) -> list[str]:
    """Whether all values of a text column are a type's, without loss; NULL where it has none."""
    number = r"'[+-]?([0-9]{1,15}(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?'"
    return [
        f"bool_and(TRY_CAST({column} AS BIGINT)::VARCHAR IS NOT DISTINCT FROM {column})"
        f" AND count({column}) > 0",
        f"bool_and({column} IS NULL OR regexp_full_match({column}, {number})"
        f" AND NOT regexp_matches({column}, '^[+-]?0[0-9]')) AND count({column}) > 0",
        f"bool_and({column} IS NULL OR lower({column}) IN ('true', 'false'))"
        f" AND count({column}) > 0",
    ]


def quote(name: str | None) -> str:
    """A column's name in SQL."""
    return '"' + str(name).replace('"', '""') + '"'


def literal(value: str) -> str:
    """A text in SQL."""
    return "'" + value.replace("'", "''") + "'"
