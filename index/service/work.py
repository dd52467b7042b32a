"""Threads for what takes longer than an event loop should wait: searching, files, catalogs.

Searches run in as many threads as there are cores, each with one faiss thread: a query does not
become faster with more, and two queries at a time must not compete for cores. Everything that waits
for disks or for DuckDB runs in other threads, so that it does not delay a search.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

DISK_THREADS = 8


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
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._search, lambda: function(*args, **kwargs))

    async def disk(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run something that reads or writes files."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._disk, lambda: function(*args, **kwargs))

    async def decode(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run the decoding of an image that was sent."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._decode, lambda: function(*args, **kwargs))

    def close(self) -> None:
        """End the threads once what runs in them has ended."""
        self._search.shutdown(wait=True, cancel_futures=True)
        self._disk.shutdown(wait=True, cancel_futures=True)
        self._decode.shutdown(wait=True, cancel_futures=True)


def _one_faiss_thread() -> None:
    import faiss

    faiss.omp_set_num_threads(1)
