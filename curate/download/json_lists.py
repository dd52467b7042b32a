"""json and jsonl lists: one object per row, with the number of its line or its place in the array.

Reads lines of objects, an array of objects or of URLs, objects one after another, and columns as
pandas writes them (`{"url": {"0": …}}` or `{"url": […]}`); only the last are read as a whole.
Returns objects that any reader accepts: numbers that JSON lacks (NaN, infinity) become null, half a
surrogate pair becomes U+FFFD and is counted, names that differ only in case become one name unless
one row has both.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic_core import from_json, to_json

from frenchcat.curate.download.column_names import free_name
from frenchcat.curate.download.list_source import ROW, Oddities, Source, bad_row, broken, kept_row
from frenchcat.curate.download.list_text import HALF, blocks, lines, mended

MAX_OBJECT_BYTES = 16 << 20  # DuckDB's default for one object
MAX_DEPTH = 100  # DuckDB's limit is 128
_INT64, _UINT64 = -(2**63), 2**64 - 1
_EXACT = 2**53  # a double holds every whole number up to here
_MAX_HELD_CHARS = 64 << 20
_MOST_SHAPES = 1000  # of rows whose names are cached
_SPACE = " \t\r\n"

Rows = Iterator[tuple[int, dict[str, Any] | None]]


def copy_objects(source: Source, target: Path, most: int | None = None) -> bool:
    """Write the first `most` rows (None: all) as lines of objects; returns whether there are any.

    Notes in `source.oddities.nested` if a column contains an object, or a list of things other than
    texts. Raises `UserError` for what is not JSON.
    """
    names = _Names()
    any_rows = False
    with open(target, "wb") as file:
        for row, found in islice(_rows(source), most):
            any_rows = True
            named = {} if found is None else names.of(found)
            kinds = set(map(type, named.values()))
            if not kinds <= _PLAIN:
                named = _holdable(source, named, row)
                if _is_deeper(named, MAX_DEPTH):
                    raise bad_row(source, row, f"nested more than {MAX_DEPTH} deep", "flatten it")
            data = _dumped(source, {**named, ROW: row}, row)
            if len(data) > MAX_OBJECT_BYTES:
                raise bad_row(source, row, "an object of more than 16 MiB", "shorten it")
            file.write(data + b"\n")
    source.oddities.names |= dict.fromkeys(names.all())
    return any_rows


_PLAIN = {str, float, bool, type(None)}  # types of values that are written as they are


def _holdable(source: Source, named: dict[str, Any], row: int) -> dict[str, Any]:
    """The object with numbers beyond 64 bits as text; notes the columns with nested values."""
    found = dict(named)
    for name, value in named.items():
        if isinstance(value, dict | list):
            _note_nested(source, name, value, row)
        elif type(value) is int and not _INT64 <= value <= _UINT64:
            found[name] = str(value)
        elif type(value) is int and abs(value) > _EXACT and int(float(value)) != value:
            number, first = source.oddities.large.get(name, (0, row))
            source.oddities.large[name] = (number + 1, first)
    return found


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether a value has more levels than that; a number has one."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels < 1 or any(_is_deeper(item, levels - 1) for item in items)


def _note_nested(source: Source, name: str, value: dict[str, Any] | list[Any], row: int) -> None:
    if isinstance(value, list):
        source.oddities.several.add(name)
    if isinstance(value, dict) or any(isinstance(item, dict | list) for item in value):
        source.oddities.nested.setdefault(name, row)


def _dumped(source: Source, value: dict[str, Any], row: int) -> bytes:
    """An object in UTF-8; notes a row with half a surrogate pair."""
    try:
        return to_json(value, inf_nan_mode="null")
    except ValueError:  # halves of surrogate pairs, or nested deeply
        text = json.dumps(_finite(value), ensure_ascii=False)
    clean = mended(text)
    if clean != text:
        source.oddities.note(HALF, row)
    return clean.encode()


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value


class _Names:
    """One spelling per name: DuckDB does not distinguish names by case."""

    def __init__(self) -> None:
        self._same: set[tuple[str, ...]] = set()  # names of rows that the copy has as they are
        self._spelt: dict[str, str] = {}  # as a row has it -> as the copy has it
        self._taken: dict[str, str] = {}  # in lower case -> as the copy has it

    def of(self, found: dict[str, Any]) -> dict[str, Any]:
        """The object with the copy's names."""
        row = tuple(found)
        if row in self._same:
            return found
        named: dict[str, Any] = {}
        used: set[str] = set()
        for name, value in found.items():
            spelt = self._spelt.get(name)
            if spelt is None or spelt in used:
                spelt = self._free(name, used)
            used.add(spelt)
            named[spelt] = value
        if tuple(named) == row and len(self._same) < _MOST_SHAPES:
            self._same.add(row)
        return named

    def all(self) -> list[str]:
        """Every name of the copy, in order of appearance."""
        return list(self._taken.values())

    def _free(self, name: str, used: set[str]) -> str:
        new = free_name(mended(name).replace("\0", "\ufffd").strip() or "column")
        while (taken := self._taken.get(new.lower(), new)) in used:
            new += "_1"
        self._taken.setdefault(new.lower(), taken)
        self._spelt.setdefault(name, taken)
        return taken


# -- what a file holds -----------------------------------------------------------------------------


def _rows(source: Source) -> Rows:
    first = _beginning(source)
    if source.kind == "jsonl" and not first.startswith("["):
        return _by_lines(source)
    if first.startswith("{"):
        if (columns := _columns(source, first)) is not None:
            return columns
        if _has_lines(source):
            return _by_lines(source)
    return _by_values(source)


def _trial(source: Source) -> Source:
    """The file for a preview: oddities are counted when it is read, not here."""
    return replace(source, oddities=Oddities())


def _beginning(source: Source) -> str:
    """Its first characters that are not space."""
    for block in blocks(_trial(source)):
        if text := block.lstrip():
            return text[: 1 << 16]
    return ""


def _has_lines(source: Source) -> bool:
    """Whether the first line that is not blank is an object, and another one follows."""
    filled = (line for _, line in lines(_trial(source)) if line.strip())
    first, second = next(filled, ""), next(filled, "")
    try:
        return isinstance(_loaded(first), dict) and second.lstrip().startswith("{")
    except ValueError:
        return False


def _columns(source: Source, first: str) -> Rows | None:
    """Columns as pandas writes them, read as a whole; None if the file contains something else."""
    if first.partition(":")[2].lstrip()[:1] not in ("{", "["):
        return None
    trial = _trial(source)
    try:
        value = _loaded("".join(blocks(trial)))
    except ValueError:
        return None  # lines of objects, or broken
    if not isinstance(value, dict) or not all(isinstance(c, dict | list) for c in value.values()):
        return None
    columns = {
        name: list(column.values()) if isinstance(column, dict) else column
        for name, column in value.items()
    }
    if len({len(column) for column in columns.values()}) != 1:
        return None
    source.oddities.add(trial.oddities)
    rows = zip(*columns.values(), strict=True)
    return ((row, dict(zip(columns, values, strict=True))) for row, values in enumerate(rows, 1))


def _by_lines(source: Source) -> Rows:
    for row, line in lines(source):
        if not line.strip():
            continue
        try:
            value = _loaded(line)
        except ValueError as error:
            value, why = None, str(error)
        else:
            why = f"{_kind(value)} where an object is meant"
        if not isinstance(value, dict):
            kept_row(source, row, why)
            value = None
        yield row, value


def _by_values(source: Source) -> Rows:
    for row, value in enumerate(_values(source), 1):
        if isinstance(value, str):
            value = {"url": value}
        if not isinstance(value, dict):
            kept_row(source, row, f"{_kind(value)} where an object is meant")
            value = None
        yield row, value


def _values(source: Source) -> Iterator[Any]:
    """The values of an array, or of a sequence, without holding more than a few blocks."""
    more = blocks(source)
    held, at, line = "", 0, 1
    in_array, ended, reading = False, False, True
    while True:
        while at < len(held) and (held[at] in _SPACE or (in_array and held[at] == ",")):
            line += held[at] == "\n"
            at += 1
        if at == len(held):
            held, at = next(more, ""), 0
            if not held:
                if in_array and not ended:
                    raise broken(source, f"Line: {line}, the array does not end")
                return
            continue
        if ended:
            raise broken(source, f"Line: {line}, text after the end of the array")
        if held[at] == "[" and not in_array:
            in_array, at = True, at + 1
        elif held[at] == "]" and in_array:
            ended, at = True, at + 1
        else:
            try:
                value, end = _decoder.raw_decode(held, at)
            except (ValueError, RecursionError) as error:
                size = len(held) - at
                following = "".join(islice(more, max(1, size >> 20))) if reading else ""
                reading = bool(following) and size < _MAX_HELD_CHARS
                if not reading:
                    raise broken(source, _at(error, held, at, line)) from None
                held, at = held[at:] + following, 0
                continue
            line += held.count("\n", at, end)
            at = end
            yield value


def _at(error: Exception, held: str, at: int, line: int) -> str:
    place = error.pos if isinstance(error, json.JSONDecodeError) else at
    return f"Line: {line + held.count(chr(10), at, place)}, {_why(error)}"


def _why(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return error.msg
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


def _loaded(text: str) -> Any:
    """A JSON value. Raises ValueError."""
    try:
        return from_json(text, allow_inf_nan=False)  # several times as fast
    except ValueError:
        pass  # NaN, half a surrogate pair, or not JSON: the reason is the other's
    try:
        return _decoder.decode(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(_why(error)) from None


def _kind(value: Any) -> str:
    kinds = {list: "an array", str: "a text", bool: "a truth value", type(None): "null"}
    return kinds.get(type(value), "a number")


_no_constant: Callable[[str], None] = lambda text: None  # noqa: E731
_decoder = json.JSONDecoder(parse_constant=_no_constant)
