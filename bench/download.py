"""`frenchcat download` beside `img2dataset`: the same list, loopback server and resize settings.

    python -m bench.download                 about ten minutes on 2 cores

The server answers from memory, in this program's process; both load it alike. Both resize with the
same settings (`RESIZE`), write the same shards, and use a process a core; img2dataset keeps its own
default of threads. Ours has its limits for one host raised, since there is but one; everything else
is its default: every answer checked and typed, robots.txt, tdmrep.json and ai.txt asked for once,
rights read from every file's metadata. They are timed whole, from start to exit, in turn.

Then both download a list four times as long: peak memory (resident, of all processes together,
which counts shared pages once a process) must not grow with the list.

Writes .bench/results/download.json: images/s of both, their ratio, peaks, and how many stored
pictures are the same byte for byte.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import _common as common
from bench._common import BENCH, Run

PEER = (("img2dataset==1.47.0",),)
RESIZE = {
    "image_size": 256,
    "resize_mode": "border",
    "resize_only_if_bigger": False,
    "encode_quality": 95,
}
SHARD = 500  # rows
DISTINCT = 256  # pictures that the server has; a list's further URLs show them again
LONGER = 4  # times, the list for memory
GOALS = {"ratio": (">=", 1.0), "memory_growth": ("<=", 1.1)}


def main() -> None:
    """Install the peer, alternate, keep."""
    parser = common.parser(__doc__)
    parser.add_argument("--rows", type=int, default=4 * SHARD, help="of the shorter list")
    parser.add_argument("--rounds", type=int, default=5, help="ours and theirs in turn: so often")
    given = parser.parse_args()
    if given.rows < SHARD * (os.cpu_count() or 1):
        print(f"of {given.rows} rows not every process gets a shard: memory will grow with them")
    command = common.peer("img2dataset", *PEER) / "img2dataset"
    with serve() as host:
        common.keep("download", measure(command, host, given.rows, given.rounds), GOALS)


def measure(command: Path, host: str, rows: int, rounds: int) -> dict[str, Any]:
    """Pairs of runs over the short list, then a pair over the long one."""
    load = common.load()
    short, long = urls(host, rows), urls(host, LONGER * rows)
    pairs = []
    for number in range(rounds):
        pairs.append((run_ours(short, host), run_peer(command, short)))
        rates = [rows / each.sec for each in pairs[-1]]
        print(f"round {number + 1}: {rates[0]:.1f} and img2dataset {rates[1]:.1f} images/s")
    stored, same = compare(rows)
    longs = (run_ours(long, host), run_peer(command, long))
    peaks = [common.median([run.peak_bytes for run in side]) for side in zip(*pairs, strict=True)]
    return {
        **figures(pairs, rows),
        "long_rows": LONGER * rows,
        "long_sec": named([run.sec for run in longs]),
        "long_peak_mb": named([run.peak_bytes / 1e6 for run in longs]),
        "memory_growth": longs[0].peak_bytes / peaks[0],
        "memory_growth_of_img2dataset": longs[1].peak_bytes / peaks[1],
        "stored": stored,
        "same_bytes": same,
        "resize": RESIZE,
        "load_before": load,
        "versions": named(
            [
                common.our_versions("aiohttp", "img2dataset", "opencv-python-headless"),
                common.versions_of(
                    command.parent / "python", ("img2dataset", "opencv-python-headless")
                ),
            ]
        ),
    }


def figures(pairs: Sequence[tuple[Run, Run]], rows: int) -> dict[str, Any]:
    """Of paired runs: rates, processor time, memory, and the medians of their ratios."""
    sides = [[pair[side] for pair in pairs] for side in (0, 1)]
    return {
        "rows": rows,
        "images_per_sec": named([rows / common.median([r.sec for r in s]) for s in sides]),
        "ratio": common.median([peer.sec / mine.sec for mine, peer in pairs]),
        "ratio_by_round": [peer.sec / mine.sec for mine, peer in pairs],
        "cpu_ratio": common.median([peer.cpu_sec / mine.cpu_sec for mine, peer in pairs]),
        "cpu_sec": named([[run.cpu_sec for run in side] for side in sides]),
        "sec": named([[run.sec for run in side] for side in sides]),
        "peak_mb": named([common.median([run.peak_bytes for run in s]) / 1e6 for s in sides]),
    }


def named(both: list[Any]) -> dict[str, Any]:
    """Ours and theirs by name."""
    return dict(zip(("frenchcat", "img2dataset"), both, strict=True))


def run_ours(
    list_: Path, host: str, shard: int = SHARD, more: Mapping[str, Any] | None = None
) -> Run:
    """Our command, into an empty folder; `shard` rows per shard, and `more` settings."""
    out = BENCH / "download-ours"
    shutil.rmtree(out, ignore_errors=True)
    settings = {f"download.resize.{name}": value for name, value in RESIZE.items()}
    settings |= {
        "download.samples_per_shard": shard,
        "download.fetch.connections_per_host": 128,
        "download.fetch.requests_per_sec_per_host": 100_000,
        **(more or {}),
    }
    sets = [part for name, value in settings.items() for part in ("--set", _set(name, value))]
    return common.ours("download", list_, "--out", out, "--allow-host", host, *sets)


def _set(name: str, value: Any) -> str:
    return f"{name}={str(value).lower() if isinstance(value, bool) else value}"


def run_peer(command: Path, list_: Path, shard: int = SHARD) -> Run:
    """The peer's command, into an empty folder."""
    out = BENCH / "download-theirs"
    shutil.rmtree(out, ignore_errors=True)
    options = {
        **RESIZE,
        "url_list": list_,
        "input_format": "parquet",
        "url_col": "url",
        "caption_col": "caption",
        "output_folder": out,
        "output_format": "webdataset",
        "number_sample_per_shard": shard,
        "processes_count": os.cpu_count(),
    }
    return common.run([command, *(f"--{n}={v}" for n, v in options.items())], "img2dataset")


def compare(rows: int) -> tuple[dict[str, int], int]:
    """How many pictures each stored, and how many of them are the same. Exits where one failed."""
    from frenchcat.curate import tars

    found: list[dict[str, bytes]] = []
    for folder in (BENCH / "download-ours" / "shards", BENCH / "download-theirs"):
        stored = {}
        for tar in sorted(folder.glob("*.tar")):
            for member in tars.members(tar):
                if member.extension == "jpg":
                    stored[f"{tar.stem} {member.key[-4:]}"] = tars.read(tar, member)
        found.append(stored)
    counts = named([len(stored) for stored in found])
    if set(counts.values()) != {rows}:
        raise SystemExit(f"not every picture was stored by both: {counts} of {rows}")
    return counts, sum(data == found[1].get(key) for key, data in found[0].items())


# -- the site ------------------------------------------------------------------------------------


def urls(host: str, rows: int) -> Path:
    """A list of so many rows at the server."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = BENCH / f"urls-{rows}.parquet"
    links = [f"http://{host}/{row}.jpg" for row in range(rows)]
    pq.write_table(
        pa.table({"url": links, "caption": list(map(common.caption, range(rows)))}), path
    )
    return path


@contextlib.contextmanager
def serve(bodies: Sequence[bytes] | None = None) -> Iterator[str]:
    """Serve pictures, by default drawings, from memory; gives ``host:port``."""
    bodies = [_jpeg(row) for row in range(DISTINCT)] if bodies is None else bodies
    started: dict[str, Any] = {}
    ready = threading.Event()
    thread = threading.Thread(
        target=lambda: asyncio.run(_serve(bodies, started, ready)), daemon=True
    )
    thread.start()
    ready.wait()
    try:
        yield f"127.0.0.1:{started['port']}"
    finally:
        started["loop"].call_soon_threadsafe(started["end"].set)
        thread.join()


async def _serve(bodies: Sequence[bytes], started: dict[str, Any], ready: threading.Event) -> None:
    from aiohttp import web

    async def answer(request: web.BaseRequest) -> web.Response:
        number = request.path.removeprefix("/").removesuffix(".jpg")
        if not number.isdigit():
            return web.Response(status=404)
        return web.Response(body=bodies[int(number) % len(bodies)], content_type="image/jpeg")

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    end = asyncio.Event()
    port = runner.addresses[0][1]
    started.update(port=port, loop=asyncio.get_running_loop(), end=end)
    ready.set()
    await end.wait()
    await runner.cleanup()


def _jpeg(row: int) -> bytes:
    out = io.BytesIO()
    common.picture(row).save(out, "JPEG", quality=90)
    return out.getvalue()


if __name__ == "__main__":
    main()
