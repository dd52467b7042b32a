"""Short sketches of vectors: most comparisons are made on 64 numbers, not on 512.

Reads vectors (an array or a memory-mapped file), writes nothing. A sketch is a vector's projection
onto 64 random directions that are orthogonal, so that distances are kept up to chance (Johnson and
Lindenstrauss 1984): the squared distance of two sketches over that of the vectors is distributed as
chi-squared with 64 degrees of freedom, over 64. `FAR` is that distribution's .999 quantile. Pairs
of sketches that are nearer than `FAR` allows are candidates, whose vectors are compared.

Cost: rows x dimensions x 64, once. Memory: 128 bytes per row. Of a memory-mapped file, the pages
that were read are given back, so that it may be larger than memory.
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

SIZE = 64
"""Numbers of a sketch."""
FAR = 1.64
_SEED = 20_191_113
_BLOCK = 8192  # rows turned into float32 at a time
_KEPT = 4096  # rows of a mapped file that are read before its pages are given back
_ROUNDING = 0.004
"""Of squared distances: unit vectors in float16 have norms that differ from 1 by up to 2 ** -11."""

Vectors = NDArray[np.float16] | NDArray[np.float32]


class Sketches:
    """Unit vectors (N, D) with their sketches (N, S)."""

    def __init__(self, vectors: Vectors, project: bool = True) -> None:
        """Without `project`, and where they are short, vectors are their own sketches."""
        self.vectors = vectors
        self.projected = project and vectors.shape[1] > SIZE
        self._read = 0
        self._short = self._projected() if self.projected else vectors

    def __len__(self) -> int:
        return len(self.vectors)

    def of(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """(n, S) float32 sketches."""
        import torch

        return torch.from_numpy(self._short[rows]).to(torch.float32)

    def full(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """(n, D) float32 vectors."""
        import torch

        taken = torch.from_numpy(np.asarray(self.vectors[rows])).to(torch.float32)
        self._read += len(rows)
        if self._read > _KEPT:
            self._read = 0
            _give_back(self.vectors)
        return taken

    def limit(self, cosine: float) -> float:
        """The squared distance of sketches up to which vectors may have this cosine."""
        return 2 * (1 - cosine) * (FAR if self.projected else 1.0) + _ROUNDING

    def _projected(self) -> NDArray[np.float16]:
        import torch

        rows, dimension = self.vectors.shape
        chance = np.random.default_rng(_SEED)
        directions, _ = np.linalg.qr(chance.standard_normal((dimension, SIZE)))
        scaled = torch.from_numpy((directions * np.sqrt(dimension / SIZE)).astype(np.float32))
        short = np.empty((rows, SIZE), np.float16)
        for start in range(0, rows, _BLOCK):
            part = torch.from_numpy(np.array(self.vectors[start : start + _BLOCK]))
            short[start : start + _BLOCK] = (part.to(torch.float32) @ scaled).numpy()
            _give_back(self.vectors)
        return short


def _give_back(vectors: Vectors) -> None:
    """Let the system have the pages of a mapped file; they are read again when they are wanted."""
    mapped = getattr(vectors, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)
