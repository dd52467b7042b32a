"""Verdicts over 1,000,000 rows: how long `frenchcat verdict` takes with another rule.

    python -m bench.verdict                 about two minutes, most of it making the rows

Makes, once, in .bench/ (git-ignored), a dataset of synthetic rows in shards of 10,000, as
download, score and dedup leave them, without pictures. Times the command whole, from start to
exit: all rows judged by five rules, then by the same with one changed, then once more with nothing
to do. Checks the counts against numpy's on the same numbers. Prints, and writes to
.bench/results/verdict.json, seconds, processor time and rows per second; goal: under 10 s.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench import _common as common

ROOT = Path(__file__).resolve().parent.parent
BENCH = ROOT / ".bench"
SHARD = 10_000  # rows, as many as img2dataset's
GOAL_SEC = 10.0
RULES = {
    "too_small": "least(original_width, original_height) < 200",
    "few_words": "caption_words <= 1",
    "unlike_caption": "similarity < case when language = 'en' then 0.28 else 0.26 end",
    "unsafe": "coalesce(punsafe, 1) >= 0.5",
    "duplicate": "duplicate_of is not null",
}
OTHER = {**RULES, "unsafe": "coalesce(punsafe, 1) >= 0.4"}


def main() -> None:
    """Make the rows, measure, print, keep."""
    parser = common.parser(__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    folder = BENCH / f"verdict-{rows}"
    if not folder.exists():
        print(f"making {rows:,} rows", flush=True)
        make(folder, rows)
    shutil.rmtree(folder / "verdicts", ignore_errors=True)
    shutil.rmtree(folder / "stages" / "verdict", ignore_errors=True)
    first_load = os.getloadavg()[0]
    whole, whole_cpu, counts = timed(folder, RULES)
    changed, changed_cpu, _ = timed(folder, OTHER)
    again, again_cpu, _ = timed(folder, OTHER)
    assert counts["dropped"] == expected(rows), "the counts are not those of the numbers"
    result = {
        "command": " ".join(["python -m bench.verdict", *sys.argv[1:]]),
        "rows": rows,
        "rules": len(RULES),
        "sec": {"first": whole, "one_rule_changed": changed, "nothing_to_do": again},
        "cpu_sec": {
            "first": whole_cpu,
            "one_rule_changed": changed_cpu,
            "nothing_to_do": again_cpu,
        },
        "rows_per_sec": rows / max(whole, changed),
        "goal_sec": GOAL_SEC,
        "load_before": first_load,
        "machine": {"cores": os.cpu_count()},
    }
    for name, sec in result["sec"].items():
        cpu = result["cpu_sec"][name]
        print(f"{name.replace('_', ' '):18} {sec:6.2f} s, {cpu:6.2f} s of processor time")
    print(f"goal: under {GOAL_SEC:.0f} s; load average before: {first_load:.1f}")
    common.result_path("verdict").write_text(
        json.dumps(result, indent=1, sort_keys=True) + "\n", encoding="utf-8"
    )


def timed(folder: Path, rules: dict[str, str]) -> tuple[float, float, dict[str, Any]]:
    """Seconds of the whole command, seconds of processor time, and what it counts."""
    file = BENCH / "rules.toml"
    file.write_text("".join(f"{name} = {json.dumps(sql)}\n" for name, sql in rules.items()))
    command = [sys.executable, "-m", "frenchcat", "verdict", str(folder), "--json"]
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = subprocess.run(
        [*command, "--rules", str(file)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    sec = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    counted: dict[str, Any] = json.loads(ended.stdout)
    return sec, cpu, counted


def numbers(rows: int) -> dict[str, Any]:
    """The columns, (rows,) each; a tenth of the similarities and scores is missing."""
    rng = np.random.default_rng(0)
    return {
        "original_width": rng.integers(50, 2000, rows, dtype=np.int32),
        "original_height": rng.integers(50, 2000, rows, dtype=np.int32),
        "caption_words": rng.integers(0, 20, rows, dtype=np.int32),
        "similarity": rng.normal(0.3, 0.05, rows).astype(np.float32),
        "english": rng.random(rows) < 0.5,
        "punsafe": rng.random(rows).astype(np.float32) ** 4,
        "missing": rng.random(rows) < 0.1,
        "duplicate": rng.random(rows) < 0.1,
    }


def expected(rows: int) -> dict[str, int]:
    """What RULES drop, by numpy: name -> rows that it is the first to drop, most first."""
    at = numbers(rows)
    least = np.where(at["english"], np.float64(0.28), np.float64(0.26))
    says = {
        "too_small": np.minimum(at["original_width"], at["original_height"]) < 200,
        "few_words": at["caption_words"] <= 1,
        "unlike_caption": ~at["missing"] & (at["similarity"] < least),
        "unsafe": at["missing"] | (at["punsafe"] >= 0.5),
        "duplicate": at["duplicate"],
    }
    left, found = np.ones(rows, bool), {}
    for name, drops in says.items():
        found[name] = int((left & drops).sum())
        left &= ~drops
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def make(folder: Path, rows: int) -> None:
    """A dataset of these rows, as the stages before the verdicts leave one."""
    from frenchcat.curate.dataset import Dataset

    at = numbers(rows)
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    dataset = Dataset.create(partial, "synthetic")
    for number, start in enumerate(range(0, rows, SHARD)):
        part = {name: values[start : start + SHARD] for name, values in at.items()}
        make_shard(dataset, f"{number:05d}", part)
    partial.rename(folder)


def make_shard(dataset: Any, shard: str, at: dict[str, Any]) -> None:
    """One shard's sidecar, scores and duplicates, with their markers."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from frenchcat.curate.markers import Signature, write_marker

    count = len(at["english"])
    keys = [f"{shard}{row:04d}" for row in range(count)]
    sidecar = {
        "uid": [f"{int(key):032x}" for key in keys],
        "url": [f"https://example.org/pictures/{key}.jpg" for key in keys],
        "caption": [f"a picture of number {key}" for key in keys],
        "key": keys,
        "status": ["success"] * count,
        "error_message": pa.nulls(count, pa.string()),
        **{name: at[name] for name in ("original_width", "original_height")},
    }
    scores = {
        "key": keys,
        "similarity": pa.array(at["similarity"], mask=at["missing"]),
        "punsafe": pa.array(at["punsafe"], mask=at["missing"]),
        "language": np.where(at["english"], "en", "fr"),
        "caption_words": at["caption_words"],
    }
    copies = {"key": keys, "duplicate_of": pa.array(keys, mask=~at["duplicate"])}
    for stage, relative, columns in (
        ("download", f"shards/{shard}.parquet", sidecar),
        ("score", f"scores/{shard}.parquet", scores),
        ("dedup", f"duplicates/{shard}.parquet", copies),
    ):
        with dataset.publish("make") as publication:
            pq.write_table(pa.table(columns), publication.path(relative), compression="zstd")
            write_marker(publication, Signature(stage, 1, {}), shard, {}, {})


if __name__ == "__main__":
    main()
