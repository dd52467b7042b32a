"""What the routes share: one object, made with the application, entered with its event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.index.service.conditions import Conditions
from frenchcat.index.service.content_policy import ContentPolicy
from frenchcat.index.service.dataset_registry import DatasetRegistry
from frenchcat.index.service.drawing import DrawBackend, DrawQueue
from frenchcat.index.service.media import ThumbnailCache
from frenchcat.index.service.metrics import Metrics
from frenchcat.index.service.models.query import Filters, HitFilters
from frenchcat.index.service.models.search import Search
from frenchcat.index.service.pixels import PixelBudget
from frenchcat.index.service.queries import Queries
from frenchcat.index.service.remote import Remote
from frenchcat.index.service.search import NearestRows, Wanted, find
from frenchcat.index.service.served_dataset import FolderSource
from frenchcat.index.service.served_source import ServedSource
from frenchcat.index.service.settings import ServeSettings
from frenchcat.index.service.work import Work
from frenchcat.index.terms import Unit
from frenchcat.index.visible import View

if TYPE_CHECKING:
    from frenchcat.curate.clip.model import Clip
    from frenchcat.index.service.served_dataset import ServedDataset


_log = logging.getLogger("frenchcat.serve")


class Service:
    """Datasets, threads, models and numbers of one application."""

    def __init__(
        self,
        datasets: Sequence[Dataset | ServedSource],
        settings: ServeSettings,
        clip: Clip | None = None,
        draw_backend: DrawBackend | None = None,
    ) -> None:
        """Open everything. Raises `UserError` for a dataset, file or setting that does not do."""
        settings.check()
        self.settings = settings
        self.may_ask_used = False  # until a route answers at /v1/used
        self.metrics = Metrics()
        self.content_policy = ContentPolicy(settings)
        # Two: who sends large images does not hold up those of the page.
        self.pixels = PixelBudget(settings.decoded_pixels)
        self.thumbnails = ThumbnailCache(pixels=PixelBudget(settings.decoded_pixels))
        self.work = Work()
        self.conditions = Conditions(settings, self.work)
        sources = [one if isinstance(one, ServedSource) else FolderSource(one) for one in datasets]
        self.registry = DatasetRegistry(sources, self.work, self.metrics, clip)
        self.remote = Remote(settings, self.metrics)
        self.queries = Queries(
            self.work, self.remote, self.content_policy, self.pixels, self.registry.get
        )
        waiting = settings.draw_waiting
        self.draw_queue = (
            None if draw_backend is None else DrawQueue(draw_backend, waiting, self.metrics)
        )
        self.exports = asyncio.Semaphore(settings.exports)
        self.ready = False

    async def __aenter__(self) -> Service:
        await self.remote.__aenter__()
        self._watch = asyncio.create_task(self.registry.watch(self.settings.poll_sec))
        if self.settings.preload:
            self.conditions.preload()
        self._warm = asyncio.gather(*map(self._preload, self.registry.all_served()))
        self.ready = True
        return self

    async def __aexit__(self, *error: object) -> None:
        self.ready = False
        for task in (self._watch, self._warm):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self.remote.__aexit__(*error)
        if self.draw_queue is not None:
            self.draw_queue.close()
        self.conditions.close()
        self.work.close()
        self.registry.close()

    async def _preload(self, served: ServedDataset) -> None:
        """Load what a dataset's first query needs, before there is one."""
        if not self.settings.preload:
            return
        await self.work.disk(served.searcher.visible.mask, View())
        try:
            await served.encoder.text("french cat")
        except UserError as error:
            _log.warning("%s: texts and images cannot be queries: %s", served.name, error)

    async def find(self, served: ServedDataset, vector: Unit, wanted: Wanted) -> NearestRows:
        """Search in a thread."""
        given = (served, vector, wanted, self.content_policy, self.metrics)
        return await self.conditions.within(served, self.work.search, find, *given)

    async def nearest(self, served: ServedDataset, query: Search) -> NearestRows:
        """The k nearest rows of a query."""
        vector = await self.queries.search(served, query)
        vector = self.content_policy.rated(vector, query.aesthetic_score, query.aesthetic_weight)
        return await self.find(served, vector, self.wanted(query, query.k))

    def wanted(self, asked: Filters, k: int) -> Wanted:
        """What a body's filters come to."""
        return Wanted(
            k=k,
            by=asked.by,
            view=View(
                asked.where,
                asked.safe,
                asked.duplicates,
                asked.dropped,
                tuple(asked.selections),
                tuple(asked.outside),
            ),
            count_hidden=asked.count_hidden,
            prompts=None if asked.violence else self.content_policy.violence,
            min_similarity=asked.min_similarity if isinstance(asked, HitFilters) else None,
            words=_words(asked),
        )


def _words(asked: Filters) -> str | None:
    """What captions shall hold, of a hybrid query. Raises `UserError` where it has no text."""
    if not isinstance(asked, Search) or not asked.hybrid:
        return None
    texts = [asked.text] if asked.terms is None else [t.text for t in asked.terms if t.weight > 0]
    said = " ".join(text for text in texts if text)
    if not said:
        raise UserError("a hybrid query looks for words in captions, and this one has no text")
    return said
