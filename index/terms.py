"""The parts of a query: texts, images and vectors, and weighted sums of them.

Turns what a user gives into (D,) float32 unit vectors, or raises a `UserError` that says what is
wrong; writes nothing. A sum is of unit vectors and is scaled to length 1 again: "cat" + an image of
a beret - "drawing". Texts and images lie in two cones of CLIP's space, so an image of weight 1
outweighs a text of weight 1.
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
    """An image in a query: a path, encoded bytes, or a Pillow image."""

    value: str | Path | bytes | Image


@dataclass(frozen=True)
class Vector:
    """A vector in a query: D numbers of any length except zero."""

    value: Sequence[float] | NDArray[np.floating[Any]]


Term = Text | QueryImage | Vector
Terms = Sequence[tuple[float, Term]]


def one_query(text: Any, picture: Any, vector: Any, terms: Terms | None) -> Terms:
    """The terms of the one kind that is given. Raises `UserError` unless it is exactly one."""
    if sum(part is not None for part in (text, picture, vector, terms)) != 1:
        raise UserError("a query is exactly one of: a text, an image, a vector, weighted terms")
    if terms is not None:
        if not terms:
            raise UserError("the query has no terms; give at least one")
        return terms
    if text is not None:
        return [(1.0, Text(text))]
    return [(1.0, QueryImage(picture) if picture is not None else Vector(vector))]


def summed(vectors: Sequence[Unit], weights: Sequence[float]) -> Unit:
    """The weighted sum of (D,) unit vectors as a unit vector; a single vector is returned as it is.

    Raises `UserError` for weights that are not finite, and for a sum that cancels out.
    """
    if not all(np.isfinite(weights)):
        raise UserError(f"the weights {list(weights)} are not all finite numbers")
    if len(vectors) == 1 and weights[0] > 0:
        return vectors[0]
    largest = max(map(abs, weights)) or 1.0  # only ratios count, and squares might overflow
    total = np.asarray(weights, np.float64) / largest @ np.asarray(vectors, np.float64)
    length = float(np.linalg.norm(total))
    if length < 1e-6:
        raise UserError("the terms of the query cancel out; change one of them or its weight")
    return np.asarray(total / length, np.float32)


def worded(text: str) -> str:
    """A query's text. Raises `UserError` if it is empty."""
    if not isinstance(text, str) or not text.strip():
        raise UserError('the query is empty; ask for something, such as "french cat"')
    return text


def unit(vector: Any, dimension: int) -> Unit:
    """A vector as (D,) float32 of length 1. Raises `UserError` for another shape, NaN or zeros."""
    try:
        found = np.asarray(vector, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"the query vector is not a list of {dimension} numbers") from None
    if found.shape != (dimension,):
        said = f"{found.shape[0]} numbers" if found.ndim == 1 else f"the shape {found.shape}"
        raise UserError(f"the query vector has {said}; the index has {dimension}")
    largest = float(np.abs(found).max())
    if not np.isfinite(largest) or largest == 0:
        raise UserError("the query vector is zero, infinite or not a number")
    found = found / largest  # squares of very large or small numbers would overflow, or become zero
    return (found / np.linalg.norm(found)).astype(np.float32)
