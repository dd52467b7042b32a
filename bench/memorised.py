"""Copies of planted images among a model's drawings: found by `frenchcat audit`, by how often each
was planted, with and without deduplication.

    python -m bench.memorised                half an hour on 2 cores

Thirty of the bundled sample's drawings get captions that nothing else has, and lie in a folder 1,
10 or 100 times (ten drawings of each) beside 400 others. The folder is adopted, embedded, scored
and deduplicated; a model of the preset `train-demo` is trained on all of it, another on what is no
duplicate, for as many steps. Both are audited: each planted caption is drawn several times, and
recall is the share of the drawings that are called copies of the planted image. The false alarms
are those of captions that were held out and not used as controls.

Writes .bench/results/memorised.json.
"""

from __future__ import annotations

import random
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

import frenchcat
from bench import _common as common
from bench._common import BENCH
from bench._sample import ordinary_rows, sample_files, write_pair
from frenchcat.train.audit import CopyAudit

TIMES = (1, 10, 100)
EACH = 10  # planted images of each number of times
OTHERS = 400
HELD_OUT = 120
GOALS = {"recall_100": (">=", 0.9), "false_alarms": ("<=", 0.01)}


def main() -> None:
    """Plant, train twice, audit, keep."""
    parser = common.parser(__doc__)
    parser.add_argument("--steps", type=int, default=800, help="of each training")
    parser.add_argument("--drawings", type=int, default=8, help="of each planted caption")
    given = parser.parse_args()
    load = common.load()
    work = BENCH / "memorised"
    shutil.rmtree(work, ignore_errors=True)
    planted, held_out = plant(work / "folder")
    data = frenchcat.adopt(work / "folder", work / "dataset")
    data.score()
    data.dedup()
    data.index()
    keys = dict(_captions(data))
    result: dict[str, Any] = {"steps": given.steps, "load_before": load}
    for name, where in (("all", None), ("deduplicated", "duplicate_of is null")):
        data.select(name, where, replace=True)
        out = [key for key, caption in keys.items() if caption in held_out]
        run = trained(work, name, out, given.steps)
        result[name] = measured(run, planted, keys, given.drawings)
        print(f"{name}: {result[name]}")
    result |= {f"recall_{n}": result["all"][f"recall_{n}"] for n in TIMES}
    result["false_alarms"] = result["all"]["false_alarms"]
    result["versions"] = common.our_versions("torch", "diffusers")
    common.keep("memorised", result, GOALS)


def plant(folder: Path) -> tuple[dict[str, int], set[str]]:
    """Write images with captions beside them; planted caption -> how often, and held-out ones."""
    ordinary = ordinary_rows()
    random.Random(5).shuffle(ordinary)
    folder.mkdir(parents=True)
    planted: dict[str, int] = {}
    files = sample_files()
    words = _words()
    for n, row in enumerate(ordinary[: EACH * len(TIMES)]):
        times = TIMES[n % len(TIMES)]
        planted[caption := next(words)] = times
        for copy in range(times):
            write_pair(folder / f"planted-{n:02d}-{copy:03d}", files, row, caption)
    rest = ordinary[EACH * len(TIMES) :][:OTHERS]
    for n, row in enumerate(rest):
        write_pair(folder / f"other-{n:03d}", files, row, row["caption"])
    return planted, {row["caption"] for row in rest[:HELD_OUT]}


def _words() -> Any:
    """Captions that no other image has and no tokenizer knows as words."""
    rng = random.Random(11)
    while True:
        yield " ".join(
            "".join(
                rng.choices("bdfgklmnprstvz", k=1)
                + rng.choices("aeiou", k=1)
                + rng.choices("bdfgklmnprstvz", k=2)
            )
            for _ in range(3)
        )


def _captions(data: frenchcat.OpenDataset) -> list[tuple[str, str]]:
    table = data.rows(columns=["key", "caption"])
    return list(zip(table["key"].to_pylist(), table["caption"].to_pylist(), strict=True))


def trained(work: Path, selection: str, held_out: list[str], steps: int) -> Path:
    """A run on a selection."""
    out = work / f"run-{selection}"
    keys = ", ".join(f'"{key}"' for key in held_out)
    return frenchcat.train(
        "train-demo",
        set=(
            f"data.dataset={work / 'dataset'}",
            f"data.selection={selection}",
            f"optimizer.steps={steps}",
            f"run.held_out_keys=[{keys}]",
            f"run.checkpoint_every={steps}",
            f"run.sample_every={steps}",
            f"run.out={out}",
        ),
    )


def measured(
    run: Path, planted: dict[str, int], keys: dict[str, str], drawings: int
) -> dict[str, float]:
    """Recall by how often an image was planted; false alarms among drawings of a second kind."""
    found = frenchcat.audit(run, captions=list(planted), number=drawings, guidance=1.0)
    right: dict[int, list[bool]] = defaultdict(list)
    called = {(copy.prompt, copy.seed): keys[copy.key] == copy.prompt for copy in found.copies}
    for caption, times in planted.items():
        right[times] += [called.get((caption, seed), False) for seed in range(drawings)]
    recall = {f"recall_{times}": float(np.mean(hits)) for times, hits in right.items()}
    return recall | {
        "false_alarms": _false_alarms(run, found, drawings),
        "copies": len(found.copies),
    }


def _false_alarms(run: Path, found: CopyAudit, drawings: int) -> float:
    """Of captions that were held out, drawn with other seeds than the controls."""
    from frenchcat.train.copies import signals_of
    from frenchcat.train.draw import SampleRequest, draw
    from frenchcat.train.receipts import receipts_of
    from frenchcat.train.rows import open_rows
    from frenchcat.train.run import open_run

    parts, _, _ = open_run(run)
    rows = open_rows(run / "rows")
    assert rows is not None
    texts = sorted({str(row.caption) for row in rows.take(rows.held_out)})
    requests = [SampleRequest(text, 10_000 + n) for text in texts for n in range(drawings)]
    pictures = draw(parts, requests, guidance=1.0)
    receipts = receipts_of(parts.settings.data, run / "rows", pictures, 1)
    over = found.limits.exceeded(signals_of(parts, requests, receipts))
    return float(over.any(1).mean())


if __name__ == "__main__":
    main()
