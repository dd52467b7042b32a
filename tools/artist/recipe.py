"""The material through the pipeline: list, serve, download, dedup, verdict, select, embed, count.

Reads the work folder's packages (materials.py), writes below it::

    pictures/<package>/<name>.png    rendered, 128 px on white
    urls.parquet                     url, caption, name, style, held_out, license, creator, source

and the dataset with its selections: SELECTION is trained on, HELD_OUT is not. Counts of every step,
licences and the held-out names go to COUNTS beside the dataset. The same call again goes on.
"""

from __future__ import annotations

import http.server
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from frenchcat import api
from frenchcat.curate.atomic import write_whole
from frenchcat.curate.json_text import json_text
from tools.artist.captions import caption, held_out, texts_by_name
from tools.artist.materials import SOURCES, Drawing, drawings, fetch
from tools.artist.render import write_pictures

CONFIG = Path(__file__).with_name("recipe.toml")
SELECTION, HELD_OUT = "artist", "held-out"
COUNTS = "artist.json"
COUNTED = ("rows", "downloaded", "failed_reasons", "embedded", "kept", "dropped", "indexed")
HOST = "127.0.0.1"


def make(
    work: Path, dataset: Path, limit: int | None = None, *, embed: bool = True
) -> dict[str, Any]:
    """Every step, from packages to the selections; gives the counts, which it writes, too.

    Without `embed` it ends with the selections, which is enough to begin the training.
    `limit` takes that many names of the material, those that most styles have first. Raises
    `Missing` for a package that cannot be had here.
    """
    fetch(work)
    every = list(drawings(work))
    chosen = every if limit is None else _first(every, limit)
    out = held_out(every)
    pictures = work / "pictures"
    paths = write_pictures(chosen, pictures)
    urls = dataset.with_name(f"{dataset.name}-urls.parquet")
    with served(pictures, _port(urls)) as base:
        write_list(urls, base, paths, out, work)
        host = urlsplit(base).netloc
        opened = api.download(str(urls), dataset, config=CONFIG, allow_hosts=[host], yes=True)
    # What is trained on follows from bytes and perceptual hashes; vectors, which cost most, are
    # for search and receipts, and come last.
    opened.score(config=CONFIG)
    opened.dedup(config=CONFIG)
    opened.verdict(config=CONFIG)
    trained = opened.select(SELECTION, "keep and held_out = ''", replace=True)
    kept_out = opened.select(HELD_OUT, "keep and held_out <> ''", replace=True)
    if not embed:
        return {"selections": {SELECTION: len(trained), HELD_OUT: len(kept_out)}}
    opened.embed(config=CONFIG, yes=True).index(config=CONFIG)
    found = opened.info().as_dict()
    counts = {
        "sources": [vars(source) | {"drawings": n} for source, n in _by_source(every)],
        "names": len({drawing.name for drawing in every}),
        "drawings": len(every),
        "taken": len(chosen),
        "not_rendered": sorted(f"{d.source.name}/{d.slug}" for d in chosen if d not in paths),
        "pipeline": {name: found[name] for name in COUNTED},
        "selections": {SELECTION: len(trained), HELD_OUT: len(kept_out)},
        "held_out": dict(sorted(Counter(out.values()).items())),
        "held_out_concepts": sorted({name for (name, _), kind in out.items() if kind == "concept"}),
    }
    write_whole(dataset.with_name(COUNTS), json_text(counts, indent=1) + "\n")
    return counts


def write_list(
    path: Path,
    base: str,
    paths: dict[Drawing, str],
    out: dict[tuple[str, str], str],
    work: Path,
) -> None:
    """The URL list of rendered drawings, licences and what is held out with it."""
    texts = texts_by_name(work)
    rows = [
        {
            "url": f"{base}/{quote(address)}",
            "caption": caption(drawing, texts),
            "name": drawing.name,
            "style": drawing.source.style,
            "held_out": out.get((drawing.name, drawing.source.style), ""),
            "license": drawing.source.licence,
            "creator": drawing.source.creator,
            "source": drawing.source.home,
        }
        for drawing, address in paths.items()
    ]
    rows.sort(key=lambda row: (row["name"], row["style"]))
    pq.write_table(pa.Table.from_pylist(rows), path)


@contextmanager
def served(folder: Path, port: int) -> Iterator[str]:
    """A folder's files over HTTP on the loopback address; gives the base address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, directory=str(folder), **more)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        request_queue_size = 128

    with Server((HOST, port), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://{HOST}:{server.server_port}"
        finally:
            server.shutdown()


def _port(urls: Path) -> int:
    """That of a list that is there: the same command again has the same URLs. Else any."""
    if not urls.exists():
        return 0
    return urlsplit(pq.read_table(urls, columns=["url"])["url"][0].as_py()).port or 0


def _first(every: Sequence[Drawing], limit: int) -> list[Drawing]:
    styles = Counter(drawing.name for drawing in every)
    names = {name for name, _ in sorted(styles.items(), key=lambda one: (-one[1], one[0]))[:limit]}
    return [drawing for drawing in every if drawing.name in names]


def _by_source(every: Sequence[Drawing]) -> list[tuple[Any, int]]:
    found = Counter(drawing.source for drawing in every)
    return [(source, found[source]) for source in SOURCES]
