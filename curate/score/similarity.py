"""`similarity`: how well caption and picture fit, the dot product of their unit CLIP vectors.

Reads the stored float16 vectors, computes in float32. LAION's column of that name; comparable only
between pictures embedded by the same model. Cost: one pass over the vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.score.kinds import Columns

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Similarity:
    """The score; in [-1, 1]."""

    name: str = "similarity"
    version: int = 1

    def settings(self) -> Mapping[str, Any]:
        """It depends on the vectors alone."""
        return {}

    def columns(self) -> dict[str, pa.DataType]:
        """One float."""
        import pyarrow as pa

        return {"similarity": pa.float32()}

    def of_vectors(self, pictures: NDArray[np.float32], texts: NDArray[np.float32]) -> Columns:
        """Row-wise dot products of (N, D) and (N, D)."""
        return {"similarity": np.einsum("nd,nd->n", pictures, texts, dtype=np.float32)}
