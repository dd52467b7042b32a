"""Cursors: where the next page of an answer begins, whatever is removed meanwhile.

A cursor names the last row of an answer, and belongs to one query on one version of an index: it is
refused for another, since rows would be left out.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from frenchcat.curate.dataset import digest_of
from frenchcat.index.service.problems import Refused

_BESIDE = {"cursor", "k", "skip", "columns", "count_hidden"}
"""What may differ between pages."""


@dataclass(frozen=True)
class PageCursor:
    """The row that was returned last, and how many were returned up to it."""

    position: int
    given: int
    similarity: float = 0.0


def write(cursor: PageCursor, asked: BaseModel, dataset: str, version: str) -> str:
    """A cursor as a text for an address."""
    made_of = _made_of(asked, dataset, version)
    values = [cursor.position, cursor.given, cursor.similarity, made_of]
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def read(text: str, asked: BaseModel, dataset: str, version: str) -> PageCursor:
    """The cursor of a text. Raises `Refused` for one of another query or version."""
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        position, given, similarity, made_of = json.loads(data)
        cursor = PageCursor(int(position), int(given), float(similarity))
    except (ValueError, TypeError, OverflowError):  # of infinity there is no whole number
        raise Refused(400, f"{text[:40]!r} is not a cursor; send `next` of an answer") from None
    if made_of != _made_of(asked, dataset, version) or cursor.position < 0 or cursor.given < 0:
        raise Refused(
            409,
            f"the cursor {text[:40]!r} belongs to another query, or to an index before {version}; "
            "begin again without it",
            code="cursor-outdated",
        )
    return cursor


def _made_of(asked: BaseModel, dataset: str, version: str) -> str:
    values: dict[str, Any] = asked.model_dump(exclude=_BESIDE, exclude_none=True)
    return digest_of([dataset, version, values])[:16]
