r"""Any value as JSON that every reader takes: strict, in UTF-8, harmless on a terminal.

JSON has no NaN, no bytes, no times and no halves of surrogate pairs, while a list's own columns
have them all. One rule for `--json`, the service's answers and the files that frenchcat writes:

    NaN, infinity             null
    bytes                     a text where they are UTF-8, else base64
    date, time, timestamp     ISO 8601
    decimal, UUID, duration   a text, so that no digit is lost
    half of a surrogate pair  U+FFFD
    control characters, bidirectional overrides    escaped (``\u009b``): the same text, but a
                              terminal that shows the JSON does not obey them

Reads and writes nothing. Cost: linear; a value that is plain already is walked once, by json.
"""

from __future__ import annotations

import base64
import datetime
import json
import math
import re
from collections.abc import Mapping
from typing import Any

_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")  # json escapes C0
_SURROGATES = re.compile("[\ud800-\udfff]")
_KEYS = (str, int, float, bool, type(None))


def json_text(
    value: Any, *, indent: int | None = None, sort_keys: bool = False, compact: bool = False
) -> str:
    """A value as JSON, on one line unless `indent` is given. Raises nothing for any value."""
    separators = (",", ":") if compact else None
    how: dict[str, Any] = {"indent": indent, "sort_keys": sort_keys, "separators": separators}
    how |= {"ensure_ascii": False, "allow_nan": False}
    try:
        text = json.dumps(value, **how)
    except (TypeError, ValueError):  # something that JSON does not have
        text = json.dumps(plain(value), **how)
    if _SURROGATES.search(text):
        text = _joined(text)
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def plain(value: Any) -> Any:
    """A value that JSON can hold; what has no number (NaN, infinity) is null."""
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes | bytearray | memoryview):
        return _text_of(bytes(value))
    if isinstance(value, datetime.date | datetime.time):  # a datetime is a date
        return value.isoformat()
    if isinstance(value, Mapping):
        return {_name(name): plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(part) for part in value]
    if hasattr(value, "tolist"):  # numpy's scalars and arrays
        return plain(value.tolist())
    return str(value)


def _name(key: Any) -> Any:
    """A key that json takes; two keys may come out alike, as JSON allows."""
    if isinstance(key, float) and not math.isfinite(key):
        return str(key)
    return key if isinstance(key, _KEYS) else str(plain(key))


def _text_of(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return base64.b64encode(data).decode()


def _joined(text: str) -> str:
    """Without surrogates: two halves are one character, a single one is U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
