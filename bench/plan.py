"""`frenchcat plan` against measured builds: planned from small ones, compared with larger ones.

    python -m bench.plan                      1,000 and 4,000 rows, then 10,000; about ten minutes
    python -m bench.plan --sizes 1000 10000 100000 1000000

Builds each size with `frenchcat build` (the bundled model, every default score but the two neural
networks) from a server on loopback, plans each but the first two sizes from all smaller ones, and
compares time and bytes, stage by stage. A build lies in .bench/plan-<rows> and is made once, so a
run that was stopped goes on; one that was stopped within a build makes that build again, since a
stopped stage keeps no costs. `--fresh` measures all anew. Goal: time within 25 %.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import frenchcat
from bench import _common as common
from frenchcat.api import scale_plan

SIZES = (1_000, 4_000, 10_000)
PICTURES = 20_000
"""Different images at most; more rows show them again, at other URLs."""
GOALS = {"worst_time_error": ("<=", 0.25), "worst_storage_error": ("<=", 0.25)}
SETTINGS = (
    *("clip.model=mini", "download.samples_per_shard=500", "download.resize.image_size=256"),
    "download.fetch.requests_per_sec_per_host=none",
    "download.fetch.connections_per_host=64",
    'score.scores=["similarity", "caption", "language", "pdq", "hash", "sharpness"]',
)


def main() -> None:
    """Build, plan, compare, keep."""
    parser = common.parser(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--fresh", action="store_true", help="measure all sizes again")
    given = parser.parse_args()
    sizes = sorted(set(given.sizes))
    if len(sizes) < 3:
        parser.error("--sizes: give three at least, of which two are planned from")
    before = common.load()
    built = {}
    for rows in sizes:
        built[rows] = _built(rows, given.fresh)
    compared = [_compared(rows, [built[n] for n in sizes if n < rows]) for rows in sizes[2:]]
    for one in compared:
        print(f"{one['rows']:,} rows: {one['sec']:.1f} s, planned {one['planned_sec']:.1f} s")
        for stage, figures in one["stages"].items():
            print(f"  {stage:9} {figures['sec']:8.1f} s, planned {figures['planned_sec']:8.1f} s")
    result = {
        "sizes": sizes,
        "compared": compared,
        "worst_time_error": max(abs(one["time_error"]) for one in compared),
        "worst_storage_error": max(abs(one["storage_error"]) for one in compared),
        "load_before": before,
        "versions": common.our_versions("torch", "faiss-cpu", "duckdb"),
    }
    common.keep("plan", result, GOALS)


def _built(rows: int, fresh: bool) -> Path:
    """The dataset of so many rows, built whole and in one go."""
    folder = common.BENCH / f"plan-{rows}"
    done = folder.with_name(f"{folder.name}.done")
    if done.exists() and not fresh:
        return folder
    done.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    pictures = common.picture_folder(min(rows, PICTURES))
    with common.serve(pictures) as host:
        listed = common.BENCH / f"plan-{rows}.parquet"
        urls = [f"http://{host}/{row % PICTURES}.jpg?row={row}" for row in range(rows)]
        captions = [common.caption(row) for row in range(rows)]
        pq.write_table(pa.table({"url": urls, "caption": captions}), listed)
        changes = [part for one in SETTINGS for part in ("--set", one)]
        print(f"building {rows:,} rows", flush=True)
        common.ours(
            *("build", listed, "--out", folder, "--allow-host", host, *changes),
            log=f"plan-{rows}",
        )
    done.touch()
    return folder


def _compared(rows: int, smaller: list[Path]) -> dict[str, Any]:
    """What a build took beside what was planned from smaller ones."""
    cores = os.cpu_count() or 1
    here = {"measured.cores": cores, "machine.cores": cores, "machine.network_gbit": 1000.0}
    plan = scale_plan(str(rows), costs=smaller, machines=1, set=here)
    took = {
        one.stage: one.as_dict() for one in frenchcat.open(common.BENCH / f"plan-{rows}").costs()
    }
    planned = {one.stage: one for one in plan.stages}
    sec = sum(one["wall_sec"] for one in took.values())
    written = sum(one["written_bytes"] for one in took.values())
    return {
        "rows": rows,
        "planned_from": [path.name for path in smaller],
        "sec": sec,
        "planned_sec": plan.sec,
        "time_error": plan.sec / sec - 1,
        "bytes": written,
        "planned_bytes": plan.storage_bytes,
        "storage_error": plan.storage_bytes / written - 1,
        "stages": {
            stage: {
                "sec": one["wall_sec"],
                "planned_sec": planned[stage].sec,
                "bytes": one["written_bytes"],
                "planned_bytes": planned[stage].written_bytes,
            }
            for stage, one in took.items()
        },
    }


if __name__ == "__main__":
    main()
