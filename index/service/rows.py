"""Rows as JSON has them (curate/json_text.py), and the bytes of an answer."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from starlette.responses import JSONResponse, Response

from frenchcat.curate.json_text import json_text, plain
from frenchcat.curate.list_names import told_apart
from frenchcat.index.search import Hit

_OWN = frozenset(("picture", "thumbnail", "stored"))
"""Fields of an answer beside the row's columns."""


class StrictJSON(JSONResponse):
    """An answer that is JSON for every reader, whatever the values."""

    def render(self, content: Any) -> bytes:
        """The bytes."""
        return json_text(content, compact=True).encode()


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
    return Response(json_text(value, compact=True).encode(), media_type="application/json")
