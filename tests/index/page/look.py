"""A dataset with something for every control of the page, and servers of it at real ports."""

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn

from frenchcat.curate.clip.model import Clip
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.removals import removed_keys
from frenchcat.index.search import Searcher
from frenchcat.index.service.app import create_app
from frenchcat.index.service.drawing import DrawBackend
from frenchcat.index.service.settings import ServeSettings
from frenchcat.used_route import mount_used
from tests.index.service.served import index, named_by
from tests.sample.columns import add_columns
from tests.sample.embedded import add_shard
from tests.sample.row import Row
from tests.sample.write import write

NAME = "cats"
XSS = "<img src=x onerror=\"document.title='taken'\"> a cat on a fence"
LONG = "a cat asleep on a chair by the window of a small house on a hill above the sea"
CAPTIONS = (
    "a french cat with a beret",
    XSS,
    LONG,
    "a cat that is unsafe",
    "a cat that a verdict drops",
    "a cat, copied",
    "a cat, the copy",
    "a cat with an address",
    "a cat with the same address",
    "a cat whose picture is broken",
    "a black dog in the snow",
    "a red car",
    "a bridge over a river",
    *(f"a cat, number {number}" for number in range(60)),
)
AT = {text: number for number, text in enumerate(CAPTIONS)}
KEYS = [f"00000{number:04d}" for number in range(len(CAPTIONS))]
KEY = dict(zip(CAPTIONS, KEYS, strict=True))
SECRET = "a-key-of-sixteen-characters"


def make(root: Path, clip: Clip) -> Dataset:
    """Rows whose picture vectors are their captions'; the caption vectors are the next row's."""
    dataset = Dataset.create(root, NAME)
    vectors = clip.encode_texts(CAPTIONS)
    shared = AT["a cat with an address"]
    urls = [f"http://example.org/{key}.png" for key in KEYS]
    urls[AT["a cat with the same address"]] = urls[shared]
    licences = ["http://creativecommons.org/licenses/by-sa/4.0/"] * len(KEYS)
    own = {"url": urls, "creator": ["Colette"] * len(KEYS), "license": licences}
    add_shard(dataset, "00000", vectors, np.roll(vectors, 11, axis=0), CAPTIONS, **own)
    named_by(dataset, clip)
    index(dataset)
    _judge(dataset)
    _break(dataset, KEY["a cat whose picture is broken"])
    address = f"http://example.org/{'a-long-path-' * 12}"
    failed = [Row(url=f"{address}{n}", caption=LONG * 3, failed="http_404: gone") for n in "ab"]
    failed += [Row(failed="opted_out:x_robots_tag: noai")]
    write(dataset, "00001", failed, ("tar", "sidecar"))
    return dataset


def _judge(dataset: Dataset) -> None:
    count = len(CAPTIONS)
    original, copy = AT["a cat, copied"], AT["a cat, the copy"]
    unsafe = [0.9 if row == AT["a cat that is unsafe"] else 0.0 for row in range(count)]
    keep = [row != AT["a cat that a verdict drops"] for row in range(count)]
    clusters = [KEYS[original if row == copy else row] for row in range(count)]
    add_columns(dataset, "scores", punsafe=unsafe)
    add_columns(
        dataset, "verdicts", keep=keep, reason=[None if kept else "too_small" for kept in keep]
    )
    add_columns(
        dataset,
        "duplicates",
        cluster=clusters,
        duplicate_of=[KEYS[original] if row == copy else None for row in range(count)],
        kind=["semantic" if row == copy else None for row in range(count)],
        multiplicity=[2 if row in (original, copy) else 1 for row in range(count)],
        contradicting=[1 if row in (original, copy) else 0 for row in range(count)],
        also_seen_as=[KEYS[copy] if row == original else None for row in range(count)],
    )


def _break(dataset: Dataset, key: str) -> None:
    """Overwrite a row's picture in its tar."""
    searcher = Searcher(dataset)
    (at,) = searcher.positions([int(key)])
    hit = searcher.hit(int(at))
    with open(dataset.path(f"shards/{hit.shard}.tar"), "r+b") as tar:
        tar.seek(hit.offset)
        tar.write(b"x" * hit.size)


def left(dataset: Dataset) -> int:
    """How many rows are not removed."""
    return len(set(KEYS) - removed_keys(dataset))


def content_policy(folder: Path, clip: Clip) -> dict[str, str]:
    """Files of ratings, of which nine is a red car, and of prompts, of which the dog is violent."""
    words = ["a cat", "a red car", "a bridge over a river", "a black dog in the snow"]
    cat, car, bridge, dog = clip.encode_texts(words)
    ratings = np.zeros((10, len(cat)), np.float32)
    ratings[9] = car
    np.save(folder / "ratings.npy", ratings)
    np.save(folder / "violence.npy", np.stack([cat + car + bridge, 1.5 * dog]))
    return {name: str(folder / f"{name}.npy") for name in ("ratings", "violence")}


@contextlib.contextmanager
def serving(
    datasets: Sequence[Dataset],
    clip: Clip,
    draw_backend: DrawBackend | None = None,
    **settings: Any,
) -> Iterator[str]:
    """The address of a service at a port of its own."""
    # A busy machine is no failure.
    told = ServeSettings(**{"poll_sec": 0.1, "preload": False, "condition_sec": 60, **settings})
    app = create_app(datasets, told, clip, draw_backend)
    mount_used(app)  # as `frenchcat serve` does
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()
