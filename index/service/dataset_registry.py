"""The datasets that the service holds open; new index versions are noticed and loaded.

A request works with the `ServedDataset` that it began with, while the next one may already get
another; the old one is freed when its last request ends. The registry watches index.json, which a
build publishes last, and dataset.json, which every stage writes at its end. If a version cannot be
opened (a build is running), the old one stays, and the new one is tried again.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterable
from pathlib import Path

from frenchcat.curate.clip.model import Clip, load_clip
from frenchcat.curate.dataset import MANIFEST, Dataset
from frenchcat.curate.embed import model_of, require_same_model
from frenchcat.curate.errors import UserError
from frenchcat.index.build import JSON
from frenchcat.index.search import clip_settings
from frenchcat.index.service.batching import Encoder
from frenchcat.index.service.metrics import Metrics
from frenchcat.index.service.problems import Refused
from frenchcat.index.service.served_dataset import ServedDataset
from frenchcat.index.service.served_publication import PublishedSource, ServedPublication
from frenchcat.index.service.work import Work

_log = logging.getLogger("frenchcat.serve")


def check_address(name: str, body: str | None) -> None:
    """Raise `Refused` (400) if a body names another dataset than its address."""
    if body not in (None, name):
        raise Refused(400, f"the address names {name!r}, but the body {body!r}; give one dataset")


class DatasetRegistry:
    """Name -> served dataset, in the order given; the first one is the default."""

    def __init__(
        self,
        datasets: Iterable[Dataset | PublishedSource],
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
        self._sources: dict[str, Dataset | PublishedSource] = {}
        for dataset in datasets:
            name = name_of(dataset)
            if name in self._served:
                raise UserError(
                    f"two datasets are named {name!r} ({self._sources[name].root} and "
                    f"{dataset.root}); rename one in its dataset.json"
                )
            self._open(name, dataset)
        if not self._served:
            raise UserError("there is no dataset to serve; give one: frenchcat serve data/mine")

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
            for name, source in list(self._sources.items()):
                await self._work.disk(self.renew, name, source)

    def renew(self, name: str, dataset: Dataset | PublishedSource) -> bool:
        """Load a dataset's new version if there is one; returns whether there was."""
        try:
            if stamp(dataset) == self._seen[name]:
                return False
            self._open(name, dataset)
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
            if isinstance(source, PublishedSource):
                source.close()

    def _open(self, name: str, dataset: Dataset | PublishedSource) -> None:
        before, encoder = stamp(dataset), self._encoder(dataset)
        served: ServedDataset
        if isinstance(dataset, PublishedSource):
            served = ServedPublication(name, dataset, encoder)
        else:
            served = ServedDataset(name, dataset, encoder)
        self._served[name], self._seen[name] = served, before
        self._sources[name] = dataset
        self._metrics.rows.labels(name).set(len(served))

    def _encoder(self, dataset: Dataset | PublishedSource) -> Encoder:
        if isinstance(dataset, PublishedSource):
            weights = dataset.weights
        else:
            weights = str(model_of(dataset)["weights"])
        if weights not in self._encoders:
            self._encoders[weights] = Encoder(lambda: self._load(dataset), self._metrics)
        return self._encoders[weights]

    def _load(self, dataset: Dataset | PublishedSource) -> Clip:
        if self._clip is not None:
            return self._clip
        if isinstance(dataset, PublishedSource):
            return dataset.load_clip()
        clip = load_clip(clip_settings(dataset))
        require_same_model(dataset, clip)
        _ = clip.images  # loaded now, so that the first image query need not wait for it
        return clip


def name_of(dataset: Dataset | PublishedSource) -> str:
    """A dataset's name here: its own, else its folder's; a slash becomes a dash."""
    if isinstance(dataset, PublishedSource):
        return dataset.name.replace("/", "-")
    named = dataset.manifest().name
    return (named or Path(dataset.root.rstrip("/")).name).replace("/", "-")


def stamp(dataset: Dataset | PublishedSource) -> object:
    """Changes when the index does, or a stage's results."""
    if isinstance(dataset, PublishedSource):
        return dataset.stamp()
    return tuple(_stamp(dataset, relative) for relative in (JSON, MANIFEST))


def _stamp(dataset: Dataset, relative: str) -> object:
    if not dataset.local:
        if not dataset.exists(relative):
            return None
        info = dataset.fs.info(dataset.path(relative))
        return info.get("ETag") or (info.get("size"), str(info.get("LastModified")))
    try:
        found = os.stat(dataset.path(relative))
    except FileNotFoundError:
        return None
    return (found.st_ino, found.st_mtime_ns, found.st_size)
