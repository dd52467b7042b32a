"""Histograms of the scores and sizes, of all stored images beside those that were kept.

Reads the view `samples`, writes nothing. Three passes of aggregates whatever the rows: the range,
a fine count to find what holds the middle 99 %, the bins. Values beyond are counted in the bins at
the ends. Exact, so the same dataset gives the same bins.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from frenchcat.curate.catalog import Catalog
from frenchcat.curate.report.examples import ExampleImage, Examples, column, numbers
from frenchcat.curate.report.outcomes import kept_sql, rows_of
from frenchcat.curate.score.builtin import SCORES
from frenchcat.curate.score.kinds import Column
from frenchcat.curate.score.shard import described

BINS = 48
MAX_COLUMNS = 24
_FINE = 2000
_TAIL = 0.005
_SCORES = [column for score in SCORES.values() for column in score.columns]
_OURS = {column.name: column for column in _SCORES} | {
    "aesthetic_score": Column("aesthetic_score", "float32", "how much people like such images")
}
_SIZES = {
    "short side": Column("short side", "double", "pixels of the original's shorter side"),
    "aspect ratio": Column("aspect ratio", "double", "the longer side over the shorter one"),
}


@dataclass(frozen=True)
class Histogram:
    """One column's distribution; bin i spans low + i * step to low + (i + 1) * step."""

    name: str
    said: str  # what it is, for people
    low: float
    step: float
    counts: list[int]  # of all stored images
    kept: list[int] | None  # of those that were kept; None without verdicts
    missing: int  # images without a value
    least: list[ExampleImage] = field(default_factory=list)
    greatest: list[ExampleImage] = field(default_factory=list)

    @property
    def high(self) -> float:
        """Where the last bin ends."""
        return self.low + self.step * len(self.counts)


def score_histograms(catalog: Catalog, examples: Examples) -> list[Histogram]:
    """One per numeric score, the usual ones first, with images from both ends."""
    known = _OURS | described(catalog.dataset)
    names = [n for n in numbers(catalog, "scores") if n not in known or known[n].charted]
    rank = {name: place for place, name in enumerate(known)}
    names.sort(key=lambda name: rank.get(name.lower(), len(rank)))
    values = {name: column(name) for name in names[:MAX_COLUMNS]}
    return [
        Histogram(**{**vars(found), **_ends(examples, values[found.name])})
        for found in histograms(catalog, values, known)
    ]


def size_histograms(catalog: Catalog) -> list[Histogram]:
    """The originals' shorter side and aspect ratio."""
    wide, high = column("original_width"), column("original_height")
    if not {"original_width", "original_height"} <= catalog.columns().keys():
        return []
    short, long = f"least({wide}, {high})", f"greatest({wide}, {high})"
    values = {"short side": short, "aspect ratio": f"{long} / nullif({short}, 0)"}
    return histograms(catalog, values, _SIZES)


def histograms(
    catalog: Catalog, values: Mapping[str, str], known: Mapping[str, Column]
) -> list[Histogram]:
    """The distributions of SQL expressions over `samples`; one without a value is left out.

    `known` says what some of them are; the others are the user's own.
    """
    finite = {
        name: f"CASE WHEN isfinite(({value})::DOUBLE) THEN ({value})::DOUBLE END"
        for name, value in values.items()
    }
    ranges = _ranges(catalog, finite)
    there = [name for name in values if name in ranges]
    fine = _binned(catalog, finite, {name: (*ranges[name][:2], _FINE) for name in there})
    bins = {}
    for name in there:
        least, most, whole = ranges[name]
        low, high = _middle(least, most, [sum(pair) for pair in fine[name].values()])
        bins[name] = _bins(name in known and known[name].probability, low, high, whole)
    found = _binned(catalog, finite, bins)
    judged = kept_sql(catalog) is not None
    ((rows,),) = rows_of(catalog, "SELECT count(*) FROM samples")
    made = [_histogram(n, _of(n, known), bins[n], found[n], rows) for n in there]
    return made if judged else [replace(each, kept=None) for each in made]


def _of(name: str, known: Mapping[str, Column]) -> Column:
    own = Column(name, "double", "a score of your own")
    return known.get(name) or known.get(name.lower()) or own


def _histogram(
    name: str,
    of: Column,
    bins: tuple[float, float, int],
    found: dict[int, tuple[int, int]],
    rows: int,
) -> Histogram:
    low, high, number = bins
    kept = [pair[0] for pair in found.values()]
    counts = [sum(pair) for pair in found.values()]
    step = (high - low) / number
    return Histogram(name, of.description, low, step, counts, kept, rows - sum(counts))


def _ranges(catalog: Catalog, values: Mapping[str, str]) -> dict[str, tuple[float, float, bool]]:
    """Name -> least value, greatest value, whether all are whole numbers."""
    if not values:
        return {}
    asked = ", ".join(
        f"min({value}), max({value}), bool_and({value} = floor({value}))"
        for value in values.values()
    )
    (row,) = rows_of(catalog, f"SELECT {asked} FROM samples")
    found = dict(zip(values, zip(row[::3], row[1::3], row[2::3], strict=True), strict=True))
    return {name: said for name, said in found.items() if said[0] is not None}


def _binned(
    catalog: Catalog, values: Mapping[str, str], bins: Mapping[str, tuple[float, float, int]]
) -> dict[str, dict[int, tuple[int, int]]]:
    """Name -> bin -> how many kept and how many others it has, every bin in order."""
    if not bins:
        return {}
    keep = kept_sql(catalog) or "FALSE"
    asked = ", ".join(f"histogram({_bin(values[name], *where)})" for name, where in bins.items())
    found: dict[str, dict[int, tuple[int, int]]] = {
        name: dict.fromkeys(range(number), (0, 0)) for name, (_, _, number) in bins.items()
    }
    for kept, *maps in rows_of(catalog, f"SELECT {keep}, {asked} FROM samples GROUP BY 1"):
        for name, counted in zip(bins, maps, strict=True):
            for at, rows in (counted or {}).items():
                mine, others = found[name][at]
                found[name][at] = (mine + rows, others) if kept else (mine, others + rows)
    return found


def _bin(value: str, low: float, high: float, number: int) -> str:
    scaled = f"floor((({value}) - {low!r}::DOUBLE) / {(high - low) or 1.0!r}::DOUBLE * {number})"
    # least and greatest pass over nulls, so a missing value needs its own case.
    bounded = f"least(greatest({scaled}, 0), {number - 1})::INTEGER"
    return f"CASE WHEN ({value}) IS NOT NULL THEN {bounded} END"


def _middle(low: float, high: float, counts: Sequence[int]) -> tuple[float, float]:
    """The ends of the fine bins that hold the middle 99 %."""
    total, step = sum(counts), (high - low) / len(counts)
    before, first, last = 0, 0, len(counts) - 1
    for at, rows in enumerate(counts):
        if before <= total * _TAIL:
            first = at
        before += rows
        if before >= total * (1 - _TAIL):
            last = at
            break
    return low + first * step, low + (last + 1) * step


def _bins(probability: bool, low: float, high: float, whole: bool) -> tuple[float, float, int]:
    if probability and low >= 0 and high <= 1.001:
        return 0.0, 1.0, BINS
    if whole:
        low, high = math.floor(low), math.ceil(high)
        width = max(1, math.ceil((high - low + 1) / BINS))
        return (
            low,
            low + width * math.ceil((high - low + 1) / width),
            math.ceil((high - low + 1) / width),
        )
    return (low, high, BINS) if high > low else (low, low + 1.0, 1)


def _ends(examples: Examples, value: str) -> dict[str, list[ExampleImage]]:
    least, greatest = examples.extremes(value, 4)
    return {"least": least, "greatest": greatest}
