"""Bytes that a browser or a proxy has already, and parts of them: ETag, Range (RFC 9110).

A proxy that compresses an answer makes its strong ETag a weak one (`W/"…"`), and sends several in
one If-None-Match; both still name the same bytes here.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response


def tag_of(data: bytes) -> str:
    """The ETag of bytes."""
    return f'"{hashlib.sha256(data).hexdigest()[:32]}"'


def has_tag(request: Request, tag: str) -> bool:
    """Whether a request's If-None-Match names the tag, weakly compared."""
    given = request.headers.get("if-none-match", "")
    return given.strip() == "*" or tag in re.findall(r'"[^"]*"', given)


def part(request: Request, size: int, tag: str) -> tuple[int, int] | None:
    """First byte and the one after the last of a request for one part; None: all is wanted.

    A range that begins beyond the end gives (size, size). Several ranges are answered with all.
    """
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", "").strip())
    if found is None or found[0] == "bytes=-":
        return None
    if request.headers.get("if-range", tag) != tag:
        return None
    first, last = found.groups()
    if not first:
        return max(0, size - _number(last)), size
    end = min(size, _number(last) + 1) if last else size
    if last and _number(last) < _number(first):
        return None
    return min(_number(first), size), end


def _number(digits: str) -> int:
    """A number of bytes; of one that is beyond all sizes, some such number."""
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) < len(str(sys.maxsize)) else sys.maxsize


def answer_bytes(request: Request, data: bytes, kind: str, headers: Mapping[str, str]) -> Response:
    """200 with all of it, 206 with the part asked for, 304 where the asker has it, or 416."""
    tag = tag_of(data)
    sent = {**headers, "ETag": tag, "Accept-Ranges": "bytes"}
    if has_tag(request, tag):
        return Response(status_code=304, headers=sent)
    wanted = part(request, len(data), tag)
    if wanted is None:
        return Response(data, media_type=kind, headers=sent)
    first, end = wanted
    if first >= end:
        return Response(status_code=416, headers={**sent, "Content-Range": f"bytes */{len(data)}"})
    sent["Content-Range"] = f"bytes {first}-{end - 1}/{len(data)}"
    return Response(data[first:end], status_code=206, media_type=kind, headers=sent)
