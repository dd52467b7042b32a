"""Users' conditions, within a budget of time and memory, in separate processes.

A condition runs beside the searches (condition_process.py), and its rows are handed to the
dataset's bitmaps; a search, which only reads those, never waits for another's condition. When the
time is spent, the memory is used up, or nobody waits for the answer any more, the process is
killed. Askers of the same condition share one evaluation. Cost: a process of about 90 MB for each
condition at work; the first one starts with the service.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from frenchcat.curate.errors import BadCondition, UserError
from frenchcat.index.service.condition_process import (
    ConditionProcess,
    Ended,
    Evaluated,
    OutOfMemory,
)
from frenchcat.index.service.problems import Refused
from frenchcat.index.visible import NotEvaluated

if TYPE_CHECKING:
    from frenchcat.index.service.served_dataset import ServedDataset
    from frenchcat.index.service.settings import ServeSettings
    from frenchcat.index.service.work import Work

_log = logging.getLogger("frenchcat.serve")
T = TypeVar("T")
_TRIES = 5  # if the dataset changes while a condition is evaluated


class Conditions:
    """Evaluates the conditions of one application; its methods are called by the event loop."""

    def __init__(self, settings: ServeSettings, work: Work) -> None:
        self._settings, self._work = settings, work
        self._threads = ThreadPoolExecutor(settings.condition_processes, "condition")
        self._slots = asyncio.Semaphore(settings.condition_processes)
        self._waiting = 0
        self._busy: dict[ConditionProcess, str] = {}  # and the job that it does
        self._shared: dict[Hashable, _Shared] = {}
        self._closed = False

    def preload(self) -> None:
        """Start a process, so that the next condition need not wait for it."""
        _IDLE.put(self._settings.condition_memory_bytes, self._started())

    async def within(
        self, served: ServedDataset, run: Callable[..., Awaitable[T]], *given: Any
    ) -> T:
        """The result of `run`, once the condition whose bitmap it needs is evaluated.

        Raises `UserError` for a bad condition, or one beyond the budget; `Refused` (503) if too
        many wait.
        """
        for _ in range(_TRIES):
            try:
                return await run(*given)
            except NotEvaluated as wanted:
                await self._evaluated(served, wanted.where)
        raise Refused(503, f"{served.name} is changing; ask again", {"Retry-After": "1"})

    async def select(self, served: ServedDataset, **asked: Any) -> dict[str, Any]:
        """Freeze a selection: its rows, digest and SQL, or `taken` if the name is taken.

        Its time is the request's. Raises as `within` does.
        """
        job = {"job": "select", "root": served.dataset.root, **asked}
        return (await self._done(job, None)).value

    def end(self) -> None:
        """Refuse conditions from now on, including running and waiting ones, because the service is
        ending.

        Selections are finished.
        """
        self._closed = True
        for process, job in self._busy.items():
            if job == "keys":
                process.kill()

    def close(self) -> None:
        """Kill what is running."""
        self._closed = True
        for process in self._busy:
            process.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def _evaluated(self, served: ServedDataset, where: str) -> None:
        """Have a condition's bitmap made, shared by all who want the same one."""
        key = (served.dataset.root, served.version, where)
        shared = self._shared.get(key)
        if shared is None:
            shared = self._shared[key] = _Shared(asyncio.create_task(self._made(served, where)))
            shared.task.add_done_callback(lambda task: self._forget(key, task))
        shared.askers += 1
        try:
            await asyncio.shield(shared.task)
        finally:
            shared.askers -= 1
            if not shared.askers and not shared.task.done():
                self._forget(key, shared.task)
                shared.task.cancel()

    def _forget(self, key: Hashable, task: asyncio.Task[None]) -> None:
        if key in self._shared and self._shared[key].task is task:
            del self._shared[key]

    async def _made(self, served: ServedDataset, where: str) -> None:
        visible = served.searcher.visible
        version = await self._work.disk(visible.version_of, where)
        job = {"job": "keys", "root": served.dataset.root, "where": where}
        answer = await self._done(job, self._settings.condition_sec)
        await self._work.disk(visible.evaluated, version, answer.keys)

    async def _done(self, job: dict[str, Any], seconds: float | None) -> Evaluated:
        """A job's answer."""
        if self._waiting >= self._settings.condition_waiting:
            raise Refused(
                503,
                f"{self._waiting} conditions are already waiting (condition_waiting); "
                "try again later",
                {"Retry-After": "5"},
            )
        self._waiting += 1
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self._count_down)
            await stack.enter_async_context(self._slots)
            self._check_open()
            try:
                return await self._asked(job, seconds)
            except OutOfMemory:
                said = f"needs more than {self._memory()}"
            except TimeoutError:
                said = f"takes longer than {seconds:g} s (condition_sec)"
            except Ended:
                self._check_open()
                # Where memory ends inside a library, that ends the process.
                said = f"ended its process, perhaps for want of more than {self._memory()}"
        shown = str(job.get("where"))[:200]
        raise BadCondition(f"the condition {shown!r} {said}; give one that costs less")

    def _memory(self) -> str:
        return f"{self._settings.condition_memory_bytes:,} bytes of memory (condition_memory_bytes)"

    def _check_open(self) -> None:
        if self._closed:
            raise Refused(503, "the service is ending", {"Retry-After": "5"})

    def _count_down(self) -> None:
        self._waiting -= 1

    async def _asked(self, job: dict[str, Any], seconds: float | None) -> Evaluated:
        loop = asyncio.get_running_loop()
        process = _IDLE.take(self._settings.condition_memory_bytes) or self._started()
        self._busy[process] = job["job"]
        try:
            await loop.run_in_executor(self._threads, process.wait_until_ready)
            async with asyncio.timeout(seconds):
                answer = await loop.run_in_executor(self._threads, process.ask, job)
        except UserError:
            self._put_back(process)
            raise
        except BaseException:  # spent, or the asker has left
            self._replace(process)
            raise
        (self._replace if answer.tired else self._put_back)(process)
        return answer

    def _put_back(self, process: ConditionProcess) -> None:
        del self._busy[process]
        _IDLE.put(self._settings.condition_memory_bytes, process)

    def _replace(self, process: ConditionProcess) -> None:
        del self._busy[process]
        process.kill()
        if not self._closed:
            self.preload()

    def _started(self) -> ConditionProcess:
        return ConditionProcess(self._settings.condition_memory_bytes)


class _Shared:
    """An evaluation, and how many wait for it."""

    def __init__(self, task: asyncio.Task[None]) -> None:
        self.task, self.askers = task, 0


class _Idle:
    """Idle processes, shared by all applications of this process: they know no dataset."""

    MOST = 4

    def __init__(self) -> None:
        self._lock = Lock()
        self._processes: list[tuple[int, ConditionProcess]] = []

    def take(self, memory_bytes: int) -> ConditionProcess | None:
        """A process with this limit of memory, if there is one."""
        with self._lock:
            for place in reversed(range(len(self._processes))):
                limit, process = self._processes[place]
                if not process.alive:
                    del self._processes[place]
                elif limit == memory_bytes:
                    del self._processes[place]
                    return process
        return None

    def close(self) -> None:
        """End all."""
        with self._lock:
            for _, process in self._processes:
                process.close()
            self._processes.clear()

    def put(self, memory_bytes: int, process: ConditionProcess) -> None:
        """Keep a process for later; of too many, the oldest ends."""
        with self._lock:
            self._processes.append((memory_bytes, process))
            for _, oldest in self._processes[: -self.MOST]:
                oldest.kill()
            del self._processes[: -self.MOST]


_IDLE = _Idle()
atexit.register(_IDLE.close)


def not_here(where: str) -> Any:
    """What a served dataset evaluates conditions with: nothing, see `Conditions.within`."""
    raise NotEvaluated(where)
