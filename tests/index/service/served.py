"""A small dataset whose vectors the bundled model made, and applications that serve it."""

import base64
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image

from frenchcat.curate.clip.model import Clip
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.stage import record_entry
from frenchcat.index.build import build_index
from frenchcat.index.service.app import create_app
from frenchcat.index.service.drawing import Artist
from frenchcat.index.service.settings import ServeSettings
from tests.embedded import add_shard

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
    record_entry(dataset, "embed", {"settings": {**model, "precision": "fp32"}, "counts": {}})


def index(dataset: Dataset) -> None:
    with dataset.lock():
        build_index(dataset)


def add_columns(dataset: Dataset, folder: str, shard: str = "00000", **columns: Any) -> None:
    """Write scores/, duplicates/ or verdicts/ of a shard, a value a row."""
    with dataset.as_local(f"shards/{shard}.parquet") as path:
        keys = pq.read_table(path, columns=["key"])["key"].to_pylist()
    with dataset.publish("columns") as publication:
        pq.write_table(
            pa.table({"key": keys, **columns}), publication.path(f"{folder}/{shard}.parquet")
        )
    record_entry(dataset, folder, {"settings": {}, "counts": {}})


@contextmanager
def served(
    *datasets: Dataset,
    clip: Clip | None = None,
    raising: bool = True,
    artist: Artist | None = None,
    **settings: Any,
) -> Iterator[TestClient]:
    """A client of an application in this process."""
    settings = {"preload": False, "hosts": ("testserver",), "poll_sec": 0.05, **settings}
    app = create_app(datasets, ServeSettings(**settings), clip, artist)
    with TestClient(app, raise_server_exceptions=raising) as client:
        yield client


def picture(width: int = 32, height: int = 24, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 60)).save(out, kind)
    return out.getvalue()


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def unit(vector: Any) -> NDArray[np.float64]:
    found = np.asarray(vector, np.float64)
    return found / np.linalg.norm(found)
