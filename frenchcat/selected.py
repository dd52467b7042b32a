"""An open selection: its rows, its export, and its batches for a training loop.

cats = frenchcat.open("data/mine").selection("cats")
for batch in cats.batches(batch=32, size=64, epochs=1):
    loss = step(batch.pixels, batch.captions)
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frenchcat.curate.config import as_overrides, load_settings
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.select import Choice, Selection

if TYPE_CHECKING:
    import pyarrow as pa

    from frenchcat.curate.export import Exported
    from frenchcat.train.stream import Stream


class OpenSelection:
    """Frozen rows of a dataset, as `OpenDataset.select` and `.selection` return them."""

    def __init__(self, dataset: Dataset, selection: Selection) -> None:
        self.dataset, self._selection = dataset, selection

    def __repr__(self) -> str:
        return f"frenchcat.open({self.dataset.root!r}).selection({self.name!r})"

    def __len__(self) -> int:
        return len(self._selection)

    @property
    def name(self) -> str:
        """The selection's name."""
        return self._selection.name

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of its keys, captions, image digests and weights."""
        return self._selection.digest

    @property
    def sql(self) -> str:
        """The query that chose the rows."""
        return self._selection.sql

    @property
    def choice(self) -> Choice:
        """The settings of the selection."""
        return self._selection.choice

    @property
    def rows(self) -> pa.Table:
        """Key, shard, offset and size in the shard's tar, caption, url, weight and more."""
        return self._selection.table

    def export(
        self,
        to: str | Path,
        format: str = "webdataset",
        advance: Callable[[int], None] | None = None,
        told: Callable[[Exported], None] | None = None,
    ) -> Path:
        """Write it into a new or empty folder, in one of the formats of docs/select.md.

        `advance` is called with the number of rows as they are done. `told` is called at the end
        with what was written (rows, bytes), which rows were refused and what the format omits.
        """
        from frenchcat.curate.export import export

        return export(self.dataset, self.name, to, format, advance, told)

    def batches(
        self,
        *,
        batch: int,
        size: int,
        seed: int = 0,
        epochs: int | None = None,
        start: tuple[int, int] = (0, 0),
        rank: int = 0,
        world: int = 1,
        folder: str | Path | None = None,
        set: Any = (),
    ) -> Stream:
        """A torch `IterableDataset` of this rank's part of each batch, in the order of the exact
        plan.

        `batch` counts samples over all ranks; `size` is in pixels. The order follows from the
        selection's digest and the seed alone, whatever the number of workers. It begins at ``start
        = (epoch, k)``; after a batch, resume with ``(batch.epoch, batch.k + 1)``. Without `epochs`
        it never ends. `folder` keeps the laid-out rows for the next start; by default they are in a
        temporary folder. `set` changes other data settings (docs/train.md), such as ``{"data.crop":
        "random"}``. Use it as ``DataLoader(stream, batch_size=None)``.
        """
        from frenchcat.train.settings import TrainSettings
        from frenchcat.train.stream import stream_of

        values = {
            "data.dataset": self.dataset.root,
            "data.selection": self.name,
            "data.batch": batch,
            "data.size": size,
            "run.seed": seed,
            "run.held_out": 0,
        }
        overrides = [*as_overrides(values), *as_overrides(set)]
        settings = load_settings(TrainSettings, overrides=overrides)
        return stream_of(
            settings,
            None if folder is None else Path(folder),
            epochs=epochs,
            start=start,
            rank=rank,
            world=world,
        )

    def webdataset(self, *, shuffle: int | None = None) -> Any:
        """A `webdataset` pipeline over these rows, read by offset from the unmodified tars.

        Samples are dicts as webdataset's own: ``__key__``, ``__url__``, the image's bytes under its
        extension, ``txt`` and ``json`` (key, uid, url, caption, width, height). Rows are split over
        ranks and workers. With `shuffle`, a seed, they come in that seed's order, else in key
        order. A row comes as often as its weight, rounded. Needs torch.
        """
        from frenchcat.train.webdataset import pipeline_of

        return pipeline_of(self.dataset, self._selection, shuffle)


__all__ = ["OpenSelection"]
