"""How many pictures per second are scored, all scores together and each alone, on this processor.

    python -m bench.score                 about two minutes on 2 idle cores

Makes, once, in .bench/ (git-ignored), the dataset of bench/embed.py: generated pictures with
captions, fetched by `frenchcat download` from a loopback server. Vectors are drawn at random, since
no score looks at what they mean.

Prints, and writes to .bench/results/score.json: pictures/s of the stage on two processes with all
scores that need no network, from its call to its end, start of the processes included; the goal is
100. Then each score alone in one process, its network loaded and the pictures decoded. Beside
every rate by the clock stands the one by processor seconds (times the processes), which other work
on the machine hardly slows down.
"""

from __future__ import annotations

import resource
import shutil
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bench._common import BENCH, keep, load, our_versions, parser
from bench.embed import dataset_of, make_dataset
from frenchcat.curate.config import resolve
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.score.builtin import SCORES
from frenchcat.curate.score.kinds import ImageScore, RowScore, Score, VectorScore
from frenchcat.curate.score.settings import ScoreSettings
from frenchcat.curate.score.stage import score
from frenchcat.curate.stage import Engine

PAIRS = 2048
WORKERS = 2
ALONE = 96  # pictures that each score is timed on
GOAL = 100.0
WITHOUT_NETWORKS = ("language", "caption", "sharpness", "compression", "pdq", "hash")


def main() -> None:
    """Prepare what is missing, measure, print, keep."""
    parser(__doc__).parse_args()
    BENCH.mkdir(exist_ok=True)
    if not dataset_of(PAIRS).exists():
        make_dataset(PAIRS)
    before = load()
    stage = stage_rate(WITHOUT_NETWORKS)
    result = {
        "pictures": PAIRS,
        "workers": WORKERS,
        "stage": stage,
        "pictures_per_sec": stage["per_sec"],
        "pictures_per_processor_sec": stage["per_processor_sec"],
        "alone_in_one_process": {name: alone(one) for name, one in SCORES.items()},
        "load_before": before,
        "versions": our_versions(
            "numpy", "opencv-python-headless", "pdqhash", "py3langid", "torch"
        ),
    }
    report(result)


def stage_rate(names: tuple[str, ...]) -> dict[str, float]:
    """Pictures/s of the stage over a copy of the dataset that has no scores."""
    copy = BENCH / "scored"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(dataset_of(PAIRS), copy)
    settings = resolve(ScoreSettings, {"scores": names})
    dataset = Dataset.open(copy)

    def run() -> None:
        with dataset.lock():
            score(dataset, settings, None, Engine(workers=WORKERS))

    return _rates(PAIRS, run, WORKERS)


def alone(one: Score) -> dict[str, float]:
    """Rows/s of one score in this process, what it needs decoded and loaded before."""
    if isinstance(one, VectorScore):
        rows = 20_000
        vectors = np.random.default_rng(0).standard_normal((rows, 512)).astype(np.float32)
        return _rates(rows, lambda: one.of_vectors(vectors, vectors))
    if isinstance(one, RowScore):
        table = _sidecar()
        one.of_rows(table.slice(0, 1))  # loads what it needs
        return _rates(table.num_rows, lambda: one.of_rows(table))
    assert isinstance(one, ImageScore)
    measure, batch = one.load(), _stored()
    measure(batch[:1])
    parts = [batch[start : start + 32] for start in range(0, len(batch), 32)]
    return _rates(len(batch), lambda: [measure(part) for part in parts])


def _sidecar() -> Any:
    import pyarrow.parquet as pq

    return pq.read_table(dataset_of(PAIRS) / "shards" / "00000.parquet")


def _stored() -> list[Any]:
    from frenchcat.curate.score.pictures import decode
    from frenchcat.curate.tars import members, read

    tar = dataset_of(PAIRS) / "shards" / "00000.tar"
    chosen = [member for member in members(tar) if member.extension == "jpg"][:ALONE]
    found = [decode(read(tar, member)) for member in chosen]
    return [stored for stored in found if stored is not None]


def _rates(rows: int, work: Callable[[], object], processes: int = 1) -> dict[str, float]:
    began, spent = time.perf_counter(), _processor_sec()
    work()
    sec, spent = time.perf_counter() - began, _processor_sec() - spent
    return {"per_sec": rows / sec, "per_processor_sec": processes * rows / max(spent, 1e-4)}


def _processor_sec() -> float:
    """Of this process and of those it has waited for."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def report(result: dict[str, Any]) -> None:
    """Print the figures and keep them beside the goal."""
    print("rows/s by the clock, by processor time")
    for name, rates in {"stage": result["stage"], **result["alone_in_one_process"]}.items():
        print(f"{name:24} {rates['per_sec']:12.1f} {rates['per_processor_sec']:12.1f}")
    keep("score", result, {"pictures_per_sec": (">=", GOAL)})


if __name__ == "__main__":
    main()
