"""`frenchcat serve` against `clip-retrieval back`: the same 100,000 x 512, this machine, in turns.

    python -m bench.serve                 about twenty minutes on 2 cores; nothing else should run

Makes, once, in .bench/: a venv of its own for the peer, ViT-B-32 weights (random; speed does not
depend on their values), a folder in clip-retrieval's layout (bench/vectors.py says how its vectors
are drawn) in which every twentieth row is a copy of the one before, a dataset adopted of it,
indexed and deduplicated by our commands, and the peer's index, built by `clip-retrieval index`.

Three measurements, by clients on loopback that keep their connection:

- one at a time, as clip-retrieval's page asks: num_images 40, num_result_ids 3000, deduplicate on;
  with a vector (excluding text encoding) and with a text never asked before (end to end), ours and
  theirs in turns. What our deduplication costs is the same queries with it minus without it; what
  theirs costs is its own histogram's mean;
- 200 clients at once for a minute, with `ClipClient`'s own body (40 rows, deduplicate on) and
  vectors; while ours is asked, its index is built again with another factory and swapped in, and a
  row is removed. An answer that is not 200, is not JSON or holds the removed row after its removal
  was acknowledged is an error.

Prints each figure beside its goal; all of them lie in .bench/results/serve.json.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import json
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench import _common as common
from bench.vectors import PER_FILE, World, write_folder

ROWS = 100_000
FOLDER = common.BENCH / "serve"
VECTORS, DATASET, PEER_INDEX = FOLDER / "vectors", FOLDER / "dataset", FOLDER / "peer-index"
WEIGHTS = common.BENCH / "vit-b-32.pt"
PEER_STEPS = (["clip-retrieval==2.45.0", *common.TORCH], ["setuptools==69.5.1"])
MODEL = "ViT-B-32"
NAME = "vectors"
PAGE = {"num_images": 40, "num_result_ids": 3000, "deduplicate": True}
CLIENT = {"num_images": 40, "num_result_ids": 40, "deduplicate": True}
GOALS = {
    "ratio_vector": (">=", 5.0),
    "ratio_text": (">=", 3.0),
    "our_dedup_ms": ("<=", 2.0),
    "our_errors": ("<=", 0),
}
# Its Flask listens at every address; here it may only at loopback.
PEER_BACK = """
import sys, flask
run = flask.Flask.run
flask.Flask.run = lambda self, host=None, **rest: run(self, host="127.0.0.1", **rest)
from clip_retrieval.clip_back import clip_back
clip_back(indices_paths=sys.argv[1], port=int(sys.argv[2]), clip_model=sys.argv[3],
          enable_mclip_option=False, use_jit=False, provide_aesthetic_embeddings=False)
"""


def main() -> None:
    """Prepare what is missing, measure, print, keep."""
    parser = common.parser(__doc__)
    parser.add_argument("--queries", type=int, default=60, help="of each kind, one at a time")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--sec", type=float, default=60.0, help="that all clients ask")
    parser.add_argument("--again", action="store_true", help="our crowd alone, into the results")
    parser.add_argument("--prepare", action="store_true", help="install and generate, no more")
    parser.add_argument("--load", metavar="JSON", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.load:
        print(json.dumps(asyncio.run(_load(**json.loads(given.load)))))
        return
    prepare()
    if given.again:
        kept = common.kept_result("serve")
        _as_it_was()
        with ours() as port:
            many = _crowd(port, given.clients, given.sec, _disturb)
        many["command"] = "python -m bench.serve --again"
        ratio = many["per_sec"] / max(kept["theirs_crowd"]["per_sec"], 1e-9)
        again = {"ours_crowd": many, "our_errors": many["errors"], "ratio_throughput": ratio}
        common.keep("serve", {**kept, **again}, GOALS)
    elif not given.prepare:
        common.keep("serve", measure(given.queries, given.clients, given.sec), GOALS)


# -- what is asked -------------------------------------------------------------------------------


def prepare() -> None:
    """The peer, the weights, the vectors, both indexes."""
    from frenchcat.curate.adopt import adopt
    from frenchcat.curate.clip.settings import ClipSettings

    common.peer("clip-retrieval", *PEER_STEPS)
    if not WEIGHTS.exists():
        import open_clip
        import torch

        torch.manual_seed(0)
        torch.save(open_clip.create_model(MODEL).state_dict(), WEIGHTS)
    if not (VECTORS / "done").exists():
        write_folder(VECTORS, ROWS)
        for path in VECTORS.glob("*_emb/*.npy"):
            rows = np.load(path)
            rows[19::20] = rows[18::20]
            np.save(path, rows)
        (VECTORS / "done").touch()
    shutil.rmtree(DATASET, ignore_errors=True)  # the last run removed a row of it
    adopt(VECTORS, DATASET, ClipSettings(model=MODEL, pretrained=str(WEIGHTS)))
    common.ours("index", DATASET)
    common.ours("dedup", DATASET, "--set", 'dedup.methods=["semantic"]')
    if not (PEER_INDEX / "image.index").exists():
        back = common.BENCH / "clip-retrieval" / "bin" / "clip-retrieval"
        common.run([back, "index", VECTORS, PEER_INDEX], "clip-retrieval-index")


def queries(count: int, seed: int = 1) -> list[list[float]]:
    """Captions' vectors that are not in the index."""
    return World().pairs(count, PER_FILE * seed)[1].astype(float).round(6).tolist()


def texts(count: int) -> list[str]:
    """Captions of some words, none twice."""
    rng = random.Random(0)
    return [f"{' '.join(rng.choices(common.WORDS, k=8))} {row}" for row in range(count)]


# -- the servers ---------------------------------------------------------------------------------


@contextlib.contextmanager
def ours() -> Iterator[int]:
    """Our service on a free port, stopped by SIGTERM at the end."""
    command = [sys.executable, "-m", "frenchcat", "serve", str(DATASET), "--port", "0"]
    with _process([*command, "--allow-remove"], "serve-ours") as (process, log):
        wait_for(lambda: "serving at" in log.read_text(), process)
        port = int(log.read_text().split("serving at")[1].rsplit(":", 1)[1].strip().strip("/"))
        wait_for(lambda: _status(port, "/readyz") == 200, process)
        yield port


@contextlib.contextmanager
def theirs() -> Iterator[int]:
    """The peer's back end."""
    port = 21234
    indices = FOLDER / "indices.json"
    indices.write_text(json.dumps({NAME: str(PEER_INDEX)}))
    python = common.BENCH / "clip-retrieval" / "bin" / "python"
    model = f"open_clip:{MODEL}/{WEIGHTS}"
    command = [str(python), "-c", PEER_BACK, str(indices), str(port), model]
    with _process(command, "serve-theirs") as (process, _):
        wait_for(lambda: _status(port, "/indices-list") == 200, process)
        yield port


@contextlib.contextmanager
def _process(command: list[str], log: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    path = common.BENCH / f"{log}.log"
    with open(path, "wb") as file:
        process = subprocess.Popen(command, cwd=common.ROOT, stdout=file, stderr=file)
        try:
            yield process, path
        finally:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(40)
            process.kill()
            process.wait()


def wait_for(ready: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Wait until it is, for at most four minutes."""
    for _ in range(2400):
        if ready():
            return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    sys.exit(f"{process.args} did not start; see .bench/*.log")


def _status(port: int, route: str) -> int:
    with contextlib.suppress(OSError, http.client.HTTPException):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", route)
        return connection.getresponse().status
    return 0


class Asker:
    """One client of /knn-service that keeps its connection, where the server lets it."""

    def __init__(self, port: int, name: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self.name = name

    def ask(self, **asked: Any) -> tuple[float, list[dict[str, Any]]]:
        """Seconds to the answer's last byte, and the answer."""
        body = json.dumps({"modality": "image", "indice_name": self.name, **asked})
        began = time.perf_counter()
        self.connection.request("POST", "/knn-service", body)
        text = self.connection.getresponse().read()
        return time.perf_counter() - began, json.loads(text)


# -- what is measured ----------------------------------------------------------------------------


def measure(count: int, clients: int, sec: float) -> dict[str, Any]:
    """One at a time, in turns; then many at a time, one server after the other."""
    load_before = common.load()
    with ours() as our_port, theirs() as their_port:
        one = _in_turns(our_port, their_port, count)
    _as_it_was()
    with ours() as port:
        many = _crowd(port, clients, sec, _disturb)
    with theirs() as port:
        their_many = _crowd(port, clients, sec, None)
    return {
        **one,
        "ours_crowd": many,
        "theirs_crowd": their_many,
        "our_errors": many["errors"],
        "ratio_throughput": many["per_sec"] / max(their_many["per_sec"], 1e-9),
        "rows": ROWS,
        "load_before": load_before,
        "versions": {
            **common.our_versions("faiss-cpu", "fastapi", "uvicorn", "torch"),
            "peer": common.versions_of(
                common.BENCH / "clip-retrieval" / "bin" / "python",
                ["clip-retrieval", "faiss-cpu", "flask", "torch"],
            ),
        },
    }


def _in_turns(our_port: int, their_port: int, count: int) -> dict[str, Any]:
    us, them = Asker(our_port, DATASET.name), Asker(their_port, NAME)
    us.name = json.loads(_get(our_port, "/indices-list"))[0]
    spent: dict[str, list[float]] = {}
    rows: dict[str, list[int]] = {"ours": [], "theirs": []}
    vectors, words = queries(count + 5), texts(count + 5)
    for turn, (vector, text) in enumerate(zip(vectors, words, strict=True)):
        kinds = {
            "our_vector": (us, {"embedding_input": vector, **PAGE}),
            "their_vector": (them, {"embedding_input": vector, **PAGE}),
            "our_vector_plain": (us, {"embedding_input": vector, **PAGE, "deduplicate": False}),
            "our_text": (us, {"text": text, **PAGE}),
            "their_text": (them, {"text": text, **PAGE}),
        }
        for kind, (asker, asked) in kinds.items():
            sec, answer = asker.ask(**asked)
            if turn < 5:  # both warm up
                continue
            spent.setdefault(kind, []).append(sec * 1000)
            if kind.endswith("_vector"):
                rows["ours" if asker is us else "theirs"].append(len(answer))
    figures = {f"{kind}_ms": _percentiles(values) for kind, values in spent.items()}
    p50 = {kind: common.median(values) for kind, values in spent.items()}
    pairs = zip(spent["our_vector"], spent["our_vector_plain"], strict=True)
    return {
        **figures,
        "ratio_vector": p50["their_vector"] / p50["our_vector"],
        "ratio_text": p50["their_text"] / p50["our_text"],
        "our_dedup_ms": common.median([on - off for on, off in pairs]),
        "our_dedup_histogram_ms": 1000 * _mean_of(_get(our_port, "/metrics"), "dedup_time"),
        "their_dedup_histogram_ms": 1000 * _mean_of(_get(their_port, "/metrics"), "dedup_time"),
        "rows_of_3000": {name: common.median(counts) for name, counts in rows.items()},
    }


def _crowd(
    port: int, clients: int, sec: float, disturb: Callable[[int], dict[str, Any]] | None
) -> dict[str, Any]:
    """Many clients, in a process of their own; meanwhile `disturb`, once a third has passed."""
    name = json.loads(_get(port, "/indices-list"))[0]
    removed = FOLDER / "removed"
    removed.unlink(missing_ok=True)
    asked = {"port": port, "name": name, "clients": clients, "sec": sec, "removed": str(removed)}
    command = [sys.executable, "-m", "bench.serve", "--load", json.dumps(asked)]
    happened: dict[str, Any] = {}
    thread = None
    if disturb is not None:
        thread = threading.Thread(target=lambda: happened.update(disturb(port)))
        timer = threading.Timer(sec / 4, thread.start)
        timer.start()
    done = subprocess.run(command, cwd=common.ROOT, check=True, stdout=subprocess.PIPE)
    if thread is not None:
        thread.join()
    found = {**json.loads(done.stdout), **happened}
    if disturb is not None and not (found.get("removal") and found["answers_after_removal"]):
        found["errors"] += 1  # without a swap and a removal it shows nothing
        found["first_errors"].append("no swap or no removal")
    return found


def _as_it_was() -> None:
    """Without an earlier run's removal and swapped index, so that there is something to do."""
    shutil.rmtree(DATASET / "removals", ignore_errors=True)
    common.ours("index", DATASET)


def _disturb(port: int) -> dict[str, Any]:
    """Swap the index, then remove a row, while the crowd asks."""
    before = json.loads(_get(port, "/v1/datasets"))[0]["index_version"]
    common.ours("index", DATASET, "--set", "index.factory=Flat")
    began = time.perf_counter()
    while json.loads(_get(port, "/v1/datasets"))[0]["index_version"] == before:
        if time.perf_counter() - began > 60:
            return {"swapped": False}
        time.sleep(0.2)
    swapped_after_sec = time.perf_counter() - began
    key = "000000000"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    body: dict[str, Any] = {"by": "key", "value": key}
    answer: dict[str, Any] = {}
    for confirmed in (False, True):
        body |= {"confirm": confirmed, "token": answer.get("token")}
        kind = {"Content-Type": "application/json"}
        connection.request("POST", "/v1/remove", json.dumps(body), kind)
        answer = json.loads(connection.getresponse().read())
    (FOLDER / "removed").write_text(key)
    return {"swapped": True, "swapped_after_sec": swapped_after_sec, "removal": answer["removed"]}


async def _load(port: int, name: str, clients: int, sec: float, removed: str) -> dict[str, Any]:
    """The crowd: each client asks, waits for the answer, asks again."""
    import aiohttp

    bodies = [
        json.dumps({"embedding_input": v, "modality": "image", "indice_name": name, **CLIENT})
        for v in [*queries(200, 2), _first_row()]
    ]
    spent: list[float] = []
    errors: list[str] = []
    after: list[bool] = []  # of each answer, whether it was asked for after the removal
    end = time.perf_counter() + sec

    async def client(number: int, session: aiohttp.ClientSession) -> None:
        while time.perf_counter() < end:
            gone = Path(removed).exists()
            began = time.perf_counter()
            try:
                body = bodies[(number + len(spent)) % len(bodies)]
                async with session.post("/knn-service", data=body) as answer:
                    text = await answer.read()
                    if answer.status != 200:
                        errors.append(f"{answer.status} {text[:200]!r}")
                        continue
            except (aiohttp.ClientError, TimeoutError) as error:
                errors.append(repr(error))
                continue
            spent.append(time.perf_counter() - began)
            after.append(gone)
            if not (text[:1] == b"[" and text.rstrip()[-1:] == b"]"):
                errors.append(f"no list: {text[:100]!r}")
            if gone and b'"000000000"' in text:
                errors.append("a removed row was shown")

    connector = aiohttp.TCPConnector(limit=0)
    limits = aiohttp.ClientTimeout(total=300)
    base = f"http://127.0.0.1:{port}"
    async with aiohttp.ClientSession(base, connector=connector, timeout=limits) as session:
        began = time.perf_counter()
        await asyncio.gather(*(client(number, session) for number in range(clients)))
        whole = time.perf_counter() - began
    return {
        "answers": len(spent),
        "answers_after_removal": sum(after),
        "per_sec": len(spent) / whole,
        "ms": _percentiles([value * 1000 for value in spent]) if spent else {},
        "errors": len(errors),
        "first_errors": errors[:5],
    }


def _first_row() -> list[float]:
    """The vector of the row that is removed: whoever asks for it sees whether it is gone."""
    row = np.load(VECTORS / "img_emb/img_emb_0000.npy", mmap_mode="r")[0]
    return [float(value) for value in row]


# -- helpers -------------------------------------------------------------------------------------


def _get(port: int, route: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("GET", route)
    return connection.getresponse().read().decode()


def _mean_of(metrics: str, name: str) -> float:
    """The mean of a histogram in Prometheus' text."""
    values = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if line[:1] != "#")
    return float(values[f"{name}_sum"]) / max(1.0, float(values[f"{name}_count"]))


def _percentiles(values: list[float]) -> dict[str, float]:
    found = np.percentile(values, [50, 95, 99]).round(3).tolist()
    return dict(zip(("p50", "p95", "p99"), found, strict=True))


if __name__ == "__main__":
    main()
