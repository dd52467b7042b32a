"""A million vectors: recall, latency, memory, building, filters, additions; autofaiss beside.

    python -m bench.knn                   about fifteen minutes on 2 cores; nothing else should run
    python -m bench.knn --prepare         install the peer and draw the vectors, no more

Makes, once, in .bench/ (git-ignored): a venv for autofaiss, a folder in the layout of
`clip-retrieval inference` (bench/vectors.py says how the vectors are drawn), and a dataset adopted
from it. The truth is brute force over the stored float16 numbers. Queries are drawn again from the
same distribution, pictures and captions apart, and are in no index.

Each measurement runs in a process of its own, ours and autofaiss's on one thread; memory is that
process's anonymous memory over what it had with the libraries imported. autofaiss gets the same
vectors and the memory that our codes take. Writes .bench/results/knn.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench import _common as common
from bench.vectors import World, write_folder

ROOT = Path(__file__).resolve().parent.parent
BENCH = ROOT / ".bench"
PEER = BENCH / "autofaiss"
PEER_PINS = (  # it needs numpy 1 and a faiss of its time
    "autofaiss==2.18.0",
    "faiss-cpu==1.8.0",
    "pyarrow==18.1.0",
    "setuptools==69.5.1",
)
QUERIES, K, ADDED = 200, 10, 10_000
SHARES = (0.001, 0.01, 0.1, 0.5, 0.9)
GOALS = {
    "recall_at_10": 0.99,
    "anonymous_bytes": 300_000_000,
    "p95_ms": 25.0,
    "build_sec": 300.0,
    "filtered_recall_at_10": 0.99,
    "add_sec": 10.0,
}


def main() -> None:
    """Prepare what is missing, measure, print, keep."""
    parser = common.parser(__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--prepare", action="store_true", help="install and draw, no more")
    parser.add_argument("--no-peer", action="store_true", help="ours alone")
    parser.add_argument("--peer-only", action="store_true", help="the peer, into ours as it is")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(_CHILDREN[given.child](given.rows)))
        return
    prepare(given.rows, not given.no_peer)
    if given.peer_only:
        report({**common.kept_result("knn"), "autofaiss": _peer(given.rows)})
    elif not given.prepare:
        report(measure(given.rows, not given.no_peer))


def folder_of(rows: int) -> Path:
    """clip-retrieval's layout."""
    return BENCH / f"knn-{rows}"


def dataset_of(rows: int) -> Path:
    """What was adopted of it."""
    return BENCH / f"knn-{rows}-dataset"


def prepare(rows: int, peer: bool) -> None:
    """The vectors, the dataset without an index, the peer's venv."""
    from frenchcat.curate.adopt import adopt

    if not (folder_of(rows) / "done").exists():
        write_folder(folder_of(rows), rows)
        (folder_of(rows) / "done").touch()
    adopt(folder_of(rows), dataset_of(rows))
    if peer and not (PEER / "done").exists():
        subprocess.run([sys.executable, "-m", "venv", str(PEER)], check=True)
        subprocess.run([str(PEER / "bin" / "pip"), "install", "-q", *PEER_PINS], check=True)
        (PEER / "done").touch()
    if not truth_of(rows).exists():
        np.savez(truth_of(rows), **_truth(rows))


def measure(rows: int, peer: bool) -> dict[str, Any]:
    """Ours, then the peer's, then additions, which grow the dataset and are taken back."""
    load = os.getloadavg()[0]
    found: dict[str, Any] = {"rows": rows, "dimension": 512, "load_before": load}
    shutil.rmtree(dataset_of(rows) / "index", ignore_errors=True)
    found["frenchcat"] = {**_child("build", rows), **_child("search", rows)}
    found["frenchcat"]["filtered"] = _child("filtered", rows)
    found["frenchcat"]["add_sec"] = _child("add", rows)
    found["goals"] = GOALS
    found["machine"] = {"cores": os.cpu_count(), "cpu": common.cpu()}
    found["load_after"] = os.getloadavg()[0]
    if peer:
        report(found)  # kept already: the peer takes a while
        found["autofaiss"] = _peer(rows)
    return found


def report(found: dict[str, Any]) -> None:
    """Print and keep."""
    text = json.dumps(found, indent=1, sort_keys=True) + "\n"
    common.result_path("knn").write_text(text, encoding="utf-8")
    print(text)


# -- the truth -----------------------------------------------------------------------------------


def truth_of(rows: int) -> Path:
    """Queries and their true tenth similarities, whole and by filter."""
    return BENCH / f"knn-{rows}-truth.npz"


def _truth(rows: int) -> dict[str, Any]:
    """Queries (Q, D) and their tenth similarity, (Q, 1 + len(SHARES)): among all, and by share."""
    import pyarrow.parquet as pq

    pictures, texts = World().pairs(QUERIES, 10_000_000)
    queries = np.concatenate([pictures, texts])
    shares = (2.0, *SHARES)
    best = np.full((len(shares), len(queries), K), -np.inf, np.float32)
    for path in sorted((folder_of(rows) / "img_emb").glob("*.npy")):
        block = np.load(path).astype(np.float32)
        number = path.stem.removeprefix("img_emb_")
        metadata = folder_of(rows) / f"metadata/metadata_{number}.parquet"
        draw = pq.read_table(metadata, columns=["draw"])["draw"].to_numpy()
        similarities = queries @ block.T
        for at, share in enumerate(shares):
            some = np.concatenate([best[at], similarities[:, draw < share]], axis=1)
            best[at] = np.partition(some, some.shape[1] - K, axis=1)[:, -K:]
    return {"queries": queries, "tenth": best.min(axis=2).T}


def _recalls(found: list[np.ndarray], tenth: np.ndarray) -> dict[str, dict[str, float]]:
    """Recall@10 with its interval, of pictures and of captions."""
    from frenchcat.index.evaluate import interval

    shares = np.array(
        [
            np.minimum(K, (row >= limit - 1e-6).sum()) / K
            for row, limit in zip(found, tenth, strict=True)
        ]
    )
    kinds = {"image": shares[:QUERIES], "text": shares[QUERIES:]}
    return {
        name: {
            part: round(getattr(interval(values), part), 4) for part in ("recall", "low", "high")
        }
        for name, values in kinds.items()
    }


# -- ours, each in a process of its own ----------------------------------------------------------


def _build(rows: int) -> dict[str, Any]:
    from frenchcat.curate.dataset import Dataset
    from frenchcat.index.build import build_index

    dataset = Dataset.open(dataset_of(rows))
    began, processor = time.perf_counter(), time.process_time()
    with dataset.lock():
        found = build_index(dataset)
    spent, processor = time.perf_counter() - began, time.process_time() - processor
    index = {part: found["parts"][0][part] for part in ("factory", "rerank", "probes", "measured")}
    return {
        "build_sec": round(spent, 1),
        "build_cpu_sec": round(processor, 1),
        "index": index,
        "bytes": _bytes(dataset_of(rows) / "index"),
    }


def _search(rows: int) -> dict[str, Any]:
    import faiss

    from frenchcat.curate.dataset import Dataset
    from frenchcat.index.search import Searcher

    faiss.omp_set_num_threads(1)
    before = _anonymous()
    began = time.perf_counter()
    searcher = Searcher(Dataset.open(dataset_of(rows)))
    opened = time.perf_counter() - began
    truth = np.load(truth_of(rows))
    found, spent, processor = [], [], []
    for query in [*truth["queries"][:20], *truth["queries"]]:  # the first warm the page cache
        began, before_cpu = time.perf_counter(), time.thread_time()
        hits = searcher.query(vector=query, k=K)
        spent.append(time.perf_counter() - began)
        processor.append(time.thread_time() - before_cpu)
        found.append(np.array([hit.similarity for hit in hits]))
    return {
        "recall_at_10": _recalls(found[20:], truth["tenth"][:, 0]),
        "ms": _percentiles(spent[20:]),
        "cpu_ms": _percentiles(processor[20:]),  # what a machine at rest would show
        "open_sec": round(opened, 2),
        "anonymous_bytes": _anonymous() - before,
    }


def _filtered(rows: int) -> dict[str, Any]:
    import faiss

    from frenchcat.curate.dataset import Dataset
    from frenchcat.index.search import Searcher

    faiss.omp_set_num_threads(1)
    searcher = Searcher(Dataset.open(dataset_of(rows)))
    truth = np.load(truth_of(rows))
    answer = {}
    for at, share in enumerate(SHARES, 1):
        found, spent, processor = [], [], []
        for query in truth["queries"]:
            began, before_cpu = time.perf_counter(), time.thread_time()
            hits = searcher.query(vector=query, k=K, where=f"draw < {share}")
            spent.append(time.perf_counter() - began)
            processor.append(time.thread_time() - before_cpu)
            found.append(np.array([hit.similarity for hit in hits]))
        recalls = _recalls(found, truth["tenth"][:, at])
        first = {"first_ms": round(spent[0] * 1e3, 1)}  # the condition runs once
        times = {"ms": _percentiles(spent[1:]), "cpu_ms": _percentiles(processor[1:])}
        answer[str(share)] = {"recall_at_10": recalls, **times, **first}
    return answer


def _add(rows: int) -> float:
    """Seconds to take a further shard into the index; the dataset is left as it was."""
    from frenchcat.curate.adopt.folder import _cut
    from frenchcat.curate.adopt.shards import AdoptedStage, write_rows
    from frenchcat.curate.adopt.sources import StoredVectorFiles, metadata
    from frenchcat.curate.dataset import Dataset
    from frenchcat.curate.embeddings import model_of
    from frenchcat.curate.files import IMG_EMB, METADATA, SIDECAR, TEXT_EMB
    from frenchcat.index.build import build_index

    extra = BENCH / "knn-extra"
    number = rows // ADDED
    write_folder(extra, ADDED, number)
    dataset, shard = Dataset.open(dataset_of(rows)), f"{number:05d}"
    stages = AdoptedStage("download", {}), AdoptedStage("embed", model_of(dataset))
    (table,) = _cut(metadata(extra))
    vectors = [StoredVectorFiles(extra / name).rows(0, ADDED) for name in ("img_emb", "text_emb")]
    copies = {
        name: (dataset_of(rows) / name).read_bytes()
        for name in ("dataset.json", "index/index.json")
    }
    with dataset.lock():
        write_rows(dataset, shard, table, vectors[0], vectors[1], stages)
        began = time.perf_counter()
        found = build_index(dataset)
        spent = time.perf_counter() - began
    assert found["rows"] == rows + ADDED, found["rows"]
    assert len(found["parts"]) == 2
    made = [one.of(shard) for one in (SIDECAR, IMG_EMB, TEXT_EMB, METADATA)]
    made += [f"stages/{stage}/{shard}.json" for stage in ("download", "embed")]
    for name in (*made, *found["parts"][1]["files"]):
        dataset.remove(name)
    for name, data in copies.items():
        (dataset_of(rows) / name).write_bytes(data)
    shutil.rmtree(extra)
    return round(spent, 2)


# -- the peer ------------------------------------------------------------------------------------

_PEER_BUILD = """
import json, sys, time
from autofaiss import build_index
began, before_cpu = time.perf_counter(), time.process_time()
build_index(sys.argv[1], index_path=sys.argv[2], index_infos_path=sys.argv[3],
            max_index_memory_usage=sys.argv[4], current_memory_available="12GB",
            metric_type="ip", should_be_memory_mappable=True, verbose=30)
print(json.dumps([time.perf_counter() - began, time.process_time() - before_cpu]))
"""
_PEER_SEARCH = """
import json, sys, time
import faiss, numpy as np
def anonymous():
    for line in open("/proc/self/status"):
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
faiss.omp_set_num_threads(1)
queries = np.load(sys.argv[2])["queries"]
before = anonymous()
index = faiss.read_index(sys.argv[1], faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
with open(sys.argv[3]) as file:
    parameters = json.load(file).get("index_param")
if parameters:
    faiss.ParameterSpace().set_index_parameters(index, parameters)
spent, processor, found = [], [], []
for query in np.concatenate([queries[:20], queries]):
    began, before_cpu = time.perf_counter(), time.thread_time()
    _, positions = index.search(query[None], 10)
    spent.append(time.perf_counter() - began)
    processor.append(time.thread_time() - before_cpu)
    found.append(positions[0].tolist())
print(json.dumps({"spent": spent[20:], "processor": processor[20:], "found": found[20:],
                  "parameters": parameters, "anonymous_bytes": anonymous() - before,
                  "kind": type(index).__name__}))
"""


def _peer(rows: int) -> dict[str, Any]:
    """The peer on the pictures' vectors, with the memory that our codes of them take."""
    out, infos = BENCH / "autofaiss.index", BENCH / "autofaiss.json"
    codes = next((dataset_of(rows) / "index").glob("image-*.index")).stat().st_size
    python = str(PEER / "bin" / "python")
    vectors = folder_of(rows) / "img_emb"
    build = [python, "-c", _PEER_BUILD, vectors, out, infos, f"{codes // 2**20}MB"]
    build_sec, build_cpu_sec = json.loads(_run(build))
    searched = json.loads(_run([python, "-c", _PEER_SEARCH, out, truth_of(rows), infos]))
    truth = np.load(truth_of(rows))
    files = [np.load(path, mmap_mode="r") for path in sorted(vectors.glob("*.npy"))]
    starts = np.cumsum([0] + [len(file) for file in files])
    found = []
    for query, positions in zip(truth["queries"], searched["found"], strict=True):
        at = np.array([position for position in positions if position >= 0])
        numbers = np.searchsorted(starts, at, side="right") - 1
        hits = [
            files[n][p - starts[n]].astype(np.float32) for n, p in zip(numbers, at, strict=True)
        ]
        found.append(np.array([float(hit @ query) for hit in hits]))
    return {
        "build_sec_pictures_alone": round(build_sec, 1),
        "build_cpu_sec_pictures_alone": round(build_cpu_sec, 1),
        "recall_at_10": _recalls(found, truth["tenth"][:, 0]),
        "ms": _percentiles(searched["spent"]),
        "cpu_ms": _percentiles(searched["processor"]),
        "anonymous_bytes": searched["anonymous_bytes"],
        "bytes": out.stat().st_size,
        "kind": searched["kind"],
        "parameters": searched["parameters"],
        "version": PEER_PINS[0],
    }


# -- helpers -------------------------------------------------------------------------------------


def _child(name: str, rows: int) -> Any:
    command = [sys.executable, "-m", "bench.knn", "--child", name, "--rows", str(rows)]
    return json.loads(_run(command))


def _run(command: list[Any]) -> str:
    """The last line of a command's output."""
    done = subprocess.run(
        [str(part) for part in command], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout.strip().splitlines()[-1]


def _anonymous() -> int:
    """Bytes of this process that no file backs."""
    with open("/proc/self/status") as file:
        lines = [line.split() for line in file]
    return next(int(line[1]) * 1024 for line in lines if line[0] == "RssAnon:")


def _percentiles(spent: list[float]) -> dict[str, float]:
    return {f"p{p}": round(float(np.percentile(spent, p)) * 1e3, 2) for p in (50, 95)}


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


_CHILDREN = {"build": _build, "search": _search, "filtered": _filtered, "add": _add}


if __name__ == "__main__":
    main()
