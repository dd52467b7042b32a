"""The model in its own thread: texts of many users are encoded in one batch.

A batch contains whatever is waiting when the model becomes free, so a single query is never delayed
and many concurrent ones share one run of the tower. Vectors of recent texts are cached: a page
sends the same text again whenever an option changes.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.errors import UserError
from frenchcat.index.service.metrics import Metrics
from frenchcat.index.service.problems import Refused

if TYPE_CHECKING:
    from PIL.Image import Image

    from frenchcat.curate.clip.model import Clip

Vector = NDArray[np.float32]  # (D,), unit length
Job = tuple[Any, "Future[Vector]"]  # a text or an image, and the future for its vector

BATCH = 64  # texts or images at a time
KEPT = 4096  # texts whose vectors are cached
WAITING = 2000  # jobs that may wait; more are refused
AGAIN_SEC = 60.0  # before loading is tried again after a failure


class Encoder:
    """One model in one thread, loaded at its first use."""

    def __init__(self, load: Callable[[], Clip], metrics: Metrics) -> None:
        self._load, self._metrics = load, metrics
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._kept: OrderedDict[str, Vector] = OrderedDict()
        self._clip: Clip | None = None
        self._failed: tuple[float, UserError] | None = None  # when and why it did not load
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._thread.start()

    async def text(self, text: str) -> Vector:
        """The vector of a text. Raises `UserError` if the model cannot be loaded."""
        found = self._kept.get(text)
        return found if found is not None else await self._ask(text)

    async def picture(self, picture: Image) -> Vector:
        """The vector of a decoded image. Raises as `text` does."""
        return await self._ask(picture)

    def close(self) -> None:
        """End the thread after the queued jobs."""
        self._closed = True
        self._jobs.put(None)
        self._thread.join(timeout=30)

    async def _ask(self, job: Any) -> Vector:
        if self._closed or self._jobs.qsize() >= WAITING:
            raise Refused(503, "too many queries are waiting for the model", {"Retry-After": "2"})
        future: Future[Vector] = Future()
        self._jobs.put((job, future))
        return await asyncio.wrap_future(future)

    def _run(self) -> None:
        while self._batch():
            pass

    def _batch(self) -> bool:
        """Wait for a job, and encode whatever is waiting with it; keeps nothing afterwards.

        Returns false at the end.
        """
        first = self._jobs.get()
        if first is None:
            return False
        jobs = [first]
        while len(jobs) < BATCH:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                self._jobs.put(None)
                break
            jobs.append(job)
        # Cancelled queries (a deadline, a closed connection) are left out.
        live = [job for job in jobs if job[1].set_running_or_notify_cancel()]
        self._encode([job for job in live if isinstance(job[0], str)], self._texts)
        self._encode([job for job in live if not isinstance(job[0], str)], self._pictures)
        return True

    def _encode(self, jobs: list[Job], encode: Callable[[list[Any]], Any]) -> None:
        if not jobs:
            return
        try:
            self._ready()
            vectors = encode([job[0] for job in jobs])
        except Exception as error:  # whatever it is, waiting queries must be told
            for _, future in jobs:
                future.set_exception(_plain(error))
            return
        for (_, future), vector in zip(jobs, vectors, strict=True):
            future.set_result(np.asarray(vector))

    def _ready(self) -> None:
        """Load the model unless it is loaded, or loading has just failed."""
        if self._clip is not None:
            return
        if self._failed is not None and monotonic() - self._failed[0] < AGAIN_SEC:
            raise self._failed[1]
        try:
            self._clip = self._load()
            few_threads()
        except UserError as error:
            self._failed = (monotonic(), error)
            raise

    def _texts(self, texts: list[str]) -> Any:
        assert self._clip is not None
        self._metrics.batch.observe(len(texts))
        with self._metrics.time("text_clip_inference_time"):
            vectors = self._clip.encode_texts(texts)
        for text, vector in zip(texts, vectors, strict=True):
            self._kept[text] = vector
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return vectors

    def _pictures(self, pictures: list[Image]) -> Any:
        from frenchcat.curate.clip.model import pixels

        assert self._clip is not None
        with self._metrics.time("image_prepro_time"):
            prepared = pixels(self._clip.preprocess, pictures)
        with self._metrics.time("image_clip_inference_time"):
            return self._clip.encode_images(prepared)


def few_threads() -> None:
    """Leave half of the cores to searches.

    Encoding a text is so little work that threads which wait for each other, while others use the
    cores, slow it down: ten times, on two busy cores.
    """
    import torch

    torch.set_num_threads(max(1, (os.cpu_count() or 1) // 2))


def _plain(error: Exception) -> Exception:
    return error if isinstance(error, UserError | Refused) else RuntimeError(repr(error))
