"""Publishing to a vector database, a search there, and how soon a removal shows there.

    python -m bench.publish                      PostgreSQL and Milvus Lite, about ten minutes
    python -m bench.publish --to milvus://host   a database of one's own

Publishes the dataset of bench.remove (512 dimensions, every hundred rows of one domain) and
searches there as in the local index. Each round removes a domain while another connection is open,
as that of a service is, and asks it for the rows until none is there. Without `--to` it takes
those of PostgreSQL (the packages pgserver and psycopg) and Milvus Lite (pymilvus, milvus-lite) that
are installed. Writes .bench/results/publish.json, with for each database

    rows_per_sec  published
    sec           from a removal's request to the first look that no longer finds its rows
    search_ms     a search of 10, the middle of 20
    recall        of those, the part of the local index's hits that came back
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np

from bench import _common as common
from bench._common import BENCH
from bench.remove import AT_ONCE, domain, made
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.remove import RemovalQuery, matches, remove
from frenchcat.curate.vector_stores import RowFilter, open_store
from frenchcat.curate.vector_stores.store import EVERYTHING
from frenchcat.index.publish import publish
from frenchcat.index.search import Searcher, View

GOALS = {"slowest_removal_sec": ("<=", 1.0), "lowest_recall": (">=", 0.99)}
SEARCHES = 20


def main() -> None:
    """Measure each database, keep the worst figures beside all."""
    parser = common.parser(__doc__)
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--to", action="append", metavar="ADDRESS")
    given = parser.parse_args()
    load, found = common.load(), {}
    with contextlib.ExitStack() as stack:
        addresses = given.to or [stack.enter_context(one()) for one in _installed()]
        if not addresses:
            parser.error("neither pgserver with psycopg nor milvus-lite is installed; give --to")
        for address in addresses:
            found[address.partition(":")[0]] = measure(address, given.rows, given.rounds)
    result = {
        "rows": given.rows,
        "removed_at_once": AT_ONCE,
        "databases": found,
        "slowest_removal_sec": max(max(one["sec"]) for one in found.values()),
        "lowest_recall": min(one["recall"] for one in found.values()),
        "load_before": load,
        "versions": common.versions_of(
            sys.executable, ["pymilvus", "milvus-lite", "psycopg", "pgserver", "numpy"]
        ),
    }
    common.keep("publish", result, GOALS)


def measure(address: str, rows: int, rounds: int) -> dict[str, Any]:
    """One database."""
    copy = BENCH / "publish"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(made(rows).root, copy)
    dataset = Dataset.open(copy)
    began = time.perf_counter()
    done = publish(dataset, address, replace=True)
    sec = time.perf_counter() - began
    queries = np.load(dataset.path("embeddings/img_emb/img_emb_00000.npy"))[:SEARCHES]
    local, ms, shares = Searcher(dataset), [], []
    with open_store(address) as store:
        for query in queries.astype(np.float32):
            began = time.perf_counter()
            ids, _ = store.nearest(query, 10, "image", EVERYTHING)
            ms.append((time.perf_counter() - began) * 1e3)
            best = local.ids(local.ranked(query, 10, view=View(None, False, True, True)).positions)
            shares.append(len(set(ids.tolist()) & set(best.tolist())) / len(best))
        removed = [_removed(dataset, store, number) for number in range(rounds)]
    print(f"{address.partition(':')[0]}: {done.rows} rows in {sec:.1f} s, removals {removed}")
    return {
        "rows_per_sec": done.rows / sec,
        "sec": removed,
        "search_ms": common.median(ms),
        "recall": float(np.mean(shares)),
    }


def _removed(dataset: Dataset, store: Any, number: int) -> float:
    """Seconds until an open connection finds no row of a domain."""
    query = RemovalQuery("domain", domain(number))
    began = time.perf_counter()
    with dataset.lock():
        found = matches(dataset, query)
        remove(dataset, query, found)
    keys = [one.key for one in found]
    while store.present(keys) or len(store.ids(RowFilter(f"key = '{keys[0]}'"), 1)):
        pass
    return time.perf_counter() - began


def _installed() -> list[Any]:
    """What starts each database that is installed, and gives its address."""
    there = []
    if find_spec("pgserver") and find_spec("psycopg"):
        there.append(_postgres)
    if find_spec("pymilvus") and find_spec("milvus_lite"):
        there.append(_milvus)
    return there


@contextlib.contextmanager
def _postgres() -> Iterator[str]:
    import pgserver

    with tempfile.TemporaryDirectory(prefix="frenchcat-pg-") as folder:
        server = pgserver.get_server(folder, cleanup_mode="stop")
        try:
            yield server.get_uri() + "&table=bench"
        finally:
            server.cleanup()


@contextlib.contextmanager
def _milvus() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="frenchcat-milvus-") as folder:
        yield f"milvus://{folder}/rows.db?table=bench"


if __name__ == "__main__":
    main()
