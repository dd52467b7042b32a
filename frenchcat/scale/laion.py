"""What is published of LAION-5B's run, and the same figures of a plan for as many rows.

Schuhmann et al.: "LAION-5B: An open large-scale dataset for training next generation image-text
models" (NeurIPS 2022); figures from the pages that each names. Core and GPU hours are nodes times
time as they say it, so "a week" is 168 hours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ROWS = 5_850_000_000
MACHINES = 10
"""That downloaded it."""
_BLOG = "https://laion.ai/blog/laion-5b/"
_POST = "https://rom1504.medium.com/semantic-search-at-billions-scale-95f21695689a"
_WEEK_H = 168.0


@dataclass(frozen=True)
class PublishedFigure:
    """One figure of LAION-5B's run."""

    name: str
    unit: str
    value: float
    said: str
    source: str


FIGURES = (
    PublishedFigure(
        "download", "core hours", MACHINES * 16 * _WEEK_H, "a week on 10 nodes of 16 cores", _BLOG
    ),
    PublishedFigure(
        "embedding", "GPU hours", 32 * _WEEK_H, "a week on 32 A100, ViT-L/14, 312/s each", _BLOG
    ),
    PublishedFigure("images", "TB", 240.0, "384 pixels, with their texts", _POST),
    PublishedFigure("vectors", "TB", 18.0, "768 numbers, of images and captions", _POST),
    PublishedFigure("index", "TB", 0.8, "PQ128, of images alone", _POST),
)


@dataclass(frozen=True)
class ComparedFigure:
    """A published figure, and this plan's for as many rows; `unit` is of both unless told."""

    name: str
    published: float
    planned: float
    unit: str
    planned_unit: str
    said: str
    source: str


def compared(planned: Mapping[str, tuple[float, str]]) -> list[ComparedFigure]:
    """The published figures beside the planned ones: name -> (value, unit)."""
    return [
        ComparedFigure(one.name, one.value, *_turned(planned[one.name], one), one.said, one.source)
        for one in FIGURES
    ]


def _turned(planned: tuple[float, str], one: PublishedFigure) -> tuple[float, str, str]:
    value, unit = planned
    return value, one.unit, unit
