"""A bound on the pixels of images that are decoded at a time, whoever asked for them.

A file of some kilobytes may claim as many pixels as a camera has, and each takes 3 to 16 bytes
while it is decoded. An image takes its pixels from the budget before it is decoded, and returns
them when it is no longer needed; if too few are left, it waits, first come, first served.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
from collections import deque
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from threading import Lock, Thread

from frenchcat.curate.errors import UnreadableImage, UserError
from frenchcat.curate.image import upright_size

PIXELS = 64_000_000
_LARGE = 8_000_000
"""Pixels of an image after which the allocator is asked to give memory back."""


class PixelBudget:
    """Pixels that may be decoded at a time. Used from several threads and an event loop."""

    def __init__(self, limit: int) -> None:
        self.limit, self._left, self._lock = limit, limit, Lock()
        self._queue: deque[tuple[int, Future[None]]] = deque()

    @contextlib.asynccontextmanager
    async def held(self, data: bytes) -> AsyncIterator[None]:
        """Reserve an encoded image's pixels. Raises `UserError` if they exceed the whole budget."""
        pixels = self._of(data)
        if pixels > self.limit:
            raise UserError(
                f"the image claims {pixels:,} pixels; this service decodes at most "
                f"{self.limit:,} at a time (decoded_pixels); send a smaller one"
            )
        turn = self._asked(pixels)
        try:
            await asyncio.wrap_future(turn)
            yield
        finally:
            self._give_back(pixels, turn)

    @contextlib.contextmanager
    def holding(self, data: bytes) -> Iterator[None]:
        """The same in a thread, which waits; an image beyond the whole budget is opened alone."""
        pixels = min(self._of(data), self.limit)
        turn = self._asked(pixels)
        try:
            turn.result()
            yield
        finally:
            self._give_back(pixels, turn)

    def _of(self, data: bytes) -> int:
        size = claimed_size(data)
        # An image without a readable size is opened alone.
        return self.limit if size is None else size[0] * size[1]

    def _asked(self, pixels: int) -> Future[None]:
        turn: Future[None] = Future()
        with self._lock:
            self._queue.append((pixels, turn))
            self._serve()
        return turn

    def _give_back(self, pixels: int, turn: Future[None]) -> None:
        with self._lock:
            if not turn.cancel():  # its turn came just as its client left
                self._left += pixels
            self._serve()
        if pixels > _LARGE:
            Thread(target=_trim, daemon=True).start()

    def _serve(self) -> None:
        """Give turns, in order, while there are pixels for them."""
        while self._queue:
            pixels, turn = self._queue[0]
            if not turn.cancelled() and pixels > self._left:
                return
            self._queue.popleft()
            if turn.set_running_or_notify_cancel():
                self._left -= pixels
                turn.set_result(None)


def claimed_size(data: bytes) -> tuple[int, int] | None:
    """Width and height by an image's header; None if it does not state them."""
    try:
        return upright_size(data)
    except UnreadableImage:  # the decoder reports the fault
        return None


def _trim() -> None:
    """Have the allocator return freed memory to the system, if it can."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
