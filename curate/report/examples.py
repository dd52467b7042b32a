"""Images to show: a bounded number per question, drawn by the hash of the keys, the same each time.

Reads the catalog's views and the view `outcomes`, writes nothing. Examples come from SHARDS shards
where these have enough, so that few tars are opened; which ones follows from their names alone.
Memory: what is asked for, never a list of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import md5
from typing import Any

from frenchcat.curate.catalog import Catalog
from frenchcat.curate.report.outcomes import columns_of, rows_of
from frenchcat.curate.sql_text import literal, quoted

SHARDS = 8
_CAPTION_CHARS = 200


@dataclass(frozen=True)
class ExampleImage:
    """One stored image and what is said about it."""

    key: str
    shard: str
    caption: str
    url: str
    punsafe: float | None
    value: Any = None  # what it was chosen by


class Examples:
    """Draws examples from one catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        shards = sorted(catalog.dataset.shards("download"), key=_turn_of)
        self._shards = ", ".join(f"'{shard}'" for shard in shards[:SHARDS])
        there = catalog.columns()
        self._punsafe = "samples.punsafe::DOUBLE" if "punsafe" in there else "NULL::DOUBLE"
        self._caption, self._url = (
            f"coalesce(samples.{name}::VARCHAR, '')" if name in there else "''"
            for name in ("caption", "url")
        )

    def by(
        self, group: str, most: int, source: str = "samples", where: str = "TRUE"
    ) -> dict[Any, list[ExampleImage]]:
        """Images for each value of an expression over `source`, which joins `samples`."""
        picked = f"min_by({self._struct('NULL')}, {self._turn()}, {most})"
        sql = f"SELECT {group}, {picked} FROM {source} WHERE {where} GROUP BY 1"
        return {value: _pictures(found) for value, found in rows_of(self._catalog, sql)}

    def extremes(self, value: str, most: int) -> tuple[list[ExampleImage], list[ExampleImage]]:
        """The images with the least and with the greatest values, of the shards drawn from."""
        picture = self._struct(value)
        sql = (
            f"SELECT min_by({picture}, ({value}, key), {most}), "
            f"max_by({picture}, ({value}, key), {most}) "
            f"FROM samples WHERE ({value}) IS NOT NULL AND shard IN ({self._shards})"
        )
        ((least, greatest),) = rows_of(self._catalog, sql)
        return _pictures(least), _pictures(greatest)

    def first(
        self, group: str, order: str, most: int, source: str, where: str, value: str
    ) -> dict[Any, list[ExampleImage]]:
        """Images for each value of `group`, those with the least `order`."""
        picked = f"min_by({self._struct(value)}, {order}, {most})"
        sql = f"SELECT {group}, {picked} FROM {source} WHERE {where} GROUP BY 1"
        return {key: _pictures(found) for key, found in rows_of(self._catalog, sql)}

    def _struct(self, value: str) -> str:
        return (
            "struct_pack(key := samples.key, shard := samples.shard, "
            f"caption := left({self._caption}, {_CAPTION_CHARS}), url := {self._url}, "
            f"punsafe := {self._punsafe}, value := {value})"
        )

    def _turn(self) -> str:
        """Rows of the shards drawn from come first, then by a hash: a number of 0 to 2."""
        return f"(samples.shard NOT IN ({self._shards}))::INTEGER + {turn('samples.key')}"


def turn(key: str) -> str:
    """A number of 0 to 1 that follows from a key alone, as SQL."""
    return f"md5_number_lower({key}) / 18446744073709551616.0"


def among(column: str, values: Sequence[str]) -> str:
    """The condition that a column has one of these values."""
    texts = ", ".join(map(literal, values))
    return f"{column} IN ({texts})" if values else "FALSE"


def numbers(catalog: Catalog, view: str) -> list[str]:
    """The columns of a view that hold numbers."""
    kinds = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "FLOAT", "DOUBLE")
    return [name for name, kind in columns_of(catalog, view).items() if kind in kinds]


def column(name: str) -> str:
    """A column of `samples` as SQL has it."""
    return f"samples.{quoted(name)}"


def _pictures(found: list[dict[str, Any]] | None) -> list[ExampleImage]:
    return [ExampleImage(**each) for each in found or []]


def _turn_of(shard: str) -> str:
    return md5(shard.encode(), usedforsecurity=False).hexdigest()
