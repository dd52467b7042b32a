"""The dataset that a run was trained on, opened where it lay then.

Another dataset may lie there by now, or the same with images that were downloaded anew: its keys
look alike, and every credit, receipt and figure would be of other images. So some of the run's rows
are compared with it, by the digest of the image's bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from frenchcat.curate import files, sidecar
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import NotFound, UserError
from frenchcat.curate.keys import by_shard
from frenchcat.train.rows import open_rows

_COMPARED = 64
"""Rows at most, spread evenly over the run's: enough to meet rows that are left by a removal."""


def dataset_of(run: Path, place: str) -> Dataset:
    """The dataset at `place` that a run was trained on.

    Raises `NotFound` if it is gone, `UserError` if what is there has other images.
    """
    try:
        dataset = Dataset.open(place)
    except NotFound:
        raise NotFound(
            f"{run} was trained on the dataset {place}, which is gone; put it back there, or use "
            "another run"
        ) from None
    compared = 0
    for is_same in _compared(dataset, _digests_of_run(run)):
        if is_same:
            return dataset
        compared += 1
    if compared:
        raise UserError(
            f"{run} was trained on other images than those of {place}: none of the {compared} "
            "rows that were compared has the same bytes; put the dataset of then back there, or "
            "use another run"
        )
    return dataset


def _digests_of_run(run: Path) -> dict[str, str]:
    """Key -> SHA-256 of the image's bytes, of some of a run's rows; none where rows/ is gone."""
    rows = open_rows(run / "rows")
    if rows is None or not len(rows):
        return {}
    numbers = np.unique(np.linspace(0, len(rows) - 1, _COMPARED).astype(np.int64))
    return {row.key: row.sha256 for row in rows.take(numbers) if row.sha256}


def _compared(dataset: Dataset, trained: Mapping[str, str]) -> Iterator[bool]:
    """Whether each of the rows that the dataset still has is the same image, a shard at a time.

    `trained` is key -> SHA-256.
    """
    for shard, keys in by_shard(dataset, trained).items():
        if not dataset.exists(files.SIDECAR.of(shard)):
            continue
        table = sidecar.read(dataset, shard, ("key", "stored_sha256"))
        if "stored_sha256" in table.column_names:
            pairs = zip(table["key"].to_pylist(), table["stored_sha256"].to_pylist(), strict=True)
            yield from (trained[key] == digest for key, digest in pairs if digest and key in keys)
