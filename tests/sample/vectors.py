"""Unit vectors by chance, and near others."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def unit(vector: Any) -> NDArray[np.float64]:
    """A vector at length 1."""
    found = np.asarray(vector, np.float64)
    return found / np.linalg.norm(found)


def unit_rows(rows: int, dimension: int = 16, seed: int = 0) -> NDArray[np.float32]:
    """(rows, dimension) float32 unit vectors."""
    made = np.random.default_rng(seed).standard_normal((rows, dimension)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def at_cosine(vector: Any, cosine: float, towards: Any) -> NDArray[np.float64]:
    """The unit vector at a cosine to a unit vector, in the plane of both."""
    aside = towards - (towards @ vector) * vector
    return np.asarray(cosine * vector + np.sqrt(1 - cosine**2) * unit(aside))
