"""The three kinds of score, told apart by what they read: rows, vectors or images.

Reads and writes nothing. A score is a picklable value with a name, a version (bump it when the same
input gives other numbers), the columns it makes, the settings it depends on, and a function from a
shard's rows to these columns. A missing value is None, never a number that looks like one.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa
    from PIL.Image import Image

Columns = Mapping[str, Sequence[Any] | NDArray[Any]]  # column -> a value per row


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a score, and how the report shows it."""

    name: str
    type: str  # by Arrow's name: float32, int32, int64, bool, string
    description: str = ""  # one line for people, shown above its histogram
    probability: bool = False  # its histogram spans 0 to 1
    charted: bool = True  # False: no histogram, since its numbers say nothing to people


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """One stored image, decoded."""

    data: bytes  # the file, as it lies in the tar
    rgb: NDArray[np.uint8]  # (H, W, 3), as every stage sees it (curate/image)

    @property
    def picture(self) -> Image:
        """The file as Pillow opens it, for its format and tables; its pixels may lie turned."""
        from PIL import Image

        return Image.open(io.BytesIO(self.data))


class Score(Protocol):
    """What every score has."""

    @property
    def name(self) -> str:
        """Names it in settings and in the file's metadata."""
        ...

    @property
    def version(self) -> int:
        """Bumped when the same input gives other numbers."""
        ...

    def settings(self) -> Mapping[str, Any]:
        """What else its numbers depend on (weights, prompts), JSON-able."""
        ...

    @property
    def columns(self) -> tuple[Column, ...]:
        """What it makes, in the order of the file."""
        ...


@runtime_checkable
class RowScore(Score, Protocol):
    """Made from the sidecar's columns alone."""

    def of_rows(self, rows: pa.Table) -> Columns:
        """The columns for a shard's stored rows."""
        ...


@runtime_checkable
class VectorScore(Score, Protocol):
    """Made from the CLIP vectors."""

    def of_vectors(self, pictures: NDArray[np.float32], texts: NDArray[np.float32]) -> Columns:
        """The columns for (N, D) unit rows of images and of their captions."""
        ...


Measure = Callable[[Sequence[DecodedImage]], Columns]


@runtime_checkable
class ImageScore(Score, Protocol):
    """Made from the stored images."""

    def load(self) -> Measure:
        """Load what is needed once a process; gives the function from a batch to its columns."""
        ...
