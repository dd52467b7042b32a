"""Rows as JSON has them (curate/json_text.py), and the bytes of an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.responses import JSONResponse, Response

from frenchcat.curate.errors import UnknownColumn
from frenchcat.curate.json_text import json_text, plain
from frenchcat.curate.list_names import told_apart
from frenchcat.index.search import Hit
from frenchcat.index.service.work import stop_if_unwanted

if TYPE_CHECKING:
    from frenchcat.index.service.served_dataset import ServedDataset

FIELDS = ("url", "caption", "picture", "thumbnail", "stored", "copies")
"""What an answer says of a row beside its key and columns."""
ANSWERED = frozenset(("picture", "thumbnail", "stored", "copies"))
"""Fields of an answer that a column of the list may be called as."""


class StrictJSON(JSONResponse):
    """An answer that is JSON for every reader, whatever the values."""

    def render(self, content: Any) -> bytes:
        """The bytes."""
        return json_text(content, compact=True).encode()


def row(dataset: str, hit: Hit, stages: Mapping[str, Any] = {}) -> dict[str, Any]:
    """A row of /v1: its columns, what later stages say of it, and where its images are."""
    place = f"{quote(dataset, safe='')}/{quote(hit.key, safe='')}"
    values = {**stages, **hit.columns} if stages else hit.columns
    called = told_apart(values, ANSWERED)
    columns = {called[name]: plain(value) for name, value in values.items()}
    return {
        **columns,
        "key": hit.key,
        "url": hit.url,
        "caption": hit.caption,
        "picture": f"/v1/pictures/{place}",
        "thumbnail": f"/v1/thumbnails/{place}",
        "stored": hit.size > 0,
    }


def rows(
    served: ServedDataset, hits: Sequence[Hit], columns: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Rows of /v1 with what every stage says of them and the number of their copies.

    Of `columns`, where these are given, and the key. Raises `UnknownColumn`.
    """
    if columns is not None:
        _check(served, columns)
    stages = served.stage_columns.of(hits, columns)
    copies: Sequence[int] = [0] * len(hits)
    if columns is None or "copies" in columns:
        copies = served.copies([hit.key for hit in hits])
    found = []
    for hit, of_stages, count in zip(hits, stages, copies, strict=True):
        stop_if_unwanted()
        found.append(row(served.name, hit, of_stages) | {"copies": count})
    if columns is None:
        return found
    chosen = {"key", *columns}
    return [{name: one[name] for name in one if name in chosen} for one in found]


def _check(served: ServedDataset, columns: Sequence[str]) -> None:
    known = {*served.hit_columns, *FIELDS, "key", "similarity"}
    if unknown := [name for name in columns if name not in known]:
        raise UnknownColumn(
            f"no row of {served.name} has a column {unknown[0]!r}; there are: "
            + ", ".join(sorted(known)),
            unknown[0],
        )


def sorting(sort: str) -> tuple[str, bool]:
    """A column, and whether the greatest come first."""
    return sort.removeprefix("-"), sort.startswith("-")


def answer(value: Any) -> Response:
    """A JSON answer. Made in the thread that made the value, not in the event loop."""
    return Response(json_text(value, compact=True).encode(), media_type="application/json")
