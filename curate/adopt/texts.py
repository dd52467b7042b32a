"""Captions and URLs as text, whatever type the column has.

Reads and writes nothing. Of a list of texts the setting `download.captions` decides, as for a URL
list: the first that is not blank, the longest, or all, as rows of their own. Bytes are read as
UTF-8. What is lost is counted, so that it can be said.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.adopt.left_out import LeftOut
from frenchcat.curate.dataset import digest_of
from frenchcat.curate.download.column_names import CAPTION_NAMES, URL_NAMES
from frenchcat.curate.download.list_source import Captions, Reading, listed
from frenchcat.curate.download.shards import jsonable
from frenchcat.curate.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

_FURTHER_URLS = "further URLs of a row, of which the first was taken"
REPLACED = "texts with bytes that are not UTF-8, shown as U+FFFD"


@dataclass(frozen=True)
class ColumnNames:
    """Which columns hold the URL and the caption; None: found by their usual names.

    `reading` says which of several captions is taken, and how a list beside images is read.
    """

    url: str | None = None
    caption: str | None = None
    reading: Reading = field(default_factory=Reading)

    @property
    def digest(self) -> str:
        """Tells what is taken by these from what is by others."""
        return digest_of([self.url, self.caption, self.reading.as_json()])

    def pick(self, names: Sequence[str], where: str) -> tuple[str | None, str | None]:
        """The URL's and the caption's column among `names`, in any case; None for none.

        Raises `UserError` where a named column is missing.
        """
        for setting, named in (("url_column", self.url), ("caption_column", self.caption)):
            if named is not None and named not in names:
                raise UserError(
                    f"{where}: no column {named!r} ({setting}); the columns are: {listed(names)}"
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
    source: NDArray[np.int64] | None = None
    """Of each text the row that it came from; None: each row has one, in order."""


def as_texts(column: pa.ChunkedArray | pa.Array, captions: Captions = "first") -> Texts:
    """Each value as text: of a list the ones that the rule takes; null for none."""
    import pyarrow as pa

    if pa.types.is_string(column.type):
        plain = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        return Texts(plain)
    texts: list[str | None] = []
    source: list[int] = []
    left = replaced = 0
    for row, value in enumerate(column.to_pylist()):
        given = several(value) if isinstance(value, list) else [value]
        told = [text_of(one) for one in given] or [None]
        taken = chosen(told, captions)
        left += len(told) - len(taken)
        bytes_ = any(isinstance(one, bytes) for one in given)
        replaced += bytes_ and any("\ufffd" in (text or "") for text in taken)
        texts += taken
        source += [row] * len(taken)
    rows = np.array(source, np.int64) if len(texts) > len(column) else None
    return Texts(pa.array(texts, pa.string()), left, replaced, rows)


def with_texts(
    table: pa.Table,
    url: str | None,
    caption: str | None,
    captions: Captions,
    left_out: LeftOut,
    where: str,
) -> tuple[pa.Table, NDArray[np.int64]]:
    """The table with these columns, as far as it has them, as text, and the row each came from.

    Other columns are repeated where a row has several captions. What is not taken is counted.
    """
    rows = np.arange(table.num_rows)
    told: tuple[tuple[str | None, Captions, str], ...] = (
        (url, "first", _FURTHER_URLS),
        (caption, captions, further(captions)),
    )
    for name, rule, left in told:
        if name is None or name not in table.column_names:
            continue
        texts = as_texts(table[name], rule)
        left_out.add(left, where, texts.further)
        left_out.add(REPLACED, where, texts.replaced)
        if texts.source is not None:
            table, rows = table.take(texts.source), rows[texts.source]
        at = table.schema.get_field_index(name)
        table = table.set_column(at, name, texts.column)
    return table, rows


def several(values: Sequence[Any]) -> list[Any]:
    """The values of a list that are not blank."""
    return [one for one in values if one is not None and (not hasattr(one, "strip") or one.strip())]


def chosen(texts: Sequence[str | None], captions: Captions) -> list[str | None]:
    """The captions of several, at least one, that the rule takes; of the longest the first."""
    if captions == "longest":
        return [max(texts, key=lambda text: len(text or ""))]
    return list(texts) if captions == "all" else list(texts[:1])


def further(captions: Captions) -> str:
    """The note about captions that the rule does not take."""
    return f"further captions of a row, of which the {captions} was taken"


def text_of(value: Any) -> str | None:
    """One value as text: bytes as UTF-8, what is nested as JSON, None as None."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, dict | list | tuple | bool):
        return json.dumps(jsonable(value), ensure_ascii=False)
    return str(value)
