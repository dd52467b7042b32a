"""A small dataset whose vectors the bundled model made, and applications that serve it."""

import base64
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from frenchcat.curate.clip.model import Clip
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.manifest import StageEntry
from frenchcat.curate.markers import record_entry
from frenchcat.index.build import build_index
from frenchcat.index.service.app import create_app
from frenchcat.index.service.drawing import DrawBackend
from frenchcat.index.service.settings import ServeSettings
from tests.sample.embedded import add_shard

CAPTIONS = (
    "a french cat with a beret",
    "a black dog in the snow",
    "a red car",
    "a steam train",
    "a cup of coffee",
    "the sea at night",
    "a cat asleep on a chair",
    "a bridge over a river",
)
NAME = "cats"


def make_dataset(
    root: Path, clip: Clip, captions: Sequence[str] = CAPTIONS, shards: int = 1
) -> Dataset:
    """Rows whose picture and caption vectors are those of their captions, indexed."""
    dataset = Dataset.create(root, NAME)
    for number in range(shards):
        words = [f"{text} {number}" if number else text for text in captions]
        vectors = clip.encode_texts(words)
        add_shard(dataset, f"{number:05d}", vectors, captions=words)
    named_by(dataset, clip)
    index(dataset)
    return dataset


def named_by(dataset: Dataset, clip: Clip) -> None:
    """Have the dataset say that this model made its vectors."""
    model = {"model": clip.name, "weights": clip.digest, "dimension": clip.dimension}
    record_entry(dataset, "embed", StageEntry(settings={**model, "precision": "fp32"}))


def index(dataset: Dataset) -> None:
    with dataset.lock():
        build_index(dataset)


@contextmanager
def served(
    *datasets: Dataset,
    clip: Clip | None = None,
    raising: bool = True,
    draw_backend: DrawBackend | None = None,
    **settings: Any,
) -> Iterator[TestClient]:
    """A client of an application in this process."""
    settings = {"preload": False, "hosts": ("testserver",), "poll_sec": 0.05, **settings}
    app = create_app(datasets, ServeSettings(**settings), clip, draw_backend)
    with TestClient(app, raise_server_exceptions=raising) as client:
        yield client


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()
