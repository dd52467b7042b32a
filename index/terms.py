"""What a query is made of: texts, pictures and vectors, and weighted sums of them.

Turns what a user gives into (D,) float32 unit vectors, or a `UserError` that says what is wrong
with it; writes nothing. A sum is of unit vectors, scaled to length one again: "cat" + a picture of
a beret - "drawing". The trade-off of such arithmetic: texts and pictures lie in two cones of CLIP's
space, so a picture of weight one outweighs a text of weight one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

Unit = NDArray[np.float32]  # (D,), of length 1


@dataclass(frozen=True)
class Text:
    """A text of a query."""

    value: str


@dataclass(frozen=True)
class QueryImage:
    """A picture of a query: a path, encoded bytes, or a Pillow image."""

    value: str | Path | bytes | Image


@dataclass(frozen=True)
class Vector:
    """A vector of a query: D numbers of any length but zero."""

    value: Sequence[float] | NDArray[np.floating[Any]]


Term = Text | QueryImage | Vector
Terms = Sequence[tuple[float, Term]]


def one_query(text: Any, picture: Any, vector: Any, terms: Terms | None) -> Terms:
    """The terms of whichever is given. Raises `UserError` unless that is exactly one."""
    if sum(part is not None for part in (text, picture, vector, terms)) != 1:
        raise UserError("a query is one of: a text, a picture, a vector, weighted terms")
    if terms is not None:
        if not terms:
            raise UserError("the query has no terms; give at least one")
        return terms
    if text is not None:
        return [(1.0, Text(text))]
    return [(1.0, QueryImage(picture) if picture is not None else Vector(vector))]


def summed(vectors: Sequence[Unit], weights: Sequence[float]) -> Unit:
    """The weighted sum of (D,) unit vectors as a unit vector; one vector alone stays as it is.

    Raises `UserError` for weights that are not finite, and for a sum that cancels out.
    """
    if not all(np.isfinite(weights)):
        raise UserError(f"the weights {list(weights)} are not all numbers; give finite ones")
    if len(vectors) == 1 and weights[0] > 0:
        return vectors[0]
    largest = max(map(abs, weights)) or 1.0  # only their ratios count, and squares may overflow
    total = np.asarray(weights, np.float64) / largest @ np.asarray(vectors, np.float64)
    length = float(np.linalg.norm(total))
    if length < 1e-6:
        raise UserError("the terms of the query cancel out; change one of them or its weight")
    return np.asarray(total / length, np.float32)


def worded(text: str) -> str:
    """A query's text. Raises `UserError` where it is empty."""
    if not isinstance(text, str) or not text.strip():
        raise UserError('the query is empty; ask for something, such as "french cat"')
    return text


def unit(vector: Any, dimension: int) -> Unit:
    """A vector as (D,) float32 of length 1. Raises `UserError` for another shape, NaN or zeros."""
    try:
        found = np.asarray(vector, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"the query vector is no list of {dimension} numbers") from None
    if found.shape != (dimension,):
        said = f"{found.shape[0]} numbers" if found.ndim == 1 else f"the shape {found.shape}"
        raise UserError(f"the query vector has {said}; this index is of {dimension}")
    largest = float(np.abs(found).max())
    if not np.isfinite(largest) or largest == 0:
        raise UserError("the query vector is zero, infinite or not a number")
    found = found / largest  # squares of very large or small numbers would not be finite, or zero
    return (found / np.linalg.norm(found)).astype(np.float32)
