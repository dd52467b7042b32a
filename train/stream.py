"""The exact plan's batches as a torch `IterableDataset`, for your own training loop.

Reads a selection's laid-out rows (rows.py) and their tars. A worker process of a `DataLoader`
returns every n-th batch, which is the order in which a loader asks its workers, so any number of
workers gives the same batches. `state_dict` is what torchdata's `StatefulDataLoader` expects.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.utils.data import IterableDataset, get_worker_info

from frenchcat.curate.errors import UserError
from frenchcat.train.loader import Batches, Cursor, Loaded, places
from frenchcat.train.run import prepare_rows
from frenchcat.train.settings import TrainSettings


@dataclass(eq=False)
class Stream(IterableDataset[Loaded]):
    """Batches from a cursor on: `keys`, `captions`, `pixels` (B, 3, H, W) uint8, `epoch`, `k`."""

    batches: Batches
    start: Cursor
    epochs: int | None = None
    given: int = 0  # batches that this process has returned since `start`

    def __iter__(self) -> Iterator[Loaded]:
        worker = get_worker_info()
        which, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for number, place in enumerate(self._places()):
            if number % workers != which or number // workers < self.given:
                continue
            loaded = self.batches[place]
            self.given += 1
            yield loaded
        self.given = 0

    def __len__(self) -> int:
        """The number of remaining batches. Raises TypeError if there is no end."""
        if self.epochs is None:
            raise TypeError("the stream has no end; give `epochs`")
        plan = self.batches.plan
        total = sum(plan.batches(epoch) for epoch in range(self.start.epoch, self.epochs))
        return max(0, total - self.start.k)

    def state_dict(self) -> dict[str, Any]:
        """The state of this process's part."""
        return {"epoch": self.start.epoch, "k": self.start.k, "given": self.given}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a `state_dict` with the same number of workers."""
        self.start = Cursor(state["epoch"], state["k"])
        self.given = state["given"]

    def _places(self) -> Iterator[tuple[int, int]]:
        count = 2**62 if self.epochs is None else len(self)
        try:
            yield from places(self.batches.plan, self.start, count)
        except ValueError as error:
            raise UserError(str(error)) from None


def stream_of(
    settings: TrainSettings,
    folder: Path | None = None,
    *,
    epochs: int | None = None,
    start: tuple[int, int] = (0, 0),
    rank: int = 0,
    world: int = 1,
) -> Stream:
    """Lay out the rows of the settings' selection and return their batches.

    Raises `UserError` for a selection that cannot be read or does not fill a batch.
    """
    kept = folder or Path(tempfile.mkdtemp(prefix="frenchcat-rows-"))
    batches = Batches(kept, settings, rank, world)
    stream = Stream(batches, Cursor(*start), epochs)
    if folder is None:
        weakref.finalize(stream, shutil.rmtree, kept, ignore_errors=True)
    prepare_rows(settings, kept)
    if not batches.plan.batches(start[0]):
        raise UserError(
            f"{batches.plan.population.rows} rows do not fill a batch of {settings.data.batch} in "
            "any bucket; lower the batch"
        )
    return stream
