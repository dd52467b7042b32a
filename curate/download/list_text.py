"""The text of a list's file: decompressed, decoded, in blocks or in numbered lines.

Recognises gzip, bzip2, xz and Zstandard by their first bytes; UTF-8, UTF-16 and UTF-32 by their
marks (UTF-16 without one by its zeros), else UTF-8. Bytes that are not UTF-8 are read as
Windows-1252, of which Latin-1 is a part, and rows with such bytes are counted: a wrong byte costs
its own row a character, never the list. Memory is that of a few blocks; a line may have 64 MiB.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, Any

from frenchcat.curate.download.list_source import Oddities, Source, bad_row, broken
from frenchcat.curate.errors import UserError

BLOCK_BYTES = 1 << 20
MAX_LINE_CHARS = 64 << 20
NOT_UTF8 = (
    "not UTF-8, other bytes read as Windows-1252 (if that is wrong, name the encoding: "
    "--set download.encoding=NAME)"
)
HALF = "half a surrogate pair, replaced by U+FFFD"
_NOT_DECODED = "bytes that are not of the encoding, replaced by U+FFFD"
_MAGIC = {
    "gzip": b"\x1f\x8b",
    "bz2": b"BZh",
    "xz": b"\xfd7zXZ\0",
    "zstd": b"\x28\xb5\x2f\xfd",
}
COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zst": "zstd", ".zstd": "zstd"}
"""A name's extension -> the compression that it stands for."""
_MARKS = (  # UTF-32's little-endian mark begins like UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF8, "utf-8"),
)


def compression_of(path: Path) -> str | None:
    """The compression by the first bytes; no text begins with any of these."""
    with open(path, "rb") as file:
        head = file.read(6)
    return next((name for name, magic in _MAGIC.items() if head.startswith(magic)), None)


def open_bytes(source: Source) -> IO[bytes]:
    """A file, decompressed. Raises `UserError` if it is not what its name says."""
    found = compression_of(source.path)
    told = COMPRESSED.get(Path(source.name.lower()).suffix)
    if told is not None and found is None:
        plain = source.name[: -len(Path(source.name).suffix)]
        raise broken(
            source,
            f"its name says {told} and its bytes do not; if it is text, rename it to {plain}",
        )
    openers: dict[str | None, Any] = {"gzip": gzip.open, "bz2": bz2.open, "xz": lzma.open}
    if found == "zstd":
        import pyarrow as pa

        opened: IO[bytes] = pa.input_stream(str(source.path), compression="zstd")
        return opened
    opened = openers.get(found, open)(source.path, "rb")
    return opened


def blocks(source: Source) -> Iterator[str]:
    """The text, in pieces. Raises `UserError` if it cannot be decompressed or decoded."""
    import pyarrow as pa

    try:
        with closing(open_bytes(source)) as file:
            head = file.read(BLOCK_BYTES)
            decoder = _decoder(source, head)
            block = head
            while block:
                following = file.read(BLOCK_BYTES)
                if text := decoder.feed(block, final=not following):
                    yield text
                block = following
    except (OSError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowException) as error:
        raise broken(source, error) from None


def beginning(head: bytes) -> str:
    """The text of a file's first bytes, for a preview."""
    unnamed = Source("", Path(), "txt", places="line")
    return _decoder(unnamed, head).feed(head, final=False)


def lines(source: Source) -> Iterator[tuple[int, str]]:
    r"""Each line with its number from 1, without its "\n"; if there is none, "\r" ends lines.

    Where the first line ends in "\r\r\n", as Python's csv module writes it on Windows into a file
    opened as text, other lines lose as much.
    """
    for first, some in lines_in_blocks(source):
        yield from enumerate(some, first)


def lines_in_blocks(source: Source) -> Iterator[tuple[int, list[str]]]:
    """The lines of each block together, with the number of the first."""
    held, number, end = "", 1, ""
    doubled: bool | None = None
    for block in blocks(source):
        end = end or ("\r" if "\r" in block and "\n" not in block else "\n")
        parts = (held + block).split(end)
        held = parts.pop()
        if doubled is None and (filled := next((line for line in parts if line.strip()), None)):
            doubled = filled.endswith("\r\r")
        if doubled:
            parts = [line[:-1] if line.endswith("\r\r") else line for line in parts]
        if parts:
            yield number, parts
            number += len(parts)
        if len(held) > MAX_LINE_CHARS:
            raise bad_row(source, number, "longer than 64 MiB", "check how it was written")
    if held:
        yield number, [held]


def mended(text: str) -> str:
    """A text whose halves of surrogate pairs are joined where they meet, else U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def decoded(data: bytes, source: Source, row: int) -> str:
    """Bytes that should be UTF-8, as text; the row is counted if they are not."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        source.oddities.note(NOT_UTF8, row)
        return data.decode("utf-8", _ODD_BYTES)


class _Utf8:
    """Decodes UTF-8; other bytes as Windows-1252."""

    def __init__(self, oddities: Oddities, mark: bool) -> None:
        self._oddities, self._skip_mark = oddities, mark
        self._rest, self._line = b"", 1

    def feed(self, block: bytes, final: bool) -> str:
        """The text of the next bytes, without a character that is cut."""
        data = self._rest + block
        try:
            text, used = codecs.utf_8_decode(data, "strict", final)
        except UnicodeDecodeError:
            text, used = self._by_lines(data, final)
        self._rest = data[used:]
        self._line += text.count("\n")
        if self._skip_mark and text:
            text, self._skip_mark = text.removeprefix("\ufeff"), False
        return text

    def _by_lines(self, data: bytes, final: bool) -> tuple[str, int]:
        texts, used = [], 0
        pieces = data.split(b"\n")
        for number, piece in enumerate(pieces):
            is_last = number == len(pieces) - 1
            piece = piece if is_last else piece + b"\n"
            whole = final or not is_last
            try:
                text, length = codecs.utf_8_decode(piece, "strict", whole)
            except UnicodeDecodeError:
                text, length = codecs.utf_8_decode(piece, _ODD_BYTES, whole)
                self._oddities.note(NOT_UTF8, self._line + number)
            texts.append(text)
            used += length
        return "".join(texts), used


def _odd_bytes(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    data = error.object[error.start : error.start + 3]
    if len(data) == 3 and data[0] == 0xED and data[1] >= 0xA0 and data[2] & 0xC0 == 0x80:
        return "\ufffd", error.start + 3  # half a surrogate pair, encoded as if it were a character
    odd = error.object[error.start : error.end]
    try:
        return odd.decode("cp1252"), error.end
    except UnicodeDecodeError:  # five bytes that Windows-1252 leaves out
        return odd.decode("latin-1"), error.end


_ODD_BYTES = "frenchcat.odd_bytes"
codecs.register_error(_ODD_BYTES, _odd_bytes)


class _Other:
    """Decodes any other encoding; invalid bytes become U+FFFD."""

    def __init__(self, oddities: Oddities, encoding: str) -> None:
        self._oddities, self._encoding = oddities, encoding
        self._wide = encoding.startswith("utf-")
        errors = "surrogatepass" if self._wide else "replace"
        self._decoder = codecs.getincrementaldecoder(encoding)(errors)
        self._line, self._begun, self._half = 1, False, ""

    def feed(self, block: bytes, final: bool) -> str:
        """The text of the next bytes, without a character that is cut."""
        waiting = self._decoder.getstate()[0]
        try:
            text, what = self._decoder.decode(block, final), HALF
        except UnicodeDecodeError:
            text, what = (waiting + block).decode(self._encoding, "replace"), _NOT_DECODED
            self._decoder.reset()
        text, self._half = self._half + text, ""
        if not final and "\ud800" <= text[-1:] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        clean = mended(text) if self._wide else text
        if clean != text or ((what == _NOT_DECODED or not self._wide) and "\ufffd" in text):
            what = what if self._wide else _NOT_DECODED
            for number, line in enumerate(clean.split("\n"), self._line):
                if "\ufffd" in line:
                    self._oddities.note(what, number)
        self._line += clean.count("\n")
        if not self._begun and clean:
            clean, self._begun = clean.removeprefix("\ufeff"), True
        return clean


def _decoder(source: Source, head: bytes) -> _Utf8 | _Other:
    """The encoding: by the setting, the mark, or the zeros of UTF-16 without a mark."""
    named = source.reading.encoding
    if named is not None:
        try:
            name = codecs.lookup(named).name
        except LookupError:
            raise UserError(
                f"download.encoding = {named!r}: there is no such encoding; for example: "
                "utf-8, cp1252, cp932, gb18030"
            ) from None
        if name not in ("utf-8", "utf-8-sig"):
            return _Other(source.oddities, name)
        return _Utf8(source.oddities, mark=True)
    marked = next((name for mark, name in _MARKS if head.startswith(mark)), None)
    if marked is None and len(head) >= 4:
        # In UTF-16 every second byte of a URL is zero; text in UTF-8 has none.
        odd, even = head[1:256:2], head[:256:2]
        if max(odd.count(0), even.count(0)) > 0.4 * len(odd):
            marked = "utf-16-le" if odd.count(0) > even.count(0) else "utf-16-be"
    if marked in (None, "utf-8"):
        return _Utf8(source.oddities, mark=True)
    source.oddities.remark(f"not UTF-8: read as {marked.upper()}, by its first bytes")
    return _Other(source.oddities, marked)
