"""The first batch of a run that goes on at .9 of 100,000,000 rows: how soon, and in what memory.

    python -m bench.resume                   100,000,000 rows beside 1,000,000; 12 GB of disk
    python -m bench.resume --rows 5000000 --keep

Lays out a synthetic selection once: shards of 10,000 rows, all of them links to one real tar, with
captions, a few rows held out (so that weights are kept too). Then, several times, a new process
with the libraries loaded opens the rows, plans, and loads the batch at .9 of the epoch:

    first_batch_sec   from opening to the decoded batch; goal: under 1 s
    memory_growth     private memory of that process, beside that at 1,000,000 rows; goal: at most
                      1.2 (mapped files are the system's, and are told apart)

Writes seconds and bytes of the layout too. Files lie in the page cache, as they were just written.
Writes .bench/results/resume.json.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import _common as common
from bench._common import BENCH

if TYPE_CHECKING:
    import pyarrow as pa

GOALS = {"first_batch_sec": ("<=", 1.0), "memory_growth": ("<=", 1.2)}
SHARD = 10_000  # rows
SMALL = 1_000_000
HELD_OUT = 64
DIGEST = "synthetic"


def main() -> None:
    """Lay out both, measure both, delete what is large."""
    if sys.argv[1:2] == ["--first"]:  # in a process of its own
        print(json.dumps(first(Path(sys.argv[2]))))
        return
    parser = common.parser(__doc__)
    parser.add_argument("--rows", type=int, default=100 * SMALL)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", action="store_true", help="leave the rows in .bench/")
    given = parser.parse_args()
    common.keep("resume", measure(given.rows, min(SMALL, given.rows), given.rounds), GOALS)
    if not given.keep:
        shutil.rmtree(BENCH / f"resume-{given.rows}", ignore_errors=True)


def measure(rows: int, small: int, rounds: int) -> dict[str, Any]:
    """Both sizes in turn."""
    load, laid = common.load(), {size: laid_out(size) for size in (small, rows)}
    command = [sys.executable, "-m", "bench.resume", "--first"]
    found: dict[int, list[dict[str, Any]]] = {size: [] for size in laid}
    for _ in range(rounds):
        for size in laid:
            done = common.run([*command, BENCH / f"resume-{size}"], "resume")
            found[size].append(common.json_of(done))
    middle = {
        size: {name: common.median([one[name] for one in all_]) for name in all_[0]}
        for size, all_ in found.items()
    }
    return {
        "rows": rows,
        "first_batch_sec": middle[rows]["sec"],
        "memory_growth": middle[rows]["private_bytes"] / middle[small]["private_bytes"],
        "by_rows": {str(size): {**middle[size], **laid[size]} for size in laid},
        "load_before": load,
        "versions": common.our_versions("pyarrow", "numpy", "torch"),
    }


def first(folder: Path) -> dict[str, float]:
    """Open, plan, load the batch at .9; libraries are imported before."""
    import PIL.ImageOps
    import PIL.JpegImagePlugin  # noqa: F401
    import pyarrow  # noqa: F401
    import torch  # noqa: F401

    from frenchcat.curate.config import resolve
    from frenchcat.train.loader import Batches
    from frenchcat.train.settings import TrainSettings

    settings = resolve(TrainSettings, {"data": {"size": 8, "batch": 64}})
    began = time.perf_counter()
    batches = Batches(folder / "rows", settings)
    loaded = batches[0, int(0.9 * batches.plan.batches(0))]
    sec = time.perf_counter() - began
    if len(loaded.keys) != 64 or loaded.losses:
        raise SystemExit(f"{len(loaded.keys)} samples, {loaded.losses[:1]}")
    about = Path("/proc/self/status").read_text(encoding="utf-8")
    sizes = {line.split(":")[0]: line.split()[1] for line in about.splitlines() if "kB" in line}
    return {
        "sec": sec,
        "private_bytes": 1024.0 * int(sizes["RssAnon"]),
        "resident_bytes": 1024.0 * int(sizes["VmRSS"]),
    }


def laid_out(rows: int) -> dict[str, float]:
    """Write the rows where they are missing; seconds and bytes of it."""
    from frenchcat.curate.tars import members
    from frenchcat.train.layout import held_out_of, lay_out
    from frenchcat.train.population import Population

    folder = BENCH / f"resume-{rows}"
    done = folder / "laid.json"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "shards").mkdir(parents=True)
        tar = _tar(folder / "shards" / "real.tar")
        places = [m for m in members(tar) if m.extension == "jpg"]
        paths = [folder / "shards" / f"{n:05d}.tar" for n in range(-(-rows // SHARD))]
        for path in paths:
            path.symlink_to("real.tar")
        print(f"laying out {rows:,} rows", flush=True)
        began = time.perf_counter()
        kept_out = held_out_of(rows, HELD_OUT, DIGEST)
        weights = np.ones(rows)
        weights[kept_out] = 0
        population = Population.of(np.arange(rows) // SHARD, weights)
        del weights
        tables = _tables(rows, np.array([(m.offset, m.size) for m in places]))
        lay_out(folder / "rows", DIGEST, list(map(str, paths)), tables, population, kept_out)
        size = sum(path.stat().st_size for path in (folder / "rows").iterdir())
        laid = {"layout_sec": time.perf_counter() - began, "layout_bytes": size}
        done.write_text(json.dumps(laid), encoding="utf-8")
    found: dict[str, float] = json.loads(done.read_text(encoding="utf-8"))
    return found


def _tables(rows: int, places: Any) -> Iterator[pa.Table]:
    """The rows, a record batch at a time; `places` (SHARD, 2) are offsets and sizes in the tar."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from frenchcat.train.rows import BATCH_ROWS

    for start in range(0, rows, BATCH_ROWS):
        numbers = np.arange(start, min(start + BATCH_ROWS, rows))
        offsets, sizes = places[numbers % SHARD].T
        keys = pc.utf8_lpad(pa.array(numbers).cast(pa.string()), 9, "0")
        nothing = np.zeros(len(numbers), np.int64)
        columns = {
            "key": keys,
            "shard": (numbers // SHARD).astype(np.int32),
            "offset": offsets,
            "size": sizes,
            "caption": pc.binary_join_element_wise("a picture of number", keys, " "),
            "caption_offset": nothing,
            "caption_size": nothing,
            "sha256": pa.nulls(len(numbers), pa.string()),
        }
        yield pa.table(columns)


def _tar(path: Path) -> Path:
    """SHARD small pictures."""
    import io
    import tarfile

    out = io.BytesIO()
    common.picture(0).resize((8, 8)).save(out, "JPEG")
    with tarfile.open(path, "w") as tar:
        for number in range(SHARD):
            info = tarfile.TarInfo(f"{number:09d}.jpg")
            info.size = out.tell()
            tar.addfile(info, io.BytesIO(out.getvalue()))
    return path


if __name__ == "__main__":
    main()
