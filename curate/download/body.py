"""A response body, bounded while it arrives.

Takes chunks from the network, returns the decoded bytes. We request no compression; if a server
compresses anyway, the body is decoded step by step, so that a few kilobytes cannot expand into
gigabytes unnoticed. Memory never exceeds the cap and one chunk.
"""

import zlib

from frenchcat.curate.image.header import stated_size
from frenchcat.curate.image.sniff import IMAGE_KINDS, SNIFF_BYTES, sniff
from frenchcat.curate.reasons import FailureReason, FetchFailure

_GZIP = frozenset({"gzip", "x-gzip"})
_UNREADABLE = frozenset({"br", "zstd", "compress", "x-compress"})


class BoundedBody:
    """Collects one body. Every method raises FetchFailure if the body breaks a rule."""

    def __init__(
        self, max_bytes: int, announced: int | None, encoding: str, *, any_kind: bool = False
    ) -> None:
        """Take the cap in bytes, and the Content-Length and Content-Encoding.

        Without `any_kind`, a body that does not begin like an image is not read to its end.
        """
        self._max_bytes = max_bytes
        if announced is not None and announced > max_bytes:
            raise self._too_large(f"{announced} bytes announced")
        self._encoding = _only_encoding(encoding)
        self._inflate = _inflater(self._encoding)
        self._received = 0
        self._parts: list[bytes] = []
        self._length = 0
        self._sniffed = any_kind

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes from the network."""
        self._received += len(chunk)
        if self._received > self._max_bytes:
            raise self._too_large(f"{self._received} bytes received")
        if self._encoding:
            chunk = self._decode(chunk)
        self._parts.append(chunk)
        self._length += len(chunk)
        if not self._sniffed and self._length >= SNIFF_BYTES:
            self._sniffed = True
            check_kind(b"".join(self._parts))

    def finish(self) -> bytes:
        """The whole body, once the response has ended."""
        if self._inflate is not None and not self._inflate.eof and self._received:
            raise FetchFailure(FailureReason.TRUNCATED, f"the {self._encoding} stream has no end")
        if not self._length:
            raise FetchFailure(FailureReason.EMPTY_BODY, "the body is empty")
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)

    def _decode(self, chunk: bytes) -> bytes:
        if self._encoding == "deflate" and self._received == len(chunk) and chunk[0] & 15 != 8:
            self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)  # raw, as some servers send it
        assert self._inflate is not None
        room = self._max_bytes - self._length
        try:
            decoded = self._inflate.decompress(chunk, room + 1)
        except zlib.error as error:
            raise FetchFailure(FailureReason.BAD_ENCODING, f"{self._encoding}: {error}") from error
        if len(decoded) > room:
            raise self._too_large(f"{self._encoding} of more than {self._max_bytes} bytes")
        return decoded

    def _too_large(self, what: str) -> FetchFailure:
        return FetchFailure(FailureReason.BODY_TOO_LARGE, f"{what}, the cap is {self._max_bytes}")


def check_kind(body: bytes) -> str:
    """The image's format. Raises FetchFailure(not_an_image), which says what it is instead."""
    kind = sniff(body)
    if kind not in IMAGE_KINDS:
        raise FetchFailure(FailureReason.NOT_AN_IMAGE, kind)
    return kind


def check_image(body: bytes, max_pixels: int) -> tuple[str, int, int]:
    """The format of an image, and its width and height from its header. Raises FetchFailure."""
    kind = check_kind(body)
    try:
        width, height = stated_size(body, kind)
    except ValueError as error:
        raise FetchFailure(FailureReason.BAD_IMAGE, str(error)) from error
    if width * height > max_pixels:
        detail = f"{width} x {height} {kind}, the cap is {max_pixels} pixels"
        raise FetchFailure(FailureReason.TOO_MANY_PIXELS, detail)
    return kind, width, height


def _only_encoding(header: str) -> str:
    """The compression named by a Content-Encoding header, "" for none.

    Names that are not a compression ("utf-8", "none", "aws-chunked") are common and mean nothing.
    """
    names = [name.strip().lower() for name in header.split(",")]
    named = [name for name in names if name in _GZIP | _UNREADABLE | {"deflate"}]
    if len(named) > 1 or _UNREADABLE.intersection(named):
        raise FetchFailure(
            FailureReason.BAD_ENCODING, f"sent as {header[:80]!r}, asked for identity"
        )
    return named[0] if named else ""


def _inflater(encoding: str) -> "zlib._Decompress | None":
    if not encoding:
        return None
    return zlib.decompressobj(16 + zlib.MAX_WBITS if encoding in _GZIP else zlib.MAX_WBITS)
