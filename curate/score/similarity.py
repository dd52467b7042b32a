"""`similarity`: how well caption and image fit, the dot product of their unit CLIP vectors.

Reads the stored float16 vectors, computes in float32. LAION's column of that name; comparable only
between images embedded by the same model. Cost: one pass over the vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.score.kinds import Column, Columns


class Similarity:
    """The score; in [-1, 1]."""

    name = "similarity"
    version = 1
    columns = (
        Column(
            "similarity",
            "float32",
            "cosine of the image's and the caption's vectors: how well they fit",
        ),
    )

    def settings(self) -> Mapping[str, Any]:
        """It depends on the vectors alone."""
        return {}

    def of_vectors(self, pictures: NDArray[np.float32], texts: NDArray[np.float32]) -> Columns:
        """Row-wise dot products of (N, D) and (N, D)."""
        return {"similarity": np.einsum("nd,nd->n", pictures, texts, dtype=np.float32)}
