"""A column's values by position in the index, for facets and sorted lists.

Reads columns of the catalog at their first use, writes nothing. Numbers are kept as float64; texts,
times and booleans as codes of a sorted dictionary, so that counting under a bitmap and sorting are
one pass of numpy over arrays. Cost: a scan of the column at the first use, some .5 s per million
rows; then 8 bytes per row, or 4 and the distinct texts. At most 256 MB are kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.catalog import Catalog
from frenchcat.curate.errors import UnknownColumn, UserError
from frenchcat.curate.sql_text import quoted

if TYPE_CHECKING:
    import pyarrow as pa

    from frenchcat.index.search import Searcher

KEPT_BYTES = 256 * 2**20
Positions = NDArray[np.int64]
USUAL = (
    *("domain", "language", "license", "licence", "reason", "opted_out", "source_file", "kind"),
    *("width", "height", "caption_similarity", "aesthetic", "punsafe", "pwatermark"),
    *("caption_words", "multiplicity"),
)
"""The columns that are counted where none are named, in this order."""


@dataclass(frozen=True)
class Numbers:
    """A number for each row; NaN if there is none."""

    values: NDArray[np.float64]  # (N,)

    def ranks(self, positions: Positions) -> NDArray[np.float64]:
        """The sort key of rows; NaN for a row without a value."""
        return self.values[positions]

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return self.values.nbytes


@dataclass(frozen=True)
class TextCodes:
    """A text's code for each row; -1 if there is none. Codes are in the order of the texts."""

    codes: NDArray[np.int32]  # (N,)
    dictionary: pa.Array  # sorted

    def ranks(self, positions: Positions) -> NDArray[np.float64]:
        """The sort key of rows; NaN for a row without a value."""
        codes = self.codes[positions]
        return np.where(codes < 0, np.nan, codes)

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return self.codes.nbytes + int(self.dictionary.nbytes)


def usual_of(columns: Collection[str]) -> list[str]:
    """Those of a dataset's columns that are counted where none are named."""
    return [name for name in USUAL if name in columns]


class ColumnValues:
    """The columns of one open index; may be used from several threads."""

    def __init__(self, searcher: Searcher, kept_bytes: int = KEPT_BYTES) -> None:
        self._searcher, self._limit, self._lock = searcher, kept_bytes, Lock()
        self._kept: OrderedDict[Hashable, Numbers | TextCodes] = OrderedDict()

    def get(self, name: str) -> Numbers | TextCodes:
        """A column. Raises `UserError` for an unknown one, and for lists, structs and bytes."""
        return self.all([name])[name]

    def all(self, names: Sequence[str]) -> dict[str, Numbers | TextCodes]:
        """Several columns; those that are not cached are read in one scan. Raises as `get` does."""
        version = self._searcher.visible.facts_version()
        with self._lock:  # one at a time: a scan takes memory and all of the cores
            missing = [name for name in names if (name, version) not in self._kept]
            if missing:
                for name, column in self._read(missing).items():
                    self._kept[name, version] = column
            found = {name: self._kept[name, version] for name in names}
            for name in names:
                self._kept.move_to_end((name, version))
            while sum(one.size for one in self._kept.values()) > self._limit:
                self._kept.popitem(last=False)
            return found

    def sorted(self, positions: Positions, name: str, descending: bool) -> Positions:
        """Positions sorted by a column; ties stay in order, rows without a value come last."""
        ranks = self.get(name).ranks(positions)
        order = np.argsort(-ranks if descending else ranks, kind="stable")
        return positions[order]

    def facets(
        self, names: Sequence[str], positions: Positions | None, bins: int, top: int
    ) -> dict[str, dict[str, Any]]:
        """How rows are spread over columns, by column; None: all rows. Raises as `get` does."""
        found: dict[str, dict[str, Any]] = {}
        for name, column in self.all(names).items():
            if isinstance(column, Numbers):
                found[name] = histogram(column, positions, bins)
            else:
                found[name] = top_values(column, positions, top)
        return found

    def _read(self, names: Sequence[str]) -> dict[str, Numbers | TextCodes]:
        import pyarrow.compute as pc

        with Catalog(self._searcher.dataset) as catalog:
            if "domain" in names:
                catalog.add_domains()
            kinds = catalog.columns()
            if unknown := [name for name in names if name not in kinds]:
                there = ", ".join([*kinds, "domain"])
                raise UnknownColumn(f"no column {unknown[0]!r}; there are: {there}", unknown[0])
            chosen = [f"{_sql(name, kinds[name])} AS v{n}" for n, name in enumerate(names)]
            table = catalog.table(", ".join(["key AS k", *chosen]))
        at = pc.index_in(self._searcher.rows.keys(), table["k"].combine_chunks()).combine_chunks()
        columns = {name: table[f"v{n}"].combine_chunks() for n, name in enumerate(names)}
        return {name: column_of(column.take(at)) for name, column in columns.items()}


def column_of(values: pa.Array) -> Numbers | TextCodes:
    """DOUBLE or VARCHAR as arrays."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_floating(values.type):
        return Numbers(np.asarray(pc.fill_null(values, float("nan")).to_numpy()))
    coded = values.dictionary_encode()
    order = pc.sort_indices(coded.dictionary)
    rank = np.empty(len(order) + 1, np.int32)
    rank[order.to_numpy()] = np.arange(len(order))
    rank[-1] = -1
    codes = pc.fill_null(coded.indices, len(order)).to_numpy()
    return TextCodes(rank[codes], coded.dictionary.take(order))


_NUMBERS = ("INT", "FLOAT", "DOUBLE", "DECIMAL")


def _sql(name: str, kind: str) -> str:
    """SQL of a column as DOUBLE or VARCHAR, by its DuckDB type."""
    if kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "BLOB")):
        raise UserError(
            f"{name} has the type {kind}; only numbers, texts and booleans are counted or sorted"
        )
    number = any(number in kind for number in _NUMBERS) and "INTERVAL" not in kind
    return f"{quoted(name)}::{'DOUBLE' if number else 'VARCHAR'}"


def histogram(column: Numbers, positions: Positions | None, bins: int) -> dict[str, Any]:
    """How many rows have a number in each of `bins` equal intervals from minimum to maximum.

    The last interval includes its end, the others do not.
    """
    values = column.values if positions is None else column.values[positions]
    there = values[np.isfinite(values)]
    found: dict[str, Any] = {"kind": "number", "rows": len(there)}
    found["missing"] = len(values) - len(there)
    if not len(there):
        return {**found, "min": None, "max": None, "mean": None, "bins": []}
    least, greatest = float(there.min()), float(there.max())
    if least == greatest:
        counts, edges = np.array([len(there)]), np.array([least, greatest])
    else:
        counts, edges = np.histogram(there, bins, (least, greatest))
    found |= {"min": least, "max": greatest, "mean": float(there.mean())}
    found["bins"] = [
        {"from": float(low), "to": float(high), "rows": int(count)}
        for low, high, count in zip(edges, edges[1:], counts, strict=False)
    ]
    return found


def top_values(column: TextCodes, positions: Positions | None, top: int) -> dict[str, Any]:
    """The `top` most frequent texts, how many rows each has, and how many have other texts."""
    codes = column.codes if positions is None else column.codes[positions]
    counts = np.bincount(codes + 1, minlength=len(column.dictionary) + 1)
    missing, counts = int(counts[0]), counts[1:]
    chosen: Sequence[int] = np.argsort(-counts, kind="stable")[:top].tolist()
    values = [
        {"value": column.dictionary[code].as_py(), "rows": int(counts[code])}
        for code in chosen
        if counts[code]
    ]
    rows = int(counts.sum())
    return {
        "kind": "text",
        "rows": rows,
        "missing": missing,
        "distinct": int((counts > 0).sum()),
        "values": values,
        "others": rows - sum(one["rows"] for one in values),
    }
