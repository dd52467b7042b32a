"""Rows as JSON has them: no NaN, no bytes, no half surrogates; and the bytes of an answer."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from frenchcat.curate.list_names import told_apart
from frenchcat.index.search import Hit

_OWN = frozenset(("picture", "thumbnail", "stored"))
"""Fields of an answer beside the row's columns."""


def plain(value: Any) -> Any:
    """A value that JSON can hold; what has no number (NaN, infinity) is null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, Mapping):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return value if value is None or isinstance(value, str | int) else str(value)


def row(dataset: str, hit: Hit) -> dict[str, Any]:
    """A row of /v1: its columns, and where its pictures are."""
    place = f"{quote(dataset, safe='')}/{quote(hit.key, safe='')}"
    called = told_apart(hit.columns, _OWN)
    columns = {called[name]: plain(value) for name, value in hit.columns.items()}
    return {
        **columns,
        "key": hit.key,
        "url": hit.url,
        "caption": hit.caption,
        "picture": f"/v1/pictures/{place}",
        "thumbnail": f"/v1/thumbnails/{place}",
        "stored": hit.size > 0,
    }


def answer(value: Any) -> Response:
    """A JSON answer. Made in the thread that made the value, not in the event loop."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Response(text.encode("utf-8", "replace"), media_type="application/json")
