"""`frenchcat demo` into an empty folder, after install: the whole pipeline on the bundled sample.

    python -m bench.demo                     a few minutes on 2 cores

Writes .bench/results/demo.json: seconds from start to exit, the middle of a few runs.
"""

from __future__ import annotations

import shutil

from bench import _common as common
from bench._common import BENCH

GOALS = {"sec": ("<=", 120.0)}


def main() -> None:
    """Run it a few times."""
    parser = common.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    load, out, runs = common.load(), BENCH / "demo", []
    for number in range(given.rounds):
        shutil.rmtree(out, ignore_errors=True)
        runs.append(common.ours("demo", "--out", out))
        print(f"round {number + 1}: {runs[-1].sec:.1f} s", flush=True)
        if not (out / "french-cat.html").is_file():
            raise SystemExit(f"the demo wrote no {out / 'french-cat.html'}")
        if not list((out / "run" / "samples").glob("*.png")):
            raise SystemExit(f"the demo's training drew nothing in {out / 'run' / 'samples'}")
    result = {
        "sec": common.median([run.sec for run in runs]),
        "sec_by_round": [run.sec for run in runs],
        "cpu_sec_by_round": [run.cpu_sec for run in runs],
        "peak_mb": max(run.peak_bytes for run in runs) / 1e6,
        "load_before": load,
    }
    common.keep("demo", result, GOALS)


if __name__ == "__main__":
    main()
