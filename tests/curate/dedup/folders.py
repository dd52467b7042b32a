"""A dataset folder with what the search for duplicates reads, made of a few rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from frenchcat.curate.dataset import Dataset
from tests.sample.row import Row as Listed
from tests.sample.vectors import at_cosine, unit
from tests.sample.write import write as write_shard

DIMENSION = 16


@dataclass
class Row:
    """One row of a list and what the stages said of it."""

    url: str
    sha256: str | None = None
    stored_sha256: str | None = None
    side: int | None = 100  # pixels of the width, and of the height where none is given
    height: int | None = None
    similarity: float | None = 0.2
    pdq: bytes | None = None
    quality: int = 100
    vector: NDArray[np.float64] | None = None
    text: NDArray[np.float64] | None = None  # the caption's vector; None: the image's
    stored: bool = True
    caption: str = "a cat"


def vector(seed: int, near: NDArray[np.float64] | None = None, cosine: float = 0) -> Any:
    """A unit vector by chance, or one at a cosine to another."""
    made = np.random.default_rng(seed).standard_normal(DIMENSION)
    return unit(made) if near is None else unit(at_cosine(near, cosine, made))


def pdq(seed: int, bits: int = 0) -> bytes:
    """A hash by chance with its first so many bits turned over."""
    hash_ = np.unpackbits(np.random.default_rng(seed).integers(0, 256, 32, dtype=np.uint8))
    hash_[:bits] ^= 1
    return np.packbits(hash_).tobytes()


def write(dataset: Dataset, shard: str, rows: Sequence[Row]) -> None:
    """Publish a shard as download, embed and score leave it."""
    listed = [
        Listed(
            row.url,
            row.caption,
            failed=None if row.stored else "http_404",
            columns={
                "sha256": row.sha256,
                "stored_sha256": row.stored_sha256,
                "original_width": row.side,
                "original_height": row.side if row.height is None else row.height,
            },
            vector=row.vector,
            text=row.text,
            scores={
                "pdq": None if row.pdq is None else row.pdq.hex(),
                "pdq_quality": row.quality,
                "similarity": row.similarity,
            },
        )
        for row in rows
    ]
    write_shard(dataset, shard, listed, ("sidecar", "vectors", "scores"))


def read(dataset: Dataset) -> dict[str, dict[str, Any]]:
    """Key -> row of all the dataset's duplicates."""
    names = dataset.files("duplicates")
    tables = [pq.read_table(dataset.path(f"duplicates/{name}")) for name in names]
    return {row["key"]: row for row in pa.concat_tables(tables).to_pylist()}
