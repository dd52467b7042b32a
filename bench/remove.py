"""A removal of 100 rows: how soon it shows in a search that is already open.

    python -m bench.remove                   about two minutes on 2 cores

Makes, once, a dataset of 40,000 rows with random vectors of 512 dimensions, tars, sidecars and an
index, in which every hundred rows share a domain. A searcher is opened, as the service holds one.
Each round removes a domain and asks the searcher for that domain's rows, which must not come back:

    sec           request (matched, logged) and the search that no longer shows it, in one process
    search_sec    of these, that first search
    cpu_sec       the processor time of sec, which other programs disturb less
    command_sec   the same with the command `frenchcat remove`, from its start

Writes .bench/results/remove.json with the middle of all rounds.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import tarfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import _common as common
from bench._common import BENCH
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.markers import Counts, Signature
from frenchcat.curate.run_stage import run_stage
from frenchcat.curate.stage import Output, ShardFunction

if TYPE_CHECKING:
    from frenchcat.index.search import Searcher

SHARD = 10_000  # rows
AT_ONCE = 100  # rows of a domain
DIMENSIONS = 512
GOALS = {"sec": ("<=", 1.0)}


def main() -> None:
    """Remove a few domains through the library, then as many through the command."""
    parser = common.parser(__doc__)
    parser.add_argument("--rows", type=int, default=4 * SHARD)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    common.keep("remove", measure(given.rows, given.rounds), GOALS)


def measure(rows: int, rounds: int) -> dict[str, Any]:
    """All rounds on a fresh copy of the dataset."""
    from frenchcat.index.search import Searcher

    load, copy = common.load(), BENCH / "remove"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(made(rows).root, copy)
    dataset = Dataset.open(copy)
    searcher = Searcher(dataset)
    inside = [in_process(dataset, searcher, number) for number in range(rounds)]
    command = [by_command(dataset, searcher, number) for number in range(rounds, 2 * rounds)]
    return {
        "rows": rows,
        "removed_at_once": AT_ONCE,
        **{
            name: common.median(column)
            for name, column in zip(
                ("sec", "search_sec", "cpu_sec"), zip(*inside, strict=True), strict=True
            )
        },
        "command_sec": common.median(command),
        "by_round": {"sec": [sec for sec, *_ in inside], "command_sec": command},
        "load_before": load,
        "versions": common.our_versions("faiss-cpu", "duckdb", "pyarrow"),
    }


def in_process(dataset: Dataset, searcher: Searcher, number: int) -> tuple[float, float, float]:
    """Seconds from the request to a search without its rows; of that search; of processor time."""
    from frenchcat.curate.remove import RemovalQuery, matches, remove

    query, there = _shown(dataset, searcher, number)
    began, used = time.perf_counter(), time.process_time()
    with dataset.lock():
        asked_for = RemovalQuery("domain", domain(number))
        found = matches(dataset, asked_for)
        remove(dataset, asked_for, found)
    logged = time.perf_counter()
    hits = {hit.key for hit in searcher.query(vector=query, k=AT_ONCE)}
    ended, cpu_sec = time.perf_counter(), time.process_time() - used
    _must_be_gone(there, hits, len(found))
    return ended - began, ended - logged, cpu_sec


def by_command(dataset: Dataset, searcher: Searcher, number: int) -> float:
    """Seconds from the start of `frenchcat remove` to a search without its rows."""
    query, there = _shown(dataset, searcher, number)
    began = time.perf_counter()
    common.ours("remove", dataset.root, "--domain", domain(number), "--yes")
    hits = {hit.key for hit in searcher.query(vector=query, k=AT_ONCE)}
    sec = time.perf_counter() - began
    _must_be_gone(there, hits, AT_ONCE)
    return sec


def _shown(dataset: Dataset, searcher: Searcher, number: int) -> tuple[Any, set[str]]:
    """A query whose first hit is a row of the domain, and the keys of all of its rows."""
    first = number * AT_ONCE
    shard = f"{first // SHARD:05d}"
    query = np.load(dataset.path(f"embeddings/img_emb/img_emb_{shard}.npy"))[first % SHARD]
    keys = {f"{shard}{row % SHARD:04d}" for row in range(first, first + AT_ONCE)}
    (hit,) = searcher.query(vector=query, k=1)
    if hit.key not in keys:
        raise SystemExit(f"{hit.key} came first where a row of {domain(number)} was to")
    return query, keys


def _must_be_gone(there: set[str], hits: set[str], removed: int) -> None:
    if removed != AT_ONCE or there & hits:
        raise SystemExit(f"{removed} rows were removed, {len(there & hits)} are still shown")


# -- the dataset ---------------------------------------------------------------------------------


def domain(number: int) -> str:
    """The domain that rows ``100 number`` and the 99 that follow share."""
    return f"site{number}.example"


def made(rows: int) -> Dataset:
    """The dataset of so many rows, made where it is missing."""
    from frenchcat.index.build import build_index

    folder = BENCH / f"vectors-{rows}"
    if not folder.exists():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        dataset = Dataset.create(partial, "bench")
        shards = [f"{number:05d}" for number in range(-(-rows // SHARD))]
        with dataset.lock():
            for stage in (Made("download", rows), Made("embed", rows)):
                run_stage(dataset, stage, shards)
            build_index(dataset)
        partial.rename(folder)
    return Dataset.open(folder)


@dataclass(frozen=True)
class Made:
    """Writes what the stage of its name would: tars and sidecars, or vectors."""

    name: str
    rows: int
    in_process: bool = True

    @property
    def signature(self) -> Signature:
        """The model's name, as `embed` records it."""
        model = {"model": "random", "weights": "0" * 64, "precision": "fp32"}
        settings = {**model, "dimension": DIMENSIONS} if self.name == "embed" else {}
        return Signature(self.name, 1, settings)

    def inputs(self, dataset: Dataset, shard: str) -> Mapping[str, str]:
        """None."""
        return {}

    @contextlib.contextmanager
    def start(self, dataset: Dataset) -> Iterator[ShardFunction]:
        """Nothing is needed."""
        yield self._write

    def _write(self, shard: str, output: Output) -> Counts:
        import pyarrow as pa
        import pyarrow.parquet as pq

        first = int(shard) * SHARD
        numbers = range(first, min(first + SHARD, self.rows))
        keys = [f"{shard}{number - first:04d}" for number in numbers]
        urls = [f"http://{domain(number // AT_ONCE)}/{number}.jpg" for number in numbers]
        columns = {"url": urls, "caption": list(map(common.caption, numbers))}
        if self.name == "embed":
            chance = np.random.default_rng(first)
            vectors = chance.standard_normal((len(keys), DIMENSIONS), np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            for kind in ("img_emb", "text_emb"):
                path = output.path(f"embeddings/{kind}/{kind}_{shard}.npy")
                np.save(path, vectors.astype(np.float16))
            path = output.path(f"embeddings/metadata/metadata_{shard}.parquet")
            pq.write_table(pa.table({"image_path": keys, **columns}), path)
            return {"embedded": len(keys)}
        _tar(output, shard, keys)
        uids = [f"{number:032x}" for number in numbers]
        status = {"status": ["success"] * len(keys), "error_message": [None] * len(keys)}
        sizes = dict.fromkeys(("width", "height"), [8] * len(keys))
        digests = dict.fromkeys(("sha256", "stored_sha256"), uids)
        table = pa.table({**columns, "key": keys, **status, **sizes, **digests, "uid": uids})
        pq.write_table(table, output.path(f"shards/{shard}.parquet"))
        return {"rows": len(keys), "downloaded": len(keys)}


def _tar(output: Output, shard: str, keys: list[str]) -> None:
    jpg = io.BytesIO()
    common.picture(0).resize((8, 8)).save(jpg, "JPEG")
    with tarfile.open(output.path(f"shards/{shard}.tar"), "w") as tar:
        for key in keys:
            info = tarfile.TarInfo(f"{key}.jpg")
            info.size = jpg.tell()
            tar.addfile(info, io.BytesIO(jpg.getvalue()))


if __name__ == "__main__":
    main()
