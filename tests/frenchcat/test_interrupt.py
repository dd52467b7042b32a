"""Ctrl-C: one line, status 130, no traceback of anybody, no worker left; whatever was at work."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import frenchcat
from frenchcat.curate.catalog import Catalog
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.remove import RemovalQuery, matches, remove
from frenchcat.curate.remove.residue import residue
from tests.sample.row import Row
from tests.sample.write import write
from tests.trees import tree_digest

ROOT = Path(__file__).parents[2]
BEGIN = """
import os, signal, sys, threading, time
from concurrent.futures import ProcessPoolExecutor
import multiprocessing
from frenchcat.interrupt import answered_by, end_if_interrupted, stop_on_interrupt

def ready(*what):
    print("ready", *what, flush=True)

if __name__ == "__main__":
    stop_on_interrupt(sys.argv[1:])
    try:
"""
END = """
    finally:
        end_if_interrupted()
"""
WAITS = "        ready(); threading.Event().wait()"
SWALLOWS = """
        ready()
        while True:
            try:
                threading.Event().wait()
            except KeyboardInterrupt:
                pass
"""
WORKERS = """
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(2, mp_context=context) as pool:
            first = pool.submit(os.getpid).result()
            blocked = pool.submit(signal.pthread_sigmask, signal.SIG_BLOCK, ()).result()
            assert signal.SIGINT in blocked
            futures = [pool.submit(time.sleep, 1000) for _ in range(4)]
            ready(first)
            futures[0].result()
"""
FINISHES = """
        done = threading.Event()
        def stop():
            print("stopping", file=sys.stderr, flush=True)
            done.set()
            return 60.0
        with answered_by(stop):
            ready()
            done.wait()
        print("finished", flush=True)
"""
NEVER_FINISHES = FINISHES.replace("done.set()", "").replace("done.wait()", "time.sleep(1000)")

COMPACTS = """
        import frenchcat
        from frenchcat.curate.stage import Silent
        class Stops(Silent):
            def {moment}(self, *_):
                ready()
                threading.Event().wait()
        frenchcat.open("{dataset}").compact(progress=Stops())
"""
DRAWS = """
        import frenchcat
        class Watch:
            def __call__(self, done, total):
                if done == 2:
                    ready()
        frenchcat.sample(None, ["a red apple"], "{out}", number=1, steps=900, size="16x16",
                         watch=Watch())
"""


@contextlib.contextmanager
def process(body: str, folder: Path, *verb: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process of a group of its own, as a shell makes it, and the line by which it was ready."""
    script = folder / "script.py"
    script.write_text(BEGIN + body + END)
    running = subprocess.Popen(
        [sys.executable, str(script), *verb],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert running.stdout is not None
    try:
        line = running.stdout.readline()
        assert line.startswith("ready"), running.communicate()
        yield running, line
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.communicate()


def interrupt(running: subprocess.Popen[str]) -> None:
    """As Ctrl-C at a terminal: to all processes of the group."""
    os.killpg(running.pid, signal.SIGINT)


@pytest.mark.parametrize(
    ("verb", "how"),
    [
        ("build", "the same command goes on"),
        ("latents", "the same command goes on"),
        ("recheck", "the same command goes on"),
        ("publish", "the same command goes on"),
        ("mcp", "the same command serves again"),
        ("train", "from the newest checkpoint"),
        ("compact", "the same command goes on"),
        ("search", "run the same command again"),
        ("sample", "run the same command again"),
        ("evaluate", "run the same command again"),
        ("audit", "run the same command again"),
        ("skews", "run the same command again"),
    ],
)
def test_a_wait_ends_with_one_line_that_says_how_to_go_on(
    tmp_path: Path, verb: str, how: str
) -> None:
    with process(WAITS, tmp_path, verb) as (running, _):
        interrupt(running)
        _, said = running.communicate(timeout=120)
    assert running.returncode == 130
    assert how in said
    assert said.count("\n") == 1


def test_what_does_not_let_go_is_ended(tmp_path: Path) -> None:
    with process(SWALLOWS, tmp_path) as (running, _):
        interrupt(running)
        _, said = running.communicate(timeout=120)
    assert (running.returncode, said.count("\n")) == (130, 1)


def test_workers_end_without_a_word(tmp_path: Path) -> None:
    with process(WORKERS, tmp_path, "build") as (running, line):
        interrupt(running)
        _, said = running.communicate(timeout=120)  # until the last worker has closed stderr
    assert (running.returncode, said.count("\n")) == (130, 1), said
    worker = Path(f"/proc/{line.split()[1]}")
    while worker.exists():
        time.sleep(0.01)


def test_a_service_finishes_what_runs_and_a_second_ctrl_c_ends_it(tmp_path: Path) -> None:
    with process(FINISHES, tmp_path, "serve") as (running, _):
        interrupt(running)
        out, said = running.communicate(timeout=120)
    assert (running.returncode, out, said) == (130, "finished\n", "stopping\n")
    with process(NEVER_FINISHES, tmp_path, "serve") as (running, _):
        assert running.stderr is not None
        interrupt(running)
        assert running.stderr.readline() == "stopping\n"
        interrupt(running)
        _, said = running.communicate(timeout=120)
    assert (running.returncode, said) == (130, "")


@pytest.mark.parametrize("moment", ["begin", "shard_done", "end"])
def test_a_compaction_that_is_stopped_is_finished_by_the_same_command(
    tmp_path: Path, moment: str
) -> None:
    """The dataset is whole at every moment: the removed rows are hidden, the others there."""
    root = tmp_path / "d"
    dataset = Dataset.create(root, "d")
    for shard in ("00000", "00001"):
        write(dataset, shard, [Row(caption=f"{shard} {n}") for n in range(3)])
    query = RemovalQuery("key", "000000001", keys=("000010002",))
    with dataset.lock():
        remove(dataset, query, matches(dataset, query))
    shutil.copytree(root, tmp_path / "whole")
    frenchcat.open(tmp_path / "whole").compact()
    with process(COMPACTS.format(dataset=root, moment=moment), tmp_path, "compact") as (running, _):
        interrupt(running)
        out, said = running.communicate(timeout=120)
    assert (running.returncode, out, said.count("\n")) == (130, "", 1), said
    with Catalog(Dataset.open(root)) as catalog:
        keys = catalog.run("SELECT key FROM samples ORDER BY key").to_pylist()
    assert [row["key"][-5:] for row in keys] == ["00000", "00002", "10000", "10001"]
    frenchcat.open(root).compact()
    assert residue(Dataset.open(root)) == []
    assert tree_digest(root) == tree_digest(tmp_path / "whole")


def test_a_drawing_that_is_stopped_leaves_no_file(tmp_path: Path) -> None:
    """The main thread is at work in torch, whose threads run on."""
    out = tmp_path / "drawn"
    with process(DRAWS.format(out=out), tmp_path, "sample") as (running, _):
        interrupt(running)
        _, said = running.communicate(timeout=120)
    assert (running.returncode, said.count("\n")) == (130, 1), said
    assert list(tmp_path.glob("drawn/*")) == []
