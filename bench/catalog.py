"""Queries of a catalog of ten million rows, and what they and the report hold in memory.

    python -m bench.catalog                  about half an hour, most of it making the rows
    python -m bench.catalog --rows 100000    a small run

The datasets are those of bench.verdict, judged by its rules: shards of 10,000 rows with scores,
duplicates and verdicts, without pictures. Sizes are `--rows`, a tenth and a hundredth of them, each
in a process of its own: it opens the catalog, runs each of QUERIES `--rounds` times and takes the
middle time. `report` is the peak memory of `frenchcat report` for a tenth and a hundredth of the
rows, beside that for a thousandth of them, which is what the program itself takes.

Figures are kept one by one in .bench/catalog/, so that a run that was stopped goes on where it was;
changed code is measured again. Writes .bench/results/catalog.json and catalog.svg beside it.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from bench import _common as common
from bench import verdict
from bench._common import BENCH
from bench._growth import draw, slope
from bench._kept import kept

CODE = ("curate/*.py", "curate/report/*.py", "bench/catalog.py", "bench/verdict.py")
QUERIES = {
    "all": None,
    "one sidecar column": "original_width >= 512",
    "captions": "caption ilike '%77%'",
    "one score": "punsafe < 0.1",
    "kept": "keep",
    "a score and a size": "similarity > 0.35 and original_width >= 1000",
    "three stages": "keep and similarity > 0.35 and duplicate_of is null",
}
GOALS = {"slowest_sec": ("<=", 2.0), "report_growth": ("<=", 1.2)}


def main() -> None:
    """All sizes."""
    parser = common.parser(__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000, help="of the largest size")
    parser.add_argument("--rounds", type=int, default=3, help="of each query")
    parser.add_argument("--one", type=Path, help="the queries of one dataset, as JSON")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(one(given.one, given.rounds)))
        return
    load = common.load()
    sizes = [given.rows // 100, given.rows // 10, given.rows]
    queries = [
        kept("catalog", f"queries-{rows}", CODE, partial(queried, rows, given.rounds))
        for rows in sizes
    ]
    smallest, *others = [
        kept("catalog", f"report-{rows}", CODE, partial(reported, rows))
        for rows in (max(1, given.rows // 1000), *sizes[:2])
    ]
    series = {name: [(each["rows"], each["sec"][name]) for each in queries] for name in QUERIES}
    draw(
        common.result_path("catalog").with_suffix(".svg"),
        "Counting rows of a catalog that meet a condition",
        "seconds",
        series,
    )
    result = {
        "rows": given.rows,
        "sec": queries[-1]["sec"],
        "slowest_sec": max(queries[-1]["sec"].values()),
        "report_growth": others[-1]["peak_mb"] / smallest["peak_mb"],
        "slopes": {name: slope(points) for name, points in series.items()},
        "queries": queries,
        "report": [smallest, *others],
        "load_before": load,
        "versions": common.our_versions("duckdb", "pyarrow"),
    }
    common.keep("catalog", result, GOALS)


def dataset_of(rows: int) -> Path:
    """A dataset with verdicts, made where it is missing."""
    folder = BENCH / f"verdict-{rows}"
    if not folder.exists():
        print(f"making {rows:,} rows", flush=True)
        verdict.make(folder, rows)
    if not (folder / "verdicts").exists():
        verdict.timed(folder, verdict.RULES)
    return folder


def queried(rows: int, rounds: int) -> dict[str, Any]:
    """The queries in a process of their own."""
    command = [sys.executable, "-m", "bench.catalog", "--one", str(dataset_of(rows))]
    done = common.run([*command, "--rounds", str(rounds)], "catalog")
    return {"rows": rows, **common.json_of(done)}


def one(folder: Path, rounds: int) -> dict[str, Any]:
    """Seconds to open the catalog and to count what meets each condition; peak memory."""
    from frenchcat.curate.catalog import Catalog
    from frenchcat.curate.dataset import Dataset

    began = time.perf_counter()
    sec: dict[str, float] = {}
    cpu_sec: dict[str, float] = {}
    found: dict[str, int] = {}
    with Catalog(Dataset(str(folder))) as catalog:
        opened = time.perf_counter() - began
        for name, where in QUERIES.items():
            times = []
            for _ in range(rounds):
                began, used = time.perf_counter(), time.process_time()
                found[name] = catalog.count(where)
                times.append((time.perf_counter() - began, time.process_time() - used))
            sec[name] = common.median([each[0] for each in times])
            cpu_sec[name] = common.median([each[1] for each in times])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"open_sec": opened, "sec": sec, "cpu_sec": cpu_sec, "found": found, "peak_mb": peak}


def reported(rows: int) -> dict[str, Any]:
    """Seconds and peak memory of `frenchcat report`."""
    folder = dataset_of(rows)
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "frenchcat", "report", str(folder)],
        cwd=common.ROOT,
        stdout=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"frenchcat report {folder} ended with {status}")
    return {
        "rows": rows,
        "sec": time.perf_counter() - began,
        "cpu_sec": used.ru_utime + used.ru_stime,
        "peak_mb": used.ru_maxrss / 1024,
    }


if __name__ == "__main__":
    main()
