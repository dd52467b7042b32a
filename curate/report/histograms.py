"""Histograms of the scores and sizes, of all stored pictures beside those that were kept.

Reads the view `samples`, writes nothing. Three passes of aggregates whatever the rows: the range,
a fine count to find what holds the middle 99 %, the bins. Values beyond are counted in the bins at
the ends. Exact, so the same dataset gives the same bins.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from frenchcat.curate.catalog import Catalog
from frenchcat.curate.report.examples import Examples, Picture, column, numbers
from frenchcat.curate.report.outcomes import kept_sql, rows_of

BINS = 48
MAX_COLUMNS = 24
_FINE = 2000
_TAIL = 0.005
_PROBABILITIES = frozenset({"punsafe", "pwatermark", "language_confidence"})
_SAID = {
    "similarity": "cosine of the picture's and the caption's vectors: how well they fit",
    "punsafe": "how likely the picture is unsafe for work",
    "pwatermark": "how likely the picture bears a watermark",
    "aesthetic_score": "how much people like such pictures",
    "sharpness": "how sharp the picture is; blurred ones to the left",
    "jpeg_quality": "with how much quality the original was compressed",
    "bits_per_pixel": "bits spent on a pixel; flat drawings to the left",
    "language_confidence": "how sure the language of the caption is",
    "caption_words": "words in the caption",
    "caption_chars": "characters in the caption",
    "short side": "pixels of the original's shorter side",
    "aspect ratio": "the longer side over the shorter one",
}
_LEFT_OUT = frozenset({"hash", "pdq_quality"})


@dataclass(frozen=True)
class Histogram:
    """One column's distribution; bin i spans low + i * step to low + (i + 1) * step."""

    name: str
    said: str  # what it is, for people
    low: float
    step: float
    counts: list[int]  # of all stored pictures
    kept: list[int] | None  # of those that were kept; None without verdicts
    missing: int  # pictures without a value
    least: list[Picture] = field(default_factory=list)
    greatest: list[Picture] = field(default_factory=list)

    @property
    def high(self) -> float:
        """Where the last bin ends."""
        return self.low + self.step * len(self.counts)


def score_histograms(catalog: Catalog, examples: Examples) -> list[Histogram]:
    """One a score that is a number, those that we know first, with pictures from both ends."""
    names = [name for name in numbers(catalog, "scores") if name not in _LEFT_OUT]
    rank = {name: place for place, name in enumerate(_SAID)}
    names.sort(key=lambda name: rank.get(name.lower(), len(rank)))
    values = {name: column(name) for name in names[:MAX_COLUMNS]}
    return [
        Histogram(**{**vars(found), **_ends(examples, values[found.name])})
        for found in histograms(catalog, values)
    ]


def size_histograms(catalog: Catalog) -> list[Histogram]:
    """The originals' shorter side and aspect ratio."""
    wide, high = column("original_width"), column("original_height")
    if not {"original_width", "original_height"} <= catalog.columns().keys():
        return []
    short, long = f"least({wide}, {high})", f"greatest({wide}, {high})"
    return histograms(
        catalog, {"short side": short, "aspect ratio": f"{long} / nullif({short}, 0)"}
    )


def histograms(catalog: Catalog, values: Mapping[str, str]) -> list[Histogram]:
    """The distributions of SQL expressions over `samples`; one without a value is left out."""
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
        bins[name] = _bins(name, low, high, whole)
    found = _binned(catalog, finite, bins)
    judged = kept_sql(catalog) is not None
    ((rows,),) = rows_of(catalog, "SELECT count(*) FROM samples")
    return [_histogram(name, bins[name], found[name], judged, rows) for name in there]


def _histogram(
    name: str, bins: tuple[float, float, int], found: dict[int, tuple[int, int]], judged: bool,
    rows: int,
) -> Histogram:  # fmt: skip
    low, high, number = bins
    kept = [pair[0] for pair in found.values()]
    counts = [sum(pair) for pair in found.values()]
    said = _SAID.get(name.lower(), "a score of your own")
    step = (high - low) / number
    return Histogram(name, said, low, step, counts, kept if judged else None, rows - sum(counts))


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


def _bins(name: str, low: float, high: float, whole: bool) -> tuple[float, float, int]:
    if name in _PROBABILITIES and low >= 0 and high <= 1.001:
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


def _ends(examples: Examples, value: str) -> dict[str, list[Picture]]:
    least, greatest = examples.extremes(value, 4)
    return {"least": least, "greatest": greatest}
