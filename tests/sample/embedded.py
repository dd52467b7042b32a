"""Datasets of which only the vectors matter: a row a vector, with a picture of its number."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.dataset import Dataset
from tests.sample.pictures import picture
from tests.sample.row import Row
from tests.sample.write import write


def add_shard(
    dataset: Dataset,
    shard: str,
    pictures: NDArray[np.float32],
    texts: NDArray[np.float32] | None = None,
    captions: Sequence[str] | None = None,
    files: Sequence[bytes] | None = None,
    **columns: Sequence[Any],
) -> list[str]:
    """Write tar, sidecar, embeddings, markers of a shard with one row a vector; gives its keys.

    `files` are the pictures' bytes, `picture(n)` each by default; `columns` are the sidecar's.
    """
    columns = {**dict.fromkeys(("width", "height"), [8] * len(pictures)), **columns}
    rows = [
        Row(
            url=None,
            caption=captions[n] if captions else f"caption of {shard}{n:04d}",
            picture=files[n] if files else picture(n),
            columns={name: values[n] for name, values in columns.items()},
            vector=vector,
            text=None if texts is None else texts[n],
        )
        for n, vector in enumerate(pictures)
    ]
    return write(dataset, shard, rows, ("tar", "sidecar", "vectors"))


def embedded(root: Path, *parts: NDArray[np.float32]) -> Dataset:
    """A dataset of one shard a part."""
    dataset = Dataset.create(root, "synthetic")
    for number, part in enumerate(parts):
        add_shard(dataset, f"{number:05d}", part)
    return dataset
