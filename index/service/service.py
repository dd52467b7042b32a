"""What the routes share: one object, made with the application, entered with its event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.index.service.drawing import Artist, Studio
from frenchcat.index.service.media import Thumbnails
from frenchcat.index.service.metrics import Metrics
from frenchcat.index.service.models import Filters
from frenchcat.index.service.queries import Queries
from frenchcat.index.service.remote import Remote
from frenchcat.index.service.search import Found, Wanted, find
from frenchcat.index.service.settings import ServeSettings
from frenchcat.index.service.shelf import Shelf
from frenchcat.index.service.taste import Taste
from frenchcat.index.service.work import Work
from frenchcat.index.terms import Unit
from frenchcat.index.visible import View

if TYPE_CHECKING:
    from frenchcat.curate.clip.model import Clip
    from frenchcat.index.service.volume import Volume


_log = logging.getLogger("frenchcat.serve")


class Service:
    """Datasets, threads, models and numbers of one application."""

    def __init__(
        self,
        datasets: Sequence[Dataset],
        settings: ServeSettings,
        clip: Clip | None = None,
        artist: Artist | None = None,
    ) -> None:
        """Open everything. Raises `UserError` for a dataset, file or setting that does not do."""
        settings.check()
        self.settings = settings
        self.metrics = Metrics()
        self.taste = Taste(settings)
        self.thumbnails = Thumbnails()
        self.work = Work()
        self.shelf = Shelf(datasets, self.work, self.metrics, clip)
        self.remote = Remote(settings, self.metrics)
        self.queries = Queries(self.work, self.remote, self.taste)
        waiting = settings.draw_waiting
        self.studio = None if artist is None else Studio(artist, waiting, self.metrics)
        self.ready = False

    async def __aenter__(self) -> Service:
        await self.remote.__aenter__()
        self._watch = asyncio.create_task(self.shelf.watch(self.settings.poll_sec))
        self._warm = asyncio.gather(*map(self._preload, self.shelf.volumes()))
        self.ready = True
        return self

    async def __aexit__(self, *error: object) -> None:
        self.ready = False
        for task in (self._watch, self._warm):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self.remote.__aexit__(*error)
        if self.studio is not None:
            self.studio.close()
        self.work.close()
        self.shelf.close()

    async def _preload(self, volume: Volume) -> None:
        """Load what a dataset's first query needs, before there is one."""
        if not self.settings.preload:
            return
        await self.work.disk(volume.searcher.visible.mask, View())
        try:
            await volume.encoder.text("french cat")
        except UserError as error:
            _log.warning("%s: texts and pictures cannot be queries: %s", volume.name, error)

    async def find(self, volume: Volume, vector: Unit, wanted: Wanted) -> Found:
        """Search in a thread."""
        return await self.work.search(find, volume, vector, wanted, self.taste, self.metrics)

    def wanted(self, asked: Filters, k: int) -> Wanted:
        """What a body's filters come to."""
        return Wanted(
            k=k,
            by=asked.by,
            view=View(asked.where, asked.safe, asked.duplicates, asked.dropped),
            count_hidden=asked.count_hidden,
            prompts=None if asked.violence else self.taste.violence,
        )
