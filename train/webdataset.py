"""A selection as a `webdataset` pipeline: only its rows, read by offset from unmodified tars.

For loops that use webdataset (open_clip's, for example). The rows are split over ranks and workers
by webdataset's own rule, so the pipeline behaves like a list of shards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import IterableDataset

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.json_text import json_text
from frenchcat.train.permutation import key_of, permuted
from frenchcat.train.ranges import Range, read_ranges

if TYPE_CHECKING:
    from frenchcat.curate.select import Selection

_AT_ONCE = 64  # rows that are read together
_ABOUT = ("key", "uid", "url", "caption", "width", "height")


@dataclass(eq=False)
class Samples(IterableDataset[dict[str, Any]]):
    """The samples of a selection, one pass."""

    root: str
    rows: dict[str, list[Any]] = field(repr=False)  # column -> values
    digest: str
    seed: int | None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        from webdataset.utils import pytorch_worker_info

        rank, world, worker, workers = pytorch_worker_info()
        order = self._order()[rank * workers + worker :: world * workers]
        for first in range(0, len(order), _AT_ONCE):
            yield from self._read(order[first : first + _AT_ONCE].tolist())

    def _order(self) -> Any:
        times = np.maximum(0, np.rint(self.rows["weight"])).astype(np.int64)
        places = np.repeat(np.arange(len(times)), times)
        if self.seed is None:
            return places
        shuffled = permuted(np.arange(len(places)), len(places), key_of(self.digest, self.seed))
        return places[shuffled]

    def _read(self, places: list[int]) -> Iterator[dict[str, Any]]:
        rows = [{name: values[place] for name, values in self.rows.items()} for place in places]
        paths = [f"{self.root}/shards/{row['shard']}.tar" for row in rows]
        wanted = [
            Range(path, row["offset"], row["size"]) for path, row in zip(paths, rows, strict=True)
        ]
        for path, row, data in zip(paths, rows, read_ranges(wanted), strict=True):
            if isinstance(data, OSError):
                raise data
            about = {name: row[name] for name in _ABOUT}
            yield {
                "__key__": row["key"],
                "__url__": path,
                row["extension"]: data,
                "txt": (row["caption"] or "").encode(),
                "json": json_text(about).encode(),
            }


def pipeline_of(dataset: Dataset, selection: Selection, seed: int | None) -> Any:
    """A `webdataset.DataPipeline` whose first stage returns the selection's samples."""
    import webdataset

    from frenchcat.curate.select import require_images

    require_images(dataset, selection)
    rows = selection.table.to_pydict()
    return webdataset.DataPipeline(Samples(dataset.root, rows, selection.digest, seed))
