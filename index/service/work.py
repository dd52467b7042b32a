"""Threads for what takes longer than an event loop should wait: searching, files, catalogs.

Searches run in as many threads as there are cores, each with one faiss thread: a query does not
become faster with more, and two queries at a time must not compete for cores. Everything that waits
for disks or for DuckDB runs in other threads, so that it does not delay a search.

A thread cannot be stopped from outside: what makes many rows asks between them whether anybody
still waits for them (`stop_if_unwanted`). What changes a dataset does not ask.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

DISK_THREADS = 8


_running = threading.local()


class Unwanted(Exception):
    """The request of this work was cancelled; its client has left, most often."""


def stop_if_unwanted() -> None:
    """Raise `Unwanted` in a thread of `Work` whose request was cancelled."""
    cancelled: threading.Event | None = getattr(_running, "cancelled", None)
    if cancelled is not None and cancelled.is_set():
        raise Unwanted


class Work:
    """The thread pools of one application."""

    def __init__(self, searches: int | None = None) -> None:
        count = searches or os.cpu_count() or 1
        self._search = ThreadPoolExecutor(count, "search", initializer=_one_faiss_thread)
        self._disk = ThreadPoolExecutor(DISK_THREADS, "disk", initializer=_one_faiss_thread)
        # Separate: whoever waits for a turn to decode (pixels.py) must not block the others.
        self._decode = ThreadPoolExecutor(count, "decode")

    async def search(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a search."""
        return await _run(self._search, lambda: function(*args, **kwargs))

    async def disk(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run something that reads or writes files."""
        return await _run(self._disk, lambda: function(*args, **kwargs))

    async def decode(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run the decoding of an image that was sent."""
        return await _run(self._decode, lambda: function(*args, **kwargs))

    def close(self) -> None:
        """End the threads once what runs in them has ended."""
        self._search.shutdown(wait=True, cancel_futures=True)
        self._disk.shutdown(wait=True, cancel_futures=True)
        self._decode.shutdown(wait=True, cancel_futures=True)


async def _run(pool: ThreadPoolExecutor, function: Callable[[], T]) -> T:
    cancelled = threading.Event()

    def work() -> T:
        _running.cancelled = cancelled
        return function()

    try:
        return await asyncio.get_running_loop().run_in_executor(pool, work)
    except asyncio.CancelledError:
        cancelled.set()
        raise


def _one_faiss_thread() -> None:
    import faiss

    faiss.omp_set_num_threads(1)
