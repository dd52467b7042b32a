"""Captions and URLs as text, whatever type the column has.

Reads and writes nothing. Of a list of texts the first that is not empty is taken; bytes are read as
UTF-8. What is lost that way is counted, so that it can be said.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from frenchcat.curate.download.column_names import CAPTION_NAMES, URL_NAMES
from frenchcat.curate.download.shards import jsonable
from frenchcat.curate.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class ColumnNames:
    """Which columns hold the URL and the caption; None: found by their usual names."""

    url: str | None = None
    caption: str | None = None

    def pick(self, names: Sequence[str], where: str) -> tuple[str | None, str | None]:
        """The URL's and the caption's column among `names`, in any case; None for none.

        Raises `UserError` where a named column is missing.
        """
        for setting, named in (("url_column", self.url), ("caption_column", self.caption)):
            if named is not None and named not in names:
                raise UserError(
                    f"{where}: no column {named!r} ({setting}); "
                    f"the columns are: {', '.join(names) or 'none'}"
                )
        lowered = {name.lower(): name for name in reversed(names)}
        url = self.url or _first(lowered, URL_NAMES)
        others = {lower: name for lower, name in lowered.items() if name != url}
        return url, self.caption or _first(others, CAPTION_NAMES)


def _first(lowered: dict[str, str], usual: Iterable[str]) -> str | None:
    return next((lowered[name] for name in usual if name in lowered), None)


@dataclass(frozen=True)
class Texts:
    """A column as text."""

    column: pa.Array  # string
    further: int = 0  # texts of lists that were not taken
    replaced: int = 0  # values with bytes that are not UTF-8, shown as U+FFFD


def as_texts(column: pa.ChunkedArray | pa.Array) -> Texts:
    """Each value as text: of a list its first text that is not empty; null for none."""
    import pyarrow as pa

    if pa.types.is_string(column.type):
        plain = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        return Texts(plain)
    texts: list[str | None] = []
    further = replaced = 0
    for value in column.to_pylist():
        given = [v for v in value if v] if isinstance(value, list) else [value]
        further += max(0, len(given) - 1)
        text = text_of(given[0]) if given else None
        replaced += isinstance(given[0] if given else None, bytes) and "\ufffd" in (text or "")
        texts.append(text)
    return Texts(pa.array(texts, pa.string()), further, replaced)


def text_of(value: Any) -> str | None:
    """One value as text: bytes as UTF-8, what is nested as JSON, None as None."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, dict | list | tuple | bool):
        return json.dumps(jsonable(value), ensure_ascii=False)
    return str(value)
