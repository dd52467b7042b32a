"""Run by test_live.py: builds that are killed at each file operation, one forked process a point.

A process of its own with one thread, so that it may fork with faiss loaded.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss

from frenchcat.curate.dataset import Dataset
from frenchcat.index.build import build_index
from frenchcat.index.search import Searcher
from tests.sample.embedded import add_shard, embedded
from tests.sample.vectors import unit_rows
from tests.trees import tree_digest

OLD, NEW = unit_rows(40), unit_rows(25, seed=7)


def killing(call: Callable[..., Any], left: list[int]) -> Callable[..., Any]:
    """`call`, which ends this process, as kill -9 does, when nothing is left."""

    def killer(*args: Any, **kwargs: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **kwargs)

    return killer


def build_killed(dataset: Dataset, point: int) -> bool:
    """Build in a child that dies at the point-th operation; gives whether it died."""
    child = os.fork()
    if child == 0:
        left = [point]
        for name in ("replace", "rename", "unlink", "fsync"):
            setattr(os, name, killing(getattr(os, name), left))
        with dataset.lock():
            build_index(dataset)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def check(dataset: Dataset) -> int:
    """Whatever is there is whole: every row finds itself with its own caption. Gives the rows."""
    searcher = Searcher(dataset)
    rows = {40: [("00000", OLD)], 65: [("00000", OLD), ("00001", NEW)]}[len(searcher)]
    for shard, vectors in rows:
        for number, vector in enumerate(vectors):
            (hit,) = searcher.query(vector=vector, k=1)
            assert hit.key == f"{shard}{number:04d}", (hit, shard, number)
            assert hit.caption == f"caption of {hit.key}"
    return len(searcher)


def main(folder: Path) -> None:
    """Kill at every point until a build ends; each time the index is the old or the new one."""
    faiss.omp_set_num_threads(1)
    seen, point = [], 0
    while True:
        dataset = embedded(folder / str(point), OLD)
        build_index(dataset)
        reader = Searcher(dataset)
        add_shard(dataset, "00001", NEW)
        died = build_killed(dataset, point)
        seen.append(check(dataset))
        assert len(reader.query(vector=NEW[0], k=100)) == 40  # an older one goes on
        with dataset.lock():
            build_index(dataset)
        assert check(dataset) == 65
        if point:
            assert tree_digest(folder / str(point)) == tree_digest(folder / "0"), point
        if not died:
            break
        point += 1
    assert point > 8, point
    assert {40, 65} <= set(seen), seen
    print("killed at", point, "points")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
