"""The stored embeddings of a part of the index, memory-mapped: exact numbers for reranking.

Reads embeddings/{img,text}_emb/*.npy, (N, D) float16; writes nothing. The files of a remote dataset
are fetched first. Replacing a file does not change what was mapped. Cost: pages of the system's
cache that can be dropped, and no other memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate import files
from frenchcat.curate.command_text import shell_command
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError

Vectors = NDArray[np.float32]
BLOCK = 8192  # rows converted to float32 at a time


class StoredVectors:
    """The (N, D) float16 vectors of some shards in order, read as float32."""

    def __init__(
        self, dataset: Dataset, modality: str, shards: Mapping[str, int], dimension: int
    ) -> None:
        """Map the files; `shards` gives the rows of each. Raises `UserError` if they do not fit."""
        self._files = []
        for shard, rows in shards.items():
            if rows:
                self._files.append(_mapped(dataset, modality, shard, (rows, dimension)))
        self._starts = np.cumsum([0] + [len(file) for file in self._files])
        self.dimension = dimension

    def __len__(self) -> int:
        return int(self._starts[-1])

    def gather(self, positions: NDArray[np.int64]) -> Vectors:
        """(n, D) float32, the vectors at positions."""
        found = np.empty((len(positions), self.dimension), np.float32)
        numbers = np.searchsorted(self._starts, positions, side="right") - 1
        # Sorted, so that each file is read once and forwards.
        order = np.argsort(positions, kind="stable")
        bounds = np.searchsorted(numbers[order], np.arange(len(self._files) + 1))
        for number in np.unique(numbers):
            places = order[bounds[number] : bounds[number + 1]]
            found[places] = self._files[number][positions[places] - self._starts[number]]
        return found

    def blocks(self) -> Iterator[tuple[int, Vectors]]:
        """All vectors in order, in blocks: position of the first, (n, D) float32 of at most `BLOCK`
        rows.
        """
        for file, start in zip(self._files, self._starts, strict=False):
            for row in range(0, len(file), BLOCK):
                yield int(start) + row, file[row : row + BLOCK].astype(np.float32)


def _mapped(
    dataset: Dataset, modality: str, shard: str, expected: tuple[int, int]
) -> NDArray[np.float16]:
    relative = files.EMBEDDINGS[modality].of(shard)
    try:
        with dataset.as_local(relative) as path:
            found: NDArray[np.float16] = np.load(path, mmap_mode="r")
    except (FileNotFoundError, ValueError):
        raise UserError(
            f"{dataset.path(relative)} is missing or cut short; "
            f"run: {shell_command('embed', dataset.root)}, then "
            f"{shell_command('index', dataset.root)}"
        ) from None
    if found.shape != expected or found.dtype != np.float16:
        raise UserError(
            f"{dataset.path(relative)} has the shape {found.shape}, but its metadata and model "
            f"say {expected}; delete it and run: {shell_command('embed', dataset.root)}"
        )
    return found.view(np.ndarray)
