"""Files of a URL list -> one relation: uid, url, caption, then the list's own columns.

Reads list files through DuckDB, writes nothing. Parquet and JSON keep their types. A csv column
becomes BIGINT, DOUBLE or BOOLEAN only if no value of the whole file would lose a significant
character (``007`` and numbers beyond 64 bits stay text); this costs one more pass over the file and
finds every broken line before anything is written. A column whose type differs between files gets a
type for both, text if nothing else. URLs and captions become text, whatever the list has: bytes are
decoded; of several captions the settings choose. An image's bytes inside the list are kept with the
path that the list gives them. An extra column whose name (in any case) is one of the sidecar's own
is kept as ``list_<name>``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from frenchcat.curate.download.column_names import IMAGE_NAMES, pick, usual
from frenchcat.curate.download.list_reader import describe, here, reader, typed_csv
from frenchcat.curate.download.list_source import ROW, SOURCE, Source, broken, listed
from frenchcat.curate.download.losses import note_large_numbers, note_types
from frenchcat.curate.errors import UserError
from frenchcat.curate.promote import arrow_type, as_type, promoted, sql_type
from frenchcat.curate.sidecar import NAMES
from frenchcat.curate.sql_text import quoted

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SOURCE_FILE, SOURCE_ROW = "source_file", "source_row"
"""Which of several files a row came from, and its line or number there, from 1."""
IMAGE_PATH, IMAGE_BYTES = "source_path", "source_bytes"
"""For an image inside the list: the list's path for it, and its bytes."""
ORIGIN = (SOURCE_FILE, SOURCE_ROW, IMAGE_PATH)
# Names that a list's own columns may not have.
SIDECAR = (*NAMES, IMAGE_BYTES)
_UID = "^[0-9a-f]{32}$"
_IMAGE = re.compile(r"BLOB|STRUCT\(.*\bbytes\"? BLOB\b.*\)")
_TEXTS = ("VARCHAR[]", "BLOB[]")
_NO_TEXT = ("STRUCT(", "MAP(", "UNION(")


@dataclass(frozen=True)
class Table:
    """A file of the list: its DuckDB expression, its columns (name, type), and their roles."""

    source: Source
    sql: str
    columns: tuple[tuple[str, str], ...]
    url: str | None = None
    caption: str | None = None
    image: str | None = None
    keeps_uid: bool = False  # its own column of that name does not identify all its rows

    def type_of(self, name: str | None) -> str:
        """DuckDB's name of a column's type."""
        return dict(self.columns)[str(name)]

    @property
    def uid(self) -> str | None:
        """The list's own column of that name."""
        return next((name for name, _ in self.columns if name.lower() == "uid"), None)

    def extras(self) -> list[tuple[str, str]]:
        """The columns that are kept, each with its name in the dataset.

        A column with several URLs or captions per row is kept, because the chosen one is not all it
        says.
        """
        taken = [None if self.keeps_uid else self.uid, self.image]
        taken += [name for name in (self.url, self.caption) if name and not self.is_several(name)]
        return renamed([name for name, _ in self.columns if name not in taken])

    def is_several(self, name: str) -> bool:
        """Whether a column has several texts per row, so that the chosen one is not all it says."""
        return self.type_of(name) in _TEXTS or name in self.source.oddities.several


def uid_of(url: str, caption: str | None) -> str:
    """A row's identity across crawls: the first 32 hex digits of SHA-256 of URL, newline,
    caption.
    """
    return hashlib.sha256(f"{url}\n{caption or ''}".encode()).hexdigest()[:32]


def is_uid(text: str) -> bool:
    """Whether a list's own value can be a row's identity."""
    return re.fullmatch(_UID, text) is not None


def check_columns(connection: DuckDBPyConnection, source: Source) -> None:
    """Raise `UserError` if a file's beginning has no URL column, or a named column is missing."""
    _picked(source, describe(connection, source, reader(source, sample=1000)))


def has_rows(connection: DuckDBPyConnection, source: Source) -> bool:
    """Whether a file has at least one row. Raises `UserError` if its beginning is broken."""
    import duckdb

    columns = (("url", "JSON"),) if source.copied == "objects" else None
    files = here(reader(source, columns=columns), [source])
    try:
        return bool(connection.sql(f"SELECT 1 FROM {files} LIMIT 1").fetchall())
    except (duckdb.Error, RuntimeError, UnicodeDecodeError) as error:  # of a damaged file
        raise broken(source, error) from None


def open_table(connection: DuckDBPyConnection, source: Source) -> Table:
    """A file as a table. Raises `UserError`; reads a file of text or JSON whole."""
    table = _open_table(connection, source)
    if table.uid is None:
        return table
    fits = f"coalesce({_fitting_sql(table, table.uid)}, false)"
    sql = f"SELECT bool_and({fits}) FROM {here(table.sql, [source])}"
    ((all_fit,),) = connection.sql(sql).fetchall()
    return replace(table, keeps_uid=not all_fit)


def _open_table(connection: DuckDBPyConnection, source: Source) -> Table:
    columns = describe(connection, source, reader(source, sample=-1))
    url, caption, image = _picked(source, columns)
    if source.copied == "texts":
        keep = {url, caption, *(name for name, _ in columns if name.lower() == "uid")}
        sql, columns = typed_csv(connection, source, [name for name, _ in columns], keep)
        return Table(source, sql, columns, url, caption)
    sql = reader(source)
    if source.copied == "objects":
        for what, name in (("URL", url), ("caption", caption)):
            _refuse_nested(source, what, name)
        columns = tuple(
            (name, _json_type(source, name, kind, is_text=name in (url, caption)))
            for name, kind in columns
        )
        note_large_numbers(source, columns)
        sql = reader(source, columns=columns)
    note_types(source)
    return Table(source, sql, columns, url, caption, image)


def _json_type(source: Source, name: str, kind: str, *, is_text: bool) -> str:
    """The type as which a JSON column is read: JSON if a row has several texts."""
    if not is_text:
        return _plain_type(kind)
    return "JSON" if name in source.oddities.several else "VARCHAR"


def _plain_type(kind: str) -> str:
    """The type of a JSON column; text if Arrow or parquet cannot hold what was found."""
    return "VARCHAR" if kind in ("JSON", "UUID", "HUGEINT", "UHUGEINT", "INTERVAL") else kind


def _refuse_nested(source: Source, what: str, name: str | None) -> None:
    row = source.oddities.nested.get(name or "")
    if row is not None:
        raise UserError(
            f"{source.name}: {source.places} {row}: the {what} column {name!r} holds an object; "
            f"name another: --set download.{what.lower()}_column=NAME"
        )


def _picked(
    source: Source, columns: tuple[tuple[str, str], ...]
) -> tuple[str | None, str | None, str | None]:
    """The columns for URL, caption and image. Raises `UserError` if their types do not fit."""
    names, types = [name for name, _ in columns], dict(columns)
    reading = source.reading
    image = reading.image_column
    if image is not None and image not in names:
        raise UserError(
            f"{source.name}: no column {image!r} (image_column); the columns are: {listed(names)}"
        )
    held = [name for name, kind in columns if _IMAGE.fullmatch(kind)]
    if image is None:
        structs = [name for name in held if types[name] != "BLOB"]
        image = usual(structs, IMAGE_NAMES) or usual(held, IMAGE_NAMES)
    elif image not in held:
        raise UserError(
            f"{source.name}: the column {image!r} (image_column) is {types[image]}; an image is "
            "bytes, or a struct of bytes and path"
        )
    url, caption = pick(source, names, reading.url_column, reading.caption_column, image)
    for what, name in (("url", url), ("caption", caption)):
        kind = types.get(name or "", "")
        if kind.startswith(_NO_TEXT) or (kind.endswith("]") and kind not in _TEXTS):
            if source.copied == "objects":
                continue  # reported with its row, once all are known
            raise UserError(
                f"{source.name}: the {what} column {name!r} is {kind[:80]}; it has to be text, "
                f"bytes or a list of them; name another: --set download.{what}_column=NAME"
            )
    return url, caption, image


# -- one SELECT per group of files ---------------------------------------------------------------


def selection(
    table: Table, alike: Sequence[Source], wanted: Mapping[str, str], *, images: bool
) -> str:
    """A SELECT of uid, url, caption, extra columns and the origin, for files of one schema.

    `wanted` has the types of extra columns, by their names in lower case; `images` says whether any
    file of the list contains image bytes.
    """
    inner = [
        f"{_url_sql(table)} AS frenchcat_url",
        f"{_caption_sql(table)} AS frenchcat_caption",
        *(_image_sql(table) if images else []),
        *([] if table.source.copied else [f"file_row_number + 1 AS {ROW}"]),
    ]
    extras = [
        f"{_cast(quoted(name), table.type_of(name), wanted[new.lower()])} AS {quoted(new)}"
        for name, new in table.extras()
    ]
    outer = [
        f"{_uid_sql(table, images)} AS uid",
        *("frenchcat_url AS url", "frenchcat_caption AS caption"),
        *extras,
        *(f"{ROW}::BIGINT AS {SOURCE_ROW}", SOURCE),
        *([IMAGE_PATH, IMAGE_BYTES] if images else []),
    ]
    files = here(table.sql, alike)
    return f"SELECT {', '.join(outer)} FROM (SELECT *, {', '.join(inner)} FROM {files})"


def _uid_sql(table: Table, images: bool) -> str:
    """The list's own uid if it is one, else that of `uid_of`.

    For a row without a URL and with an image inside, the SHA-256 of the image's bytes replaces the
    URL.
    """
    url = "coalesce(frenchcat_url, '')"
    if images:
        url = f"coalesce(frenchcat_url, 'sha256:' || sha256({IMAGE_BYTES}), '')"
    text = f"{url} || chr(10) || coalesce(frenchcat_caption, '')"
    computed = f"left(sha256({text}), 32)"
    if table.uid is None:
        return computed
    given = f"lower({quoted(table.uid)}::VARCHAR)"
    return f"CASE WHEN {_fitting_sql(table, table.uid)} THEN {given} ELSE {computed} END"


def _fitting_sql(table: Table, uid: str) -> str:
    """Whether a row's own uid, in the column `uid`, is valid."""
    fits = f"regexp_matches(lower({quoted(uid)}::VARCHAR), '{_UID}')"
    if table.source.reading.captions == "all" and (several := _several_sql(table, table.caption)):
        fits += f" AND coalesce(len({several}), 0) < 2"  # rows of one uid would be one row
    return fits


def _url_sql(table: Table) -> str:
    if table.url is None:
        assert table.image is not None, "a list has URLs or images"
        image = quoted(table.image)
        if table.type_of(table.image) == "BLOB":
            return "NULL::VARCHAR"
        path = f"{image}.path"
        return f"CASE WHEN regexp_matches({path}, '^[A-Za-z][A-Za-z0-9+.-]*://') THEN {path} END"
    several, one = _several_sql(table, table.url), _text_sql(table, table.url)
    return f"coalesce(({several})[1], {one})" if several else one


def _caption_sql(table: Table) -> str:
    if table.caption is None:
        return "NULL::VARCHAR"
    several, one = _several_sql(table, table.caption), _text_sql(table, table.caption)
    if not several:
        return one
    rule = table.source.reading.captions
    if rule == "all":
        return f"unnest(CASE WHEN len({several}) > 0 THEN {several} ELSE [{one}] END)"
    if rule == "longest":  # the first of those
        longest = f"list_aggregate(list_transform({several}, lambda x: length(x)), 'max')"
        several = f"list_filter({several}, lambda x: length(x) = {longest})"
    return f"coalesce(({several})[1], {one})"


def _text_sql(table: Table, name: str) -> str:
    """A column's value as text; NULL if it has several."""
    kind, column = table.type_of(name), quoted(name)
    if kind == "JSON":
        return f"CASE WHEN json_type({column}) <> 'ARRAY' THEN {column} ->> '$' END"
    if kind == "BLOB":
        return _decoded_sql(column)
    return "NULL::VARCHAR" if kind in _TEXTS else f"{column}::VARCHAR"


def _several_sql(table: Table, name: str | None) -> str:
    """The texts of a value that has several, without blank ones; "" for a column of single ones.

    NULL for a row that has one.
    """
    if name is None:
        return ""
    kind, column = table.type_of(name), quoted(name)
    if kind == "JSON":
        column = f"CASE WHEN json_type({column}) = 'ARRAY' "
        column += f"THEN from_json({quoted(name)}, '[\"VARCHAR\"]') END"
    elif kind == "BLOB[]":
        column = f"list_transform({column}, lambda b: {_decoded_sql('b')})"
    elif kind != "VARCHAR[]":
        return ""
    return f"list_filter({column}, lambda t: trim(t) <> '')"


def _decoded_sql(column: str) -> str:
    """Bytes as text: UTF-8, else Latin-1."""
    code = f"('0x' || hex({column})[2 * i + 1:2 * i + 2])::INTEGER"
    chars = f"list_transform(range(octet_length({column})), lambda i: chr({code}))"
    return f"coalesce(try(decode({column})), array_to_string({chars}, ''))"


def _image_sql(table: Table) -> list[str]:
    """The path and the bytes of an image inside the list."""
    path, data = "NULL::VARCHAR", "NULL::BLOB"
    if table.image is not None:
        data = image = quoted(table.image)
        if (kind := table.type_of(table.image)) != "BLOB":
            data = f"{image}.bytes"
            path = f"{image}.path" if re.search(r"\bpath\"? VARCHAR", kind) else path
    return [f"{path} AS {IMAGE_PATH}", f"{data} AS {IMAGE_BYTES}"]


# -- types that differ between files -------------------------------------------------------------


def types_of(tables: Sequence[Table]) -> dict[str, str]:
    """The type of each extra column over all files (promote.py), by its name in lower case."""
    found: dict[str, str] = {}
    for table in tables:
        for name, new in table.extras():
            kind = _plain_type(table.type_of(name))
            found[new.lower()] = _common(found.get(new.lower(), kind), kind)
    return found


def _common(one: str, other: str) -> str:
    """A type for the values of both."""
    return one if one == other else sql_type(promoted(arrow_type(one), arrow_type(other)))


def _cast(column: str, kind: str, wanted: str) -> str:
    if kind == wanted:
        return column
    if wanted == "VARCHAR" and kind == "BLOB":
        return _decoded_sql(column)
    if (plain := _plain_type(kind)) != kind:
        column = f"{column}::{plain}"
    cast = as_type(column, arrow_type(plain), arrow_type(wanted))
    return f"{column}::{wanted}" if cast == column else cast


def renamed(names: Sequence[str]) -> list[tuple[str, str]]:
    """Each column's name and its name in the dataset."""
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
