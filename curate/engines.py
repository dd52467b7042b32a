"""Where a stage's shards run: processes of this machine, or a Ray cluster. Same bytes out of both.

Reads and writes nothing itself. Local workers are spawned, not forked: a fork of a process that
has threads (a model, a progress bar) may hang. A worker whose parent dies ends itself, so a killed
build leaves nobody behind who writes.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from typing import TYPE_CHECKING, Any

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.curate.extras import how_to_install
from frenchcat.curate.markers import Counts
from frenchcat.curate.stage import Engine, Progress, ShardFunction, Stage, run_shard

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue


def run_local(
    dataset: Dataset, stage: Stage, shards: Sequence[str], engine: Engine, progress: Progress
) -> None:
    """Run on this machine: in a pool, or in this process where the stage brings its own."""
    workers = min(engine.workers or os.cpu_count() or 1, len(shards))
    if stage.in_process or workers == 1:
        with stage.start(dataset) as work:
            for shard in shards:
                progress.shard_done(shard, run_shard(dataset, stage, work, shard, progress.advance))
        return
    context = multiprocessing.get_context("spawn")
    rows: SimpleQueue[int | None] = context.SimpleQueue()
    listener = threading.Thread(target=_listen, args=(rows, progress.advance), daemon=True)
    listener.start()
    try:
        with ProcessPoolExecutor(
            workers,
            mp_context=context,
            initializer=_begin,
            initargs=(dataset, stage, rows, os.getpid()),
        ) as pool:
            _collect({pool.submit(_work, shard): shard for shard in shards}, progress)
    finally:
        rows.put(None)
        listener.join()


def _collect(futures: dict[Future[Counts], str], progress: Progress) -> None:
    pending = set(futures)
    while pending:
        finished, pending = wait(pending, timeout=0.5, return_when=FIRST_EXCEPTION)
        for future in finished:
            if future.exception() is not None:
                for waiting in pending:
                    waiting.cancel()
            progress.shard_done(futures[future], future.result())


def _listen(rows: SimpleQueue[int | None], advance: Callable[[int], None]) -> None:
    while (count := rows.get()) is not None:
        advance(count)


# -- in a local worker process -------------------------------------------------------------------

_worker: tuple[Dataset, Stage, ShardFunction, Callable[[int], None]] | None = None
_open = contextlib.ExitStack()


def _begin(dataset: Dataset, stage: Stage, rows: SimpleQueue[int | None], parent: int) -> None:
    global _worker
    follow_parent(parent)
    _open.enter_context(dataset.working())
    _worker = (dataset, stage, _open.enter_context(stage.start(dataset)), rows.put)


def _work(shard: str) -> Counts:
    assert _worker is not None, "the pool's initializer did not run"
    dataset, stage, work, advance = _worker
    return run_shard(dataset, stage, work, shard, advance)


def follow_parent(parent: int) -> None:
    """End this process when the process `parent`, which spawned it, is gone; it may be already.

    Ctrl-C in a terminal reaches all its processes; what it means is the parent's to say.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.getppid() != parent:
        os._exit(1)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.1)
    os._exit(1)


# -- on Ray --------------------------------------------------------------------------------------


def run_ray(
    dataset: Dataset, stage: Stage, shards: Sequence[str], engine: Engine, progress: Progress
) -> None:
    """Run on a Ray cluster (extra `ray`); every node must reach the dataset at the same address."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise UserError(f"--engine ray needs Ray; {how_to_install('ray')}") from None
    ours = not ray.is_initialized()
    if ours:
        ray.init(address=engine.address, log_to_driver=False, include_dashboard=False)
    try:
        _run_ray(ray, dataset, stage, shards, engine, progress)
    finally:
        if ours:
            ray.shutdown()


def _run_ray(
    ray: Any,
    dataset: Dataset,
    stage: Stage,
    shards: Sequence[str],
    engine: Engine,
    progress: Progress,
) -> None:
    cores = int(ray.cluster_resources().get("CPU", 1))
    workers = min(engine.workers or cores, cores, len(shards))
    share = 1 if not stage.in_process else max(1, cores // max(1, len(ray.nodes())))
    actor = ray.remote(num_cpus=share, scheduling_strategy="SPREAD")(_RayWorker)
    if stage.in_process:
        workers = min(workers, max(1, cores // share))
    idle = [actor.remote(dataset, stage) for _ in range(workers)]
    waiting = list(shards)
    busy: dict[Any, tuple[Any, str]] = {}
    while waiting or busy:
        while waiting and idle:
            worker, shard = idle.pop(), waiting.pop(0)
            busy[worker.work.remote(shard)] = (worker, shard)
        (reference,), _ = ray.wait(list(busy), num_returns=1)
        worker, shard = busy.pop(reference)
        try:
            counts = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None  # as a local worker's: Ray's own text is a traceback
        progress.advance(counts.get("rows", 0))
        progress.shard_done(shard, counts)
        idle.append(worker)
    for worker in idle:
        ray.kill(worker)


class _RayWorker:
    """One worker of a stage on a Ray node: loads what the stage needs once."""

    def __init__(self, dataset: Dataset, stage: Stage) -> None:
        self.dataset, self.stage = dataset, stage
        self.open = contextlib.ExitStack()
        self.open.enter_context(dataset.working())
        self.function = self.open.enter_context(stage.start(dataset))

    def work(self, shard: str) -> Counts:
        """Publish one shard."""
        return run_shard(self.dataset, self.stage, self.function, shard, lambda rows: None)
