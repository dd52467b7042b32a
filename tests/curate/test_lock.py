"""One writer at a time, whoever dies, sleeps or comes late: on a disk and in an object store."""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from frenchcat.curate import lock
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError

ROOT = Path(__file__).parents[2]


def refused(dataset: Dataset) -> bool:
    """Whether another writer is turned away."""
    try:
        with Dataset.open(dataset.root).lock():
            return False
    except UserError:
        return True


def wait_for(met: Callable[[], bool]) -> None:
    """Return when it is so; fail where it never is."""
    deadline = time.monotonic() + 20
    while not met():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.005)


class Clock:
    """A clock that stands still until it is put forward."""

    now = 1_800_000_000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "time", lambda: made.now)
    return made


@pytest.fixture
def stored() -> Dataset:
    """A dataset in an object store."""
    return Dataset.create(f"memory://locked/{uuid.uuid4().hex}", "d")


@pytest.fixture(params=["disk", "store"])
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> Dataset:
    if request.param == "disk":
        return Dataset.create(tmp_path / "d", "d")
    return Dataset.create(f"memory://locked/{uuid.uuid4().hex}", "d")


def test_a_writer_whose_work_fails_lets_go(dataset: Dataset) -> None:
    def fail() -> None:
        with dataset.lock():
            assert refused(dataset)
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        fail()
    assert not refused(dataset)
    assert dataset.files("") == ["dataset.json"]


def test_the_refused_leave_the_holder_alone(dataset: Dataset) -> None:
    with dataset.lock():
        assert [refused(dataset) for _ in range(3)] == [True] * 3
    assert not refused(dataset)


# -- in an object store --------------------------------------------------------------------------


def test_a_lock_in_a_store_is_free_90_seconds_after_its_holder_died(
    stored: Dataset, clock: Clock
) -> None:
    with stored.lock():
        clock.now += 89
        assert refused(stored)
        clock.now += 2
        assert not refused(stored)


def test_a_lock_in_a_store_is_renewed_by_its_holder(
    stored: Dataset, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lock.RENEW_SEC * 3 < lock.STALE_SEC, "two renewals may fail"
    monkeypatch.setattr(lock, "RENEW_SEC", 0.005)
    with stored.lock():
        before = stored.read_bytes(".lock")
        clock.now += 60
        wait_for(lambda: stored.read_bytes(".lock") != before)
        clock.now += 60
        assert refused(stored)


def test_a_renewal_that_failed_is_tried_again(
    stored: Dataset, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "RENEW_SEC", 0.005)
    store, failures = type(stored.fs), [OSError("down"), RuntimeError("a client's own error")]
    real = store.pipe_file

    def flaky(fs: Any, path: str, value: bytes, **more: Any) -> None:
        if threading.current_thread() is not threading.main_thread() and failures:
            raise failures.pop()
        real(fs, path, value, **more)

    monkeypatch.setattr(store, "pipe_file", flaky)
    with stored.lock():
        before = stored.read_bytes(".lock")
        clock.now += 60
        wait_for(lambda: stored.read_bytes(".lock") != before)
    assert not failures


def test_a_holder_that_slept_leaves_the_lock_of_its_successor(
    stored: Dataset, clock: Clock
) -> None:
    with contextlib.ExitStack() as second:
        with stored.lock():
            clock.now += 91
            second.enter_context(Dataset.open(stored.root).lock())
        assert refused(stored), "the first one's end freed the second one's lock"
    assert not refused(stored)


def test_a_holder_that_wakes_up_does_not_take_the_lock_back(
    stored: Dataset, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "RENEW_SEC", 0.001)
    asleep, awake, store = threading.Event(), threading.Event(), type(stored.fs)
    real = store.cat_file

    def sleepy(fs: Any, path: str, **more: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            asleep.set()
            assert awake.wait(20)
        return real(fs, path, **more)

    monkeypatch.setattr(store, "cat_file", sleepy)
    with contextlib.ExitStack() as first, contextlib.ExitStack() as second:
        first.enter_context(stored.lock())
        assert asleep.wait(20)
        monkeypatch.setattr(lock, "RENEW_SEC", 1000.0)
        clock.now += 91
        second.enter_context(Dataset.open(stored.root).lock())
        awake.set()
        first.close()
        assert refused(stored)


def test_of_two_writers_at_the_same_moment_one_stops(
    stored: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, together = type(stored.fs), threading.Barrier(2, timeout=20)
    real, told = store.pipe_file, []

    def at_once(fs: Any, path: str, value: bytes, **more: Any) -> None:
        together.wait()  # both have seen that the dataset is free
        real(fs, path, value, **more)
        together.wait()

    monkeypatch.setattr(store, "pipe_file", at_once)
    writers = [threading.Thread(target=lambda: told.append(refused(stored))) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(told) == [False, True]


def test_a_lock_cut_short_while_it_was_written_is_free(stored: Dataset) -> None:
    stored.fs.pipe_file(stored.path(".lock"), b'{"token": "')
    assert not refused(stored)


# -- on a disk -----------------------------------------------------------------------------------


@pytest.mark.parametrize("replaced", [False, True])
def test_a_lock_file_that_went_while_it_was_taken_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replaced: bool
) -> None:
    """The holder before lets go between our opening of the file and our flock on it."""
    dataset, real, left = Dataset.create(tmp_path / "d", "d"), fcntl.flock, [True]
    path = tmp_path / "d" / ".lock"

    def late(descriptor: int, operation: int) -> None:
        if left:
            left.pop()
            path.unlink()
            if replaced:
                path.write_text("")
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with dataset.lock():
        assert refused(dataset), "two hold it: one a file that is gone"


def test_the_lock_file_goes_while_it_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one who came in between would lose the file under its lock."""
    dataset, real, told = Dataset.create(tmp_path / "d", "d"), os.unlink, []

    def watched(path: Any, **more: Any) -> None:
        if str(path).endswith(".lock") and not told:
            told.append(True)
            told[:] = [refused(dataset)]
        real(path, **more)

    monkeypatch.setattr(os, "unlink", watched)
    with dataset.lock():
        pass
    assert told == [True]


# -- workers that outlive a killed run -----------------------------------------------------------

STOPPED = """
import contextlib, os, signal, sys, time
from dataclasses import dataclass
from pathlib import Path
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.run_stage import run_stage
from frenchcat.curate.stage import Engine
from tests.sample.stages import Times

def born(folder, parent):
    Path(folder, f"{os.getpid()}.pid").write_text("")
    while os.getppid() == parent:
        time.sleep(0.005)
    return Times()

class Late:  # arrives at a worker when the parent is gone
    def __init__(self, folder):
        self.folder = folder
    def __reduce__(self):
        return born, (self.folder, os.getpid())
    def __getattr__(self, name):
        return getattr(Times(), name)

@dataclass(frozen=True)
class Stops(Times):
    folder: str = ""
    @contextlib.contextmanager
    def start(self, dataset):
        def work(shard, output):
            Path(self.folder, f"{os.getpid()}.pid").write_text("")
            os.kill(os.getpid(), signal.SIGSTOP)
            return {}
        yield work

if __name__ == "__main__":
    folder, kind = sys.argv[1:]
    dataset = Dataset.create(folder + "/d", "d")
    with dataset.lock():
        stage = Late(folder) if kind == "late" else Stops(folder=folder)
        run_stage(dataset, stage, ["00000", "00001"], Engine(workers=2))
"""


@contextlib.contextmanager
def orphans(folder: Path, kind: str, state: str) -> Iterator[list[int]]:
    """The workers of a run that was killed, once they are in this state of /proc."""
    script = folder / "run.py"
    script.write_text(STOPPED)
    run = subprocess.Popen(
        [sys.executable, str(script), str(folder), kind],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    workers: list[int] = []
    try:
        wait_for(lambda: len(list(folder.glob("*.pid"))) == 2)
        workers += [int(path.stem) for path in folder.glob("*.pid")]
        wait_for(lambda: all(status(worker) in state for worker in workers))
        run.kill()
        run.wait()
        yield workers
    finally:
        run.kill()
        run.wait()
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)


def status(pid: int) -> str:
    """R, S, T …; empty where it has ended."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return "" if state in "ZX" else state
    return ""


def test_a_writer_waits_for_the_workers_of_a_killed_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with orphans(tmp_path, "stops", "T") as workers:
        dataset = Dataset.open(tmp_path / "d")
        with monkeypatch.context() as impatient:
            impatient.setattr(lock, "ORPHAN_SEC", 0.0)
            assert refused(dataset)
        told: list[bool] = []
        writer = threading.Thread(target=lambda: told.append(refused(dataset)))
        writer.start()
        os.kill(workers[0], signal.SIGKILL)
        wait_for(lambda: not status(workers[0]))
        assert told == [], "one of them is still there"
        os.kill(workers[1], signal.SIGKILL)
        writer.join()
        assert told == [False]
    assert dataset.files("") == ["dataset.json"]


def test_a_worker_that_is_born_without_its_parent_ends(tmp_path: Path) -> None:
    with orphans(tmp_path, "late", "RSD") as workers:
        wait_for(lambda: not any(map(status, workers)))
        assert not refused(Dataset.open(tmp_path / "d"))
