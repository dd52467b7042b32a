"""One writer at a time: a lock on a dataset.

On a local disk an flock on a file, which the system frees when its holder dies. On an object store
a small object that its holder renews; one not renewed for `STALE_SEC` belongs to a dead process.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

from frenchcat.curate.errors import Busy

if TYPE_CHECKING:
    from frenchcat.curate.dataset import Dataset

STALE_SEC = 90.0
RENEW_SEC = 20.0
ORPHAN_SEC = 20.0


@contextlib.contextmanager
def hold(dataset: Dataset, name: str) -> Iterator[None]:
    """Hold the lock file `name` of a dataset. Raises `Busy` where another process holds it."""
    with _hold_local(dataset, name) if dataset.local else _hold_remote(dataset, name):
        yield


def is_held(dataset: Dataset, name: str) -> bool:
    """Whether a living process holds the lock file `name` of a dataset."""
    if not dataset.local:
        return _is_renewed(_holder(dataset, name))
    import fcntl

    try:
        descriptor = os.open(dataset.path(name), os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        # Freed at once; a writer that begins within these microseconds is told to try again.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _busy(dataset: Dataset) -> Busy:
    return Busy(
        f"{dataset.root} is being written by another frenchcat process; "
        "wait for it to end, then run the same command again"
    )


@contextlib.contextmanager
def _hold_local(dataset: Dataset, name: str) -> Iterator[None]:
    import fcntl

    path = dataset.path(name)
    os.makedirs(dataset.root, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The holder before us may have unlinked the file between our open and our flock.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                    break
        except BlockingIOError:
            os.close(descriptor)
            raise _busy(dataset) from None
        os.close(descriptor)
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        os.close(descriptor)


@contextlib.contextmanager
def work_under(dataset: Dataset, name: str) -> Iterator[None]:
    """Held by a worker process, so that the next writer waits for the orphans of a killed one."""
    import fcntl

    if not dataset.local or not dataset.exists(name):  # no writer holds the dataset
        yield
        return
    descriptor = os.open(dataset.path(name), os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def wait_for_workers(dataset: Dataset, name: str) -> None:
    """Return when no worker of a former writer is left (they end soon after it); make the file.

    Raises `Busy` when one still works after `ORPHAN_SEC`.
    """
    import fcntl

    if not dataset.local:
        return
    descriptor = os.open(dataset.path(name), os.O_CREAT | os.O_RDWR, 0o644)
    deadline = time.monotonic() + ORPHAN_SEC
    try:
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            if time.monotonic() > deadline:
                raise _busy(dataset)
            time.sleep(0.02)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _hold_remote(dataset: Dataset, name: str) -> Iterator[None]:
    token = uuid.uuid4().hex
    if _is_renewed(_holder(dataset, name)):
        raise _busy(dataset)
    ended = threading.Event()

    def renew() -> None:
        text = json.dumps({"token": token, "renewed": time.time()})
        dataset.fs.pipe_file(dataset.path(name), text.encode())

    def ours() -> bool:
        holder = _holder(dataset, name)
        return holder is not None and holder["token"] == token

    def keep() -> None:
        while not ended.wait(RENEW_SEC):
            with contextlib.suppress(Exception):  # what the network does; the next turn may do
                if not ours():  # we slept for longer than `STALE_SEC`, and another took over
                    return
                renew()

    renew()
    # Object stores offer no lock: of two writers at once the last wins, the other stops.
    if not ours():
        raise _busy(dataset)
    thread = threading.Thread(target=keep, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        if ours():
            dataset.remove(name)


def _is_renewed(holder: dict[str, float | str] | None) -> bool:
    return holder is not None and time.time() - float(holder["renewed"]) < STALE_SEC


def _holder(dataset: Dataset, name: str) -> dict[str, float | str] | None:
    try:
        held: dict[str, float | str] = json.loads(dataset.read_bytes(name))
    except (FileNotFoundError, ValueError):
        return None
    return held
