"""Reading samples from tars: a subset, over HTTP, and the whole set, beside webdataset.

    python -m bench.read                     about five minutes on 2 cores, most of it making tars

Makes, once, in .bench/ (git-ignored), a dataset of 20,000 pictures of 256 px in 20 tars, as
`frenchcat download` leaves it, and selections of a tenth, a hundredth and all of it. The plan, the
rows and the reader are those that `frenchcat train` uses, in one process, as is webdataset.

    subset_ratio      samples/s of a tenth, bytes and captions by offset in the plan's order, over
                      those of webdataset's stream with `select` on the keys; nothing is decoded;
                      goal: at least 50
    bytes_ratio       bytes that a loopback server with range support sent for a hundredth, headers
                      and all, over the bytes of its pictures; goal: at most 1.3
    whole_ratio       samples/s of everything, decoded, as uint8 batches in the exact plan's order,
                      over webdataset's with `decode("rgb8")` in the tars' order; goal: at least .95

Each round runs both sides in turn, files in the page cache; ratios are the middle of all rounds.
Writes .bench/results/read.json.
"""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from bench import _common as common
from bench._common import BENCH
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.markers import Counts, Signature, counts_of
from frenchcat.curate.run_stage import run_stage
from frenchcat.curate.stage import Output, ShardFunction
from frenchcat.train.layout import rows_of_selection
from frenchcat.train.plan import Plan
from frenchcat.train.rows import TrainingRows

GOALS = {"subset_ratio": (">=", 50.0), "bytes_ratio": ("<=", 1.3), "whole_ratio": (">=", 0.95)}
SHARD = 1000  # rows
DISTINCT = 500  # pictures; every row has one of them, and a caption of its own
BATCH = 64
EPOCHS = 10  # of a tenth, since one is over in a fraction of a second


def main() -> None:
    """Measure the three, keep the figures."""
    parser = common.parser(__doc__)
    parser.add_argument("--rows", type=int, default=20 * SHARD)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    common.keep("read", measure(given.rows, given.rounds), GOALS)


def measure(rows: int, rounds: int) -> dict[str, Any]:
    """All rounds of all three."""
    load, dataset = common.load(), made(rows)
    subset = paired("subset", rounds, lambda: by_offset(dataset), lambda: by_filter(dataset))
    whole = paired("whole", rounds, lambda: decoded(dataset), lambda: decoded_stream(dataset))
    return {
        "rows": rows,
        **{f"subset_{name}": value for name, value in subset.items()},
        **{f"whole_{name}": value for name, value in whole.items()},
        **over_http(dataset),
        "load_before": load,
        "versions": common.our_versions("webdataset", "pyarrow", "pillow", "aiohttp"),
    }


def paired(
    name: str, rounds: int, ours: Callable[[], float], theirs: Callable[[], float]
) -> dict[str, Any]:
    """Samples a second of both, in turn; one uncounted round before."""
    ours(), theirs()
    found = [(ours(), theirs()) for _ in range(rounds)]
    middle = [common.median(column) for column in zip(*found, strict=True)]
    print(f"{name:8} {middle[0]:10,.0f} samples/s, webdataset {middle[1]:8,.0f}", flush=True)
    return {
        "ratio": common.median([a / b for a, b in found]),
        "per_sec": {"frenchcat": middle[0], "webdataset": middle[1]},
        "by_round": found,
    }


# -- a subset --------------------------------------------------------------------------------------


def by_offset(dataset: Dataset) -> float:
    """Samples a second of the tenth, in the plan's batches."""
    from frenchcat.train.reader import Reader

    laid = laid_out(dataset, "tenth")
    began, count = time.perf_counter(), 0
    reader = Reader(laid.folder)
    plan = Plan(reader.rows.population, reader.rows.digest, 0, BATCH)
    places = [(epoch, k) for epoch in range(EPOCHS) for k in range(plan.batches(epoch))]
    for place in places:
        for found in reader.fetch(plan.at(*place)):
            count += len(found.picture) == found.row.size  # type: ignore[arg-type]
    return _rate(count, len(places) * BATCH, began)


def by_filter(dataset: Dataset) -> float:
    """Samples a second of the tenth, out of webdataset's stream of everything."""
    import webdataset

    keys = set(laid_out(dataset, "tenth").keys())
    began, count = time.perf_counter(), 0
    stream = webdataset.WebDataset(tars(dataset), shardshuffle=False)
    for sample in stream.select(lambda sample: sample["__key__"] in keys):
        count += len(sample["jpg"]) > 0 and len(sample["txt"]) > 0
    return _rate(count, len(keys), began)


def _rate(found: int, wanted: int, began: float) -> float:
    if found != wanted:
        raise SystemExit(f"{found} samples were read where there are {wanted}")
    return found / (time.perf_counter() - began)


# -- everything, decoded ---------------------------------------------------------------------------


def decoded(dataset: Dataset) -> float:
    """Samples a second of everything, as `frenchcat train` loads it in one process."""
    from frenchcat.curate.config import resolve
    from frenchcat.train.loader import Batches, Cursor, load, places
    from frenchcat.train.settings import TrainSettings

    laid = laid_out(dataset, "all")
    data = {"batch": BATCH, "size": 256}
    began, count = time.perf_counter(), 0
    batches = Batches(laid.folder, resolve(TrainSettings, {"data": data}))
    number = batches.plan.batches(0)
    for loaded in load(batches, list(places(batches.plan, Cursor(), number)), 0):
        count += len(loaded.pixels)
        if loaded.losses:
            raise SystemExit(f"{loaded.losses[0]} in a set without damage")
    return _rate(count, number * BATCH, began)


def decoded_stream(dataset: Dataset) -> float:
    """Samples a second of everything, in webdataset's usual pipeline."""
    import webdataset

    began, count = time.perf_counter(), 0
    stream = webdataset.WebDataset(tars(dataset), shardshuffle=False).decode("rgb8")
    for pixels, _ in stream.to_tuple("jpg", "txt").batched(BATCH):
        count += len(pixels)
    return _rate(count, sum(_rows_of(dataset).values()), began)


# -- over HTTP -------------------------------------------------------------------------------------


def over_http(dataset: Dataset) -> dict[str, Any]:
    """Bytes sent for the hundredth, and the bytes of its pictures."""
    from frenchcat.train.reader import Reader

    with counting(Path(dataset.root)) as (address, sent):
        there = Dataset(f"{address}/")
        laid = rows_of_selection(there, "hundredth", BENCH / "read-http")
        reader = Reader(laid.folder)
        reader.rows.check_tars()
        batch = min(BATCH, len(laid))
        plan = Plan(reader.rows.population, laid.digest, 0, batch)
        sent.clear()
        began, needed, count = time.perf_counter(), 0, 0
        for k in range(plan.batches(0)):
            for found in reader.fetch(plan.at(0, k)):
                if isinstance(found.picture, OSError):
                    raise SystemExit(f"{found.row.key}: {found.picture}")
                needed += len(found.picture)
                count += 1
        rate = _rate(count, plan.batches(0) * batch, began)
    return {
        "bytes_ratio": sum(sent) / needed,
        "http": {"samples": count, "requests": len(sent), "needed": needed, "sent": sum(sent)},
        "http_per_sec": rate,
    }


@contextlib.contextmanager
def counting(folder: Path) -> Iterator[tuple[str, list[int]]]:
    """Serve a folder at a loopback port, ranges too; gives its address and the replies' bytes."""
    sent: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._reply(body=False)

        def do_GET(self) -> None:
            self._reply(body=True)

        def _reply(self, *, body: bool) -> None:
            path = folder / self.path.lstrip("/")
            if not path.is_file():
                self.send_error(404)
                return
            size = path.stat().st_size
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            first = int(asked[1]) if asked else 0
            last = min(int(asked[2]), size - 1) if asked and asked[2] else size - 1
            self.send_response(206 if asked else 200)
            self.send_header("Content-Length", str(last - first + 1))
            self.send_header("Accept-Ranges", "bytes")
            if asked:
                self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
            head = sum(map(len, self._headers_buffer)) + 2  # type: ignore[attr-defined]
            self.end_headers()
            if body:
                with open(path, "rb") as file:
                    file.seek(first)
                    self.wfile.write(file.read(last - first + 1))
            sent.append(head + (last - first + 1 if body else 0))

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", sent
        finally:
            server.shutdown()


# -- the dataset -----------------------------------------------------------------------------------


def made(rows: int) -> Dataset:
    """The dataset of so many rows and its selections, made where it is missing."""
    from frenchcat.curate.select import Choice, select

    folder = BENCH / f"read-{rows}"
    if not folder.exists():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        dataset = Dataset.create(partial, "bench")
        with dataset.lock():
            run_stage(dataset, Made(rows), [f"{n:05d}" for n in range(-(-rows // SHARD))])
            for name, limit in (("all", None), ("tenth", rows // 10), ("hundredth", rows // 100)):
                select(dataset, name, Choice(limit=limit))
        partial.rename(folder)
    return Dataset.open(folder)


def laid_out(dataset: Dataset, name: str) -> TrainingRows:
    """A selection's rows, as a run keeps them; made where they are missing."""
    from frenchcat.train.rows import open_rows

    folder = Path(dataset.root) / f"rows-{name}"
    return open_rows(folder) or rows_of_selection(dataset, name, folder)


def tars(dataset: Dataset) -> list[str]:
    """The paths of all tars."""
    return [dataset.path(f"shards/{shard}.tar") for shard in dataset.shards()]


def _rows_of(dataset: Dataset) -> dict[str, int]:
    return {shard: counts_of(dataset, "download", shard)["rows"] for shard in dataset.shards()}


@dataclass(frozen=True)
class Made:
    """Writes what `download` would: a tar of picture, caption and metadata, and its sidecar."""

    rows: int
    in_process: bool = True

    @property
    def signature(self) -> Signature:
        """The download's, without settings."""
        return Signature("download", 1, {})

    def inputs(self, dataset: Dataset, shard: str) -> Mapping[str, str]:
        """None."""
        return {}

    @contextlib.contextmanager
    def start(self, dataset: Dataset) -> Iterator[ShardFunction]:
        """Draw the pictures once."""
        pictures = [_jpg(number) for number in range(min(DISTINCT, self.rows))]
        yield lambda shard, output: self._write(shard, output, pictures)

    def _write(self, shard: str, output: Output, pictures: list[bytes]) -> Counts:
        import hashlib

        import pyarrow as pa
        import pyarrow.parquet as pq

        first = int(shard) * SHARD
        numbers = range(first, min(first + SHARD, self.rows))
        keys = [f"{shard}{number - first:04d}" for number in numbers]
        captions = [common.caption(number) for number in numbers]
        bodies = [pictures[number % len(pictures)] for number in numbers]
        with tarfile.open(output.path(f"shards/{shard}.tar"), "w") as tar:
            for key, body, caption in zip(keys, bodies, captions, strict=True):
                words = caption.encode()
                for kind, data in (("jpg", body), ("json", b"{}".ljust(200)), ("txt", words)):
                    info = tarfile.TarInfo(f"{key}.{kind}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
        digests = [hashlib.sha256(body).hexdigest() for body in bodies]
        columns = {
            "key": keys,
            "caption": captions,
            "url": [f"http://site.example/{number}.jpg" for number in numbers],
            "uid": [f"{number:032x}" for number in numbers],
            "status": ["success"] * len(keys),
            "error_message": pa.nulls(len(keys), pa.string()),
            "width": [256] * len(keys),
            "height": [256] * len(keys),
            "sha256": digests,
            "stored_sha256": digests,
        }
        pq.write_table(pa.table(columns), output.path(f"shards/{shard}.parquet"))
        return {"rows": len(keys), "downloaded": len(keys)}


def _jpg(number: int) -> bytes:
    out = io.BytesIO()
    common.picture(number).resize((256, 256)).save(out, "JPEG", quality=90)
    return out.getvalue()


if __name__ == "__main__":
    main()
