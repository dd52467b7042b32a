r"""csv and tsv lists: records from lines, with the number of the line on which each begins.

Reads the lines of a file, gives columns of text. The header names the columns, or the setting
`columns` does; the delimiter is that of the file's kind unless another one finds a URL column.

Quotation marks (RFC 4180) are where rows get lost: a mark that opens a field and is never meant to
(`"Nice" boat`, `"a boat`) makes a reader swallow lines up to the next mark. Hence:

- A field is quoted where it begins with a mark, and the mark that ends it is followed by a
  delimiter or the end of the line, marks inside being doubled. Any other mark is a character.
- In a tsv a line that has all its fields is a row, unless the quoted field at its end goes on over
  lines none of which is a row by itself.
- In a csv a quoted field may hold line ends, as the standard says. Where the line with the opening
  mark and one that was swallowed are both whole rows with a URL, nobody can tell which is meant:
  the list is refused by that line, and the setting `quotes` decides.

Cost: some 100,000 rows per second of one core; more where no line has a quotation mark.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from frenchcat.curate.download import column_names
from frenchcat.curate.download.list_source import ROW, Source, bad_row, batched, kept_row
from frenchcat.curate.download.list_text import lines_in_blocks
from frenchcat.curate.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

DELIMITERS = {"csv": ",", "tsv": "\t"}
_OTHERS = (",", "\t", ";", "|")
_BATCH_ROWS = 20_000
_BATCH_CHARS = 32 << 20
_MOST_LINES = 10_000  # of one quoted field
_QUOTED = re.compile(r'"((?:[^"]++|"")*+)"')
_DECIDE = (
    "if fields may hold line ends: --set download.quotes=csv; if quotation marks are characters "
    "like any other: --set download.quotes=none"
)


@dataclass(frozen=True)
class _Open:
    """A text whose last field begins with a quotation mark that is never closed."""


@dataclass(frozen=True)
class _Malformed:
    """A text in which a quoted field is followed by more than a delimiter."""


def tables(source: Source) -> Iterator[dict[str, Any]]:
    """Columns of text, some rows at a time, with `ROW`.

    Raises `UserError` for a file without a header or URL column, and for a line with too many or
    too few fields.
    """
    import pyarrow as pa

    reader = _Reader(source)
    if reader.names:
        yield _columns(reader.names, [])  # so that a file without rows has its columns
    for rows, records in reader.batches():
        yield _columns(reader.names, records) | {ROW: pa.array(rows, pa.int64())}


def _columns(names: list[str], records: Sequence[Sequence[str | None]]) -> dict[str, pa.Array]:
    import pyarrow as pa

    columns: Sequence[Sequence[str | None]] = list(zip(*records, strict=True)) or [()] * len(names)
    found: dict[str, pa.Array] = {}
    for name, values in zip(names, columns, strict=True):
        values = [value or None for value in values] if "" in values else values
        found[name] = pa.array(values, pa.string())
    found[ROW] = pa.array([], pa.int64())
    return found


class _Reader:
    """The records of one file."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._blocks = lines_in_blocks(source)
        self._ahead: deque[tuple[int, str]] = deque()
        self._kind = source.kind
        self.delimiter = DELIMITERS[source.kind]
        self.names: list[str] = []
        self._url: int | None = None
        self._begin()

    # -- the header ------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Find the delimiter and the columns."""
        candidates = [self.delimiter, *(one for one in _OTHERS if one != self.delimiter)]
        while (first := self._next()) is not None and not first[1].strip("\r \ufeff"):
            pass
        if first is not None and (told := re.fullmatch(r'"?sep=(.)"?\r?', first[1])):
            candidates = [told[1]]  # as spreadsheets write it
            self.delimiter = told[1]
            first = self._next()
        if first is None:
            return
        reading = self._source.reading
        headers = {one: self._header(first, one) for one in candidates}
        if reading.columns:
            if self.delimiter not in first[1]:
                wanted = len(reading.columns)
                fits = (one for one in candidates if len(headers[one]) == wanted)
                self.delimiter = next(fits, candidates[0])
            self.names = column_names.unique(reading.columns)
            self._ahead.appendleft(first)
        else:
            self.delimiter = self._delimiter(headers)
            self.names = column_names.unique(headers[self.delimiter])
            self._refuse_a_row(first[0], headers)
        url, _ = column_names.pick(
            self._source, self.names, reading.url_column, reading.caption_column
        )
        self._url = None if url is None else self.names.index(url)

    def _header(self, first: tuple[int, str], delimiter: str) -> list[str]:
        if self._source.reading.quotes != "none":
            fields = _fields(first[1].removesuffix("\r"), delimiter)
            if isinstance(fields, list):
                return fields
        return first[1].removesuffix("\r").split(delimiter)

    def _delimiter(self, headers: dict[str, list[str]]) -> str:
        """The first delimiter that finds a URL column."""
        reading = self._source.reading
        known = (reading.url_column,) if reading.url_column else column_names.URL_NAMES
        for one, names in headers.items():
            if column_names.usual(column_names.unique(names), known):
                return one
        return next(iter(headers))

    def _refuse_a_row(self, row: int, headers: dict[str, list[str]]) -> None:
        """Raise `UserError` if the header is a row: one of its names is a URL."""
        for fields in sorted(headers.values(), key=lambda fields: len(fields) == 1):
            is_url = [column_names.like_url(field) and " " not in field for field in fields]
            if not any(is_url):
                continue
            url = is_url.index(True)
            texts = [number for number in range(len(fields)) if number != url]
            longest = max(texts, key=lambda number: len(fields[number]), default=None)
            names = [f"column{number}" for number in range(len(fields))]
            names[url] = "url"
            if longest is not None:
                names[longest] = "caption"
            quoted = ",".join(f'"{name}"' for name in names)
            raise UserError(
                f"{self._source.name}: line {row} is a row, not a header; name the columns in "
                f"their order, for example: --set 'download.columns=[{quoted}]'"
            )

    # -- the records -----------------------------------------------------------------------------

    def batches(self) -> Iterator[tuple[Sequence[int], Sequence[Sequence[str | None]]]]:
        """Some records at a time: the lines they begin on, and their fields."""
        while (block := self._block()) is not None:
            first, some = block
            if (records := self._plain(some)) is not None:
                yield range(first, first + len(some)), records
                continue
            self._ahead.extend(enumerate(some, first))
            for batch in batched(self._records(), _BATCH_ROWS, _BATCH_CHARS):
                yield [row for row, _ in batch], [fields for _, fields in batch]

    def _block(self) -> tuple[int, list[str]] | None:
        """The lines ahead, else those of the next block, with the number of the first."""
        if not self._ahead:
            return next(self._blocks, None)
        first, some = self._ahead[0][0], [line for _, line in self._ahead]
        self._ahead.clear()
        return first, some

    def _plain(self, some: list[str]) -> list[list[str]] | None:
        """The fields of lines if each is certainly a record; None otherwise.

        That holds for lines without quotation marks, and for those of a csv whose marks the
        standard reads as whole fields.
        """
        width, delimiter = len(self.names), self.delimiter
        ended = [line.removesuffix("\r") for line in some]
        if self._source.reading.quotes == "none" or not any('"' in line for line in ended):
            found = [line.split(delimiter) for line in ended]
        elif self._kind == "tsv" or any("\r" in line or "\n" in line for line in ended):
            return None  # tsv has another rule; at a line's end the reader below drops these two
        else:
            try:
                found = list(csv.reader(ended, delimiter=delimiter, strict=True))
            except (csv.Error, TypeError, ValueError):  # the latter for an odd delimiter
                return None
        # A record over several lines leaves fewer of them; a blank line has another width, or none.
        is_sure = width > 1 and len(found) == len(some) and set(map(len, found)) == {width}
        return found if is_sure else None

    def _records(self) -> Iterator[tuple[int, int, list[str | None]]]:
        """Each record that begins on the lines ahead: its line, its length, its fields."""
        width, delimiter = len(self.names), self.delimiter
        blank: list[str | None] = [None] * width
        quotes = self._source.reading.quotes
        while self._ahead:
            row, whole = self._ahead.popleft()
            line = whole.removesuffix("\r")
            if not line:
                continue
            fields: list[str] | None
            if '"' not in line or quotes == "none":
                fields = line.split(delimiter)
                if len(fields) != width:
                    self._note_ragged(row, len(fields))
                    fields = None
            else:
                fields = self._quoted(row, line, whole)
            yield row, len(line), blank if fields is None else list(fields)

    def _next(self) -> tuple[int, str] | None:
        if not self._ahead and (block := next(self._blocks, None)) is not None:
            first, some = block
            self._ahead.extend(enumerate(some, first))
        return self._ahead.popleft() if self._ahead else None

    def _note_ragged(self, row: int, fields: int) -> None:
        """Note a line with too few or too many fields. Raises `UserError` unless they are kept."""
        width = len(self.names)
        what = "the setting `columns`" if self._source.reading.columns else "the header"
        kept_row(
            self._source,
            row,
            f"{fields} {'field' if fields == 1 else 'fields'} where {what} has {width}",
        )

    def _quoted(self, row: int, line: str, whole: str) -> list[str] | None:
        """The fields of a record that begins with this line, which has a quotation mark.

        `whole` is the line with the carriage return at its end, which may belong to a field.
        """
        width = len(self.names)
        by_lines = self._kind == "tsv" and self._source.reading.quotes == "auto"
        found = _fields(line, self.delimiter)
        if isinstance(found, list) and len(found) == width and not by_lines:
            return found
        literal = _literal(line, self.delimiter)
        if isinstance(found, _Open):
            return self._over_lines(row, line, whole, literal)
        if len(literal) == width:
            return literal
        if isinstance(found, list) and len(found) == width:
            return found
        self._note_ragged(row, len(found) if isinstance(found, list) else len(literal))
        return None

    def _over_lines(self, row: int, line: str, whole: str, literal: list[str]) -> list[str] | None:
        """The record whose last field on this line is quoted and does not end there."""
        is_row = len(literal) == len(self.names)
        may_end = is_row and self._source.reading.quotes == "auto"
        may_end = may_end and (self._kind == "tsv" or self._is_row(line) == "row")
        text, doubtful = whole, None
        taken: list[tuple[int, str]] = []
        found: list[str] | _Open | _Malformed = _Open()
        while isinstance(found, _Open) and len(taken) < _MOST_LINES:
            if (following := self._next()) is None:
                break
            taken.append(following)
            one = following[1].removesuffix("\r")
            if may_end and (sure := self._is_row(one)):
                if sure == "row" and self._kind == "tsv":
                    break
                doubtful = doubtful or following[0]
            text = f"{text}\n{following[1]}"
            if '"' in one:
                found = _fields(text.removesuffix("\r"), self.delimiter)
        if isinstance(found, list) and len(found) == len(self.names):
            if doubtful is not None:
                why = (
                    f"a quoted field that begins here holds line {doubtful}, which looks like a "
                    "row of its own"
                )
                raise bad_row(self._source, row, why, _DECIDE)
            return found
        self._ahead.extendleft(reversed(taken))
        if is_row:
            return literal
        kept_row(self._source, row, "a quotation mark that opens a field is never closed")
        return None

    def _is_row(self, line: str) -> str:
        """Whether a line is a row by itself: "row", "maybe" (its URL is not one), or ""."""
        fields = _literal(line, self.delimiter)
        if len(fields) != len(self.names):
            return ""
        if self._url is None or column_names.like_url(fields[self._url].lstrip('"')):
            return "row"
        return "maybe" if self._kind == "tsv" else ""


def _fields(text: str, delimiter: str) -> list[str] | _Open | _Malformed:
    """The fields of a record by RFC 4180."""
    fields: list[str] = []
    at = 0
    while True:
        if text.startswith('"', at):
            match = _QUOTED.match(text, at)
            if match is None:
                return _Open()
            field, end = match[1].replace('""', '"'), match.end()
            if end < len(text) and not text.startswith(delimiter, end):
                return _Malformed()
        else:
            end = text.find(delimiter, at)
            end = len(text) if end < 0 else end
            field = text[at:end]
        fields.append(field)
        if end == len(text):
            return fields
        at = end + 1


def _literal(line: str, delimiter: str) -> list[str]:
    """The fields of a line by its delimiters alone; a field that is quoted as a whole is
    unquoted.
    """
    fields = line.split(delimiter)
    for number, field in enumerate(fields):
        if field.startswith('"') and (match := _QUOTED.fullmatch(field)):
            fields[number] = match[1].replace('""', '"')
    return fields
