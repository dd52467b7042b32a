"""Starting up: `frenchcat search` and `frenchcat info` of the demo's dataset, from start to exit.

    python -m bench.start                    a minute or two on 2 cores

Writes bench/results/start.json: the middle of a few runs each, and their peak memory.
"""

from __future__ import annotations

import shutil

from bench import _common as common
from bench._common import BENCH, Run

GOALS = {
    "search_sec": ("<=", 2.5),
    "search_peak_mb": ("<=", 500.0),
    "info_sec": ("<=", 0.5),
}


def main() -> None:
    """Build the dataset where it is missing, then run the verbs in turn."""
    parser = common.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    out = BENCH / "start"
    if not (out / "french-cat.html").is_file():
        shutil.rmtree(out, ignore_errors=True)
        common.ours("demo", "--no-train", "--out", out)
    load = common.load()
    runs: dict[str, list[Run]] = {"search": [], "info": []}
    for number in range(given.rounds):
        runs["search"].append(common.ours("search", out / "dataset", "french cat"))
        runs["info"].append(common.ours("info", out / "dataset"))
        last = ", ".join(f"{verb} {done[-1].sec:.2f} s" for verb, done in runs.items())
        print(f"round {number + 1}: {last}", flush=True)
    result: dict[str, object] = {"load_before": load}
    for verb, done in runs.items():
        result[f"{verb}_sec"] = common.median([run.sec for run in done])
        result[f"{verb}_cpu_sec"] = common.median([run.cpu_sec for run in done])
        result[f"{verb}_peak_mb"] = max(run.peak_bytes for run in done) / 1e6
    common.keep("start", result, GOALS)


if __name__ == "__main__":
    main()
