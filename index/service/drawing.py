"""/v1/draw: a prompt -> images drawn by a trained model, each with its receipt.

The caller of the service supplies the `DrawBackend`, since models are trained and sampled in a
package above this one. It runs in its own thread, one drawing at a time; a few may wait, and more
are refused. Refused words apply to prompts as to queries; images that the operator's safety head or
violence prompts find are withheld. Nearest training images are shown if their dataset is served,
except those that a search would hide as unsafe.

Drawing takes seconds to minutes, and a request has `deadline_sec`, waiting included. After that, or
when the client has disconnected, drawing stops before its next step.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from fastapi import APIRouter, Request
from starlette.responses import Response

from frenchcat.curate.errors import UserError
from frenchcat.curate.image import open_image
from frenchcat.curate.json_text import plain
from frenchcat.index.service.batching import few_threads
from frenchcat.index.service.content_policy import violent
from frenchcat.index.service.metrics import DRAW, Metrics
from frenchcat.index.service.models.drawing import Drawing, DrawRequest
from frenchcat.index.service.problems import Refused, documented
from frenchcat.index.service.rows import answer, row
from frenchcat.index.terms import worded
from frenchcat.index.visible import View

if TYPE_CHECKING:
    from frenchcat.index.service.served_dataset import ServedDataset
    from frenchcat.index.service.service import Service

router = APIRouter(prefix="/v1", tags=["drawing"])


@dataclass(frozen=True)
class Drawn:
    """An image, and the facts about it."""

    png: bytes  # signed
    receipt: Mapping[str, Any]  # made, nearest, compared, note, about: as `frenchcat sample` writes


@dataclass(frozen=True)
class DrawBackend:
    """What draws, and the root of the dataset that it was trained on, if it is one."""

    draw: Callable[[DrawRequest, Callable[[], bool]], Sequence[Drawn]]
    """Takes a request, and a function that returns whether to stop."""
    trained_on: str | None = None


class DrawQueue:
    """A backend's thread, and who waits for it. Its methods are called by the event loop."""

    def __init__(self, draw_backend: DrawBackend, waiting: int, metrics: Metrics) -> None:
        self.draw_backend, self._waiting, self._metrics = draw_backend, waiting, metrics
        self._asked = 0  # being drawn, or waiting
        self._wanted: set[Event] = set()  # those of requests with a connected client
        self._thread = ThreadPoolExecutor(1, "draw", initializer=few_threads)

    async def draw(self, wanted: DrawRequest) -> Sequence[Drawn]:
        """The images of a request. Raises `Refused` (503) if too many are waiting."""
        if self._asked > self._waiting:
            raise Refused(
                503,
                f"one drawing is made at a time, and {self._waiting} are already waiting; "
                "try again later",
                {"Retry-After": "10"},
            )
        loop = asyncio.get_running_loop()
        self._count(1)
        left = Event()
        future = self._thread.submit(self._draw, wanted, left)
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._count, -1))
        self._wanted.add(left)
        try:
            return await asyncio.wrap_future(future)
        finally:
            left.set()
            self._wanted.discard(left)

    def close(self) -> None:
        """End the thread; a running drawing stops."""
        for left in self._wanted:
            left.set()
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _count(self, change: int) -> None:
        self._asked += change
        self._metrics.drawings.set(self._asked)

    def _draw(self, wanted: DrawRequest, left: Event) -> Sequence[Drawn]:
        with self._metrics.time(DRAW):
            drawn = self.draw_backend.draw(wanted, left.is_set)
        self._metrics.drawn.inc(len(drawn))
        return drawn


@router.post("/draw", response_model=Drawing, responses=documented(403, 413, 503))
async def draw(request: Request, asked: DrawRequest) -> Response:
    """Draw a prompt with the run that the service was started with (--draw)."""
    service: Service = request.app.state.service
    begun = perf_counter()
    if service.draw_queue is None:
        raise Refused(403, "this service draws nothing; start it with --draw RUN")
    _check(service, asked)
    drawn = await service.draw_queue.draw(asked)
    served = _trained_on(service)
    seen = await _harmless(service, served, asked, drawn)
    took_ms = round((perf_counter() - begun) * 1000, 3)
    return await service.work.disk(_answer, served, asked, drawn, seen, took_ms)


def _check(service: Service, asked: DrawRequest) -> None:
    """Raise for refused words, and for more than the operator allows."""
    settings = service.settings
    worded(asked.prompt)
    if any(service.content_policy.refuses(text) for text in (asked.prompt, asked.negative)):
        raise Refused(403, "this service does not answer that query")
    for name, value, most in (
        ("number", asked.number, settings.draw_pictures),
        ("steps", asked.steps, settings.draw_steps),
    ):
        if value > most:
            raise UserError(f"{name} is {value}; this service allows at most {most}")


def _trained_on(service: Service) -> ServedDataset | None:
    """The dataset that the model was trained on, if it is served."""
    assert service.draw_queue is not None
    root = service.draw_queue.draw_backend.trained_on
    if root is None:
        return None
    found = (v for v in service.registry.all_served() if _real(v.dataset.root) == _real(root))
    return next(found, None)


def _real(root: str) -> str:
    return root if "://" in root else os.path.realpath(root)


async def _harmless(
    service: Service, served: ServedDataset | None, asked: DrawRequest, drawn: Sequence[Drawn]
) -> list[Drawn]:
    """The images that neither the safety head nor the violence prompts find, as in a search."""
    content_policy = service.content_policy
    prompts = None if asked.violence else content_policy.violence
    if prompts is None and (content_policy.head is None or not asked.safe):
        return list(drawn)
    encoder = (served or service.registry.get(None)).encoder
    pictures = await service.work.disk(lambda: [open_image(one.png) for one in drawn])
    vectors = np.stack(await asyncio.gather(*map(encoder.picture, pictures)))
    bad = content_policy.unsafe(vectors) if asked.safe else np.zeros(len(vectors), bool)
    if prompts is not None:
        bad |= violent(vectors, prompts)
    return [one for one, withheld in zip(drawn, bad, strict=True) if not withheld]


def _answer(
    served: ServedDataset | None,
    asked: DrawRequest,
    drawn: Sequence[Drawn],
    seen: Sequence[Drawn],
    took_ms: float,
) -> Response:
    first = drawn[0].receipt
    return answer(
        {
            "dataset": None if served is None else served.name,
            "pictures": [_picture(served, asked, one) for one in seen],
            "withheld": len(drawn) - len(seen),
            "compared": first["compared"],
            "about": first["about"],
            "took_ms": took_ms,
        }
    )


def _picture(served: ServedDataset | None, asked: DrawRequest, drawn: Drawn) -> dict[str, Any]:
    return {
        "png": base64.b64encode(drawn.png).decode(),
        "made": plain(drawn.receipt["made"]),
        "nearest": [_neighbour(served, asked, one) for one in drawn.receipt["nearest"]],
    }


def _neighbour(
    served: ServedDataset | None, asked: DrawRequest, near: Mapping[str, Any]
) -> dict[str, Any]:
    """A training image; only its key and similarity if it may not be shown."""
    told = {"key": near["key"], "similarity": near["similarity"]}
    if served is None:
        return told | {"creator": near["creator"], "licence": near["licence"], "url": near["url"]}
    try:
        at = served.position(near["key"])
    except Refused:  # removed meanwhile
        return told
    view = View(safe=asked.safe, duplicates=True, dropped=True)
    if not served.searcher.shown(np.array([at]), view)[0]:
        return told
    shown = row(served.name, served.searcher.hit(at))
    names = ("url", "caption", "picture", "thumbnail", "stored")
    about = {name: plain(near[name]) for name in ("creator", "licence")}
    return told | about | {name: shown[name] for name in names}
