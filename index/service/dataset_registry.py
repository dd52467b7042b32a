"""The datasets that the service holds open; new versions are noticed and loaded.

A request works with the `ServedDataset` that it began with, while the next one may already get
another; the old one is freed when its last request ends. If a version cannot be opened (a build is
running), the old one stays, and the new one is tried again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from frenchcat.curate.errors import UserError
from frenchcat.index.service.batching import Encoder
from frenchcat.index.service.metrics import Metrics
from frenchcat.index.service.problems import Refused
from frenchcat.index.service.served_dataset import ServedDataset
from frenchcat.index.service.served_source import ServedSource
from frenchcat.index.service.work import Work

if TYPE_CHECKING:
    from frenchcat.curate.clip.model import Clip

_log = logging.getLogger("frenchcat.serve")


def check_address(name: str, body: str | None) -> None:
    """Raise `Refused` (400) if a body names another dataset than its address."""
    if body not in (None, name):
        raise Refused(400, f"the address names {name!r}, but the body {body!r}; give one dataset")


class DatasetRegistry:
    """Name -> served dataset, in the order given; the first one is the default."""

    def __init__(
        self,
        sources: Iterable[ServedSource],
        work: Work,
        metrics: Metrics,
        clip: Clip | None = None,
    ) -> None:
        """Open every dataset. `clip` replaces the models that they name.

        Raises `UserError` for one without an index, or two with one name.
        """
        self._work, self._metrics, self._clip = work, metrics, clip
        self._encoders: dict[str, Encoder] = {}  # by the digest of the weights
        self._served: dict[str, ServedDataset] = {}
        self._seen: dict[str, object] = {}
        self._sources: dict[str, ServedSource] = {}
        for source in sources:
            name = source.served_name
            if name in self._served:
                raise UserError(
                    f"two datasets are named {name!r} ({self._sources[name].root} and "
                    f"{source.root}); rename one in its dataset.json"
                )
            self._sources[name] = source
            self._open(name)
        if not self._served:
            raise UserError("there is no dataset to serve; give one: frenchcat serve DATASET")

    @property
    def names(self) -> list[str]:
        """The names of the datasets."""
        return list(self._served)

    def all_served(self) -> list[ServedDataset]:
        """The newest version of each."""
        return list(self._served.values())

    def get(self, name: str | None) -> ServedDataset:
        """The newest version of a dataset; None is the first one. Raises `Refused` (404)."""
        if name is None:
            return next(iter(self._served.values()))
        found = self._served.get(name)
        if found is None:
            raise Refused(404, f"no dataset {name!r} here; there are: {', '.join(self.names)}")
        return found

    def by_name(self, text: str) -> str:
        """A message with a dataset's name where it has the folder, which clients need not know."""
        for name, source in self._sources.items():
            text = text.replace(source.root, name)
        return text

    async def watch(self, every_sec: float) -> None:
        """Look for new versions until cancelled."""
        while True:
            await asyncio.sleep(every_sec)
            for name in self.names:
                await self._work.disk(self.renew, name)

    def renew(self, name: str) -> bool:
        """Load a dataset's new version if there is one; returns whether there was."""
        try:
            if self._sources[name].stamp() == self._seen[name]:
                return False
            self._open(name)
        except Exception as error:  # whatever is there, the watch and the old version continue
            _log.warning("%s: its new index cannot be opened yet (%s)", name, error)
            return False
        self._metrics.swaps.labels(name).inc()
        _log.info("%s: version %s loaded", name, self._served[name].version)
        return True

    def close(self) -> None:
        """End the models' threads."""
        for encoder in self._encoders.values():
            encoder.close()
        for source in self._sources.values():
            source.close()

    def _open(self, name: str) -> None:
        source = self._sources[name]
        before = source.stamp()
        served = source.open(name, self._encoder(source))
        self._served[name], self._seen[name] = served, before
        self._metrics.rows.labels(name).set(len(served))

    def _encoder(self, source: ServedSource) -> Encoder:
        weights = source.weights
        if weights not in self._encoders:
            self._encoders[weights] = Encoder(lambda: self._load(source), self._metrics)
        return self._encoders[weights]

    def _load(self, source: ServedSource) -> Clip:
        if self._clip is not None:
            return self._clip
        clip = source.load_clip()
        _ = clip.images  # loaded now, so that the first image query need not wait for it
        return clip
