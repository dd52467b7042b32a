"""Datasets to score: given pictures, hashed as the download hashes, with given vectors."""

import contextlib
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from frenchcat.curate.config import resolve
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.embed import img_emb, metadata, text_emb
from frenchcat.curate.run_stage import run_stage
from frenchcat.curate.score.kinds import Stored
from frenchcat.curate.score.pictures import decode
from frenchcat.curate.score.settings import ScoreSettings
from frenchcat.curate.score.stage import score
from frenchcat.curate.stage import Counts, Engine, Output, ShardFunction, StageReport
from tests.curate.clip.models import random_pictures
from tests.curate.embedding import Given, Row
from tests.embedded import unit_rows

QUICK = ("similarity", "language", "caption", "sharpness", "compression", "pdq", "hash")


@dataclass(frozen=True)
class Hashed(Given):
    """The download stage with given pictures, hashes in the sidecar."""

    def _work(self, shard: str, output: Output) -> Counts:
        counts = Given._work(self, shard, output)
        path = output.path(f"shards/{shard}.parquet")
        table = pq.read_table(path)
        for name, made_of in (("sha256", b"original "), ("stored_sha256", b"")):
            hashes = [
                None if data is None else hashlib.sha256(made_of + data).hexdigest()
                for data, _ in self.shards[shard]
            ]
            table = table.append_column(name, pa.array(hashes, pa.string()))
        pq.write_table(table, path)
        return counts


@dataclass(frozen=True)
class Vectors:
    """The embed stage, with vectors drawn by `seed`; keys in `without` have none."""

    shards: Mapping[str, Sequence[Row]]
    dimension: int = 16
    seed: int = 0
    text_seed: int = 0  # of the captions' vectors alone
    without: tuple[str, ...] = ()
    name: str = "embed"
    version: int = 1
    in_process: bool = True

    def settings(self) -> Mapping[str, Any]:
        made = {"model": "synthetic", "weights": "0" * 64, "precision": "fp32"}
        seeds = [self.seed, self.text_seed]
        return {**made, "dimension": self.dimension, "seed": seeds}

    def inputs(self, dataset: Dataset, shard: str) -> Mapping[str, str]:
        return {"without": " ".join(self.without)}

    @contextlib.contextmanager
    def start(self, dataset: Dataset) -> Iterator[ShardFunction]:
        yield self._work

    def _work(self, shard: str, output: Output) -> Counts:
        listed = enumerate(self.shards[shard])
        keys = [f"{shard}{row:04d}" for row, (data, _) in listed if data is not None]
        keys = [key for key in keys if key not in self.without]
        for path, seed in ((img_emb(shard), 0), (text_emb(shard), 1 + 5000 * self.text_seed)):
            drawn = unit_rows(len(keys), self.dimension, 2 * int(shard) + seed + 1000 * self.seed)
            np.save(output.path(path), drawn.astype(np.float16))
        pq.write_table(pa.table({"image_path": keys}), output.path(metadata(shard)))
        return {"embedded": len(keys)}


def given(
    root: Path, shards: Mapping[str, Sequence[Row]], hashed: bool = True, **vectors: Any
) -> Dataset:
    """A dataset of these rows, downloaded and embedded."""
    dataset = Dataset.create(root, "given")
    with dataset.lock():
        run_stage(dataset, Hashed(shards) if hashed else Given(shards), list(shards))
        run_stage(dataset, Vectors(shards, **vectors), list(shards))
    return dataset


def run(dataset: Dataset, engine: Engine | None = None, clip: Any = None, **s: Any) -> StageReport:
    """Score with these settings; without `scores`, all that need no network."""
    with dataset.lock():
        return score(dataset, settings(**s), clip, engine)


def settings(**named: Any) -> ScoreSettings:
    """Settings by name, checked."""
    return resolve(ScoreSettings, {"scores": QUICK, **named})


def scores(dataset: Dataset, shard: str = "00000") -> dict[str, dict[str, Any]]:
    """Key -> a row of scores, in the file's order."""
    rows = pq.read_table(dataset.path(f"scores/{shard}.parquet")).to_pylist()
    return {row["key"]: row for row in rows}


def jpeg(pixels: NDArray[np.uint8] | Image.Image, quality: int = 90) -> bytes:
    """Pixels as a JPEG file."""
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    file = io.BytesIO()
    picture.convert("RGB").save(file, "JPEG", quality=quality)
    return file.getvalue()


def stored(data: bytes) -> Stored:
    """A file as a picture score sees it."""
    found = decode(data)
    assert found is not None
    return found


def photographs(count: int, seed: int = 0) -> list[bytes]:
    """JPEGs with large shapes and grain."""
    rng = np.random.default_rng(seed)
    made = []
    for picture in random_pictures(count, seed):
        smooth = picture.convert("RGB").resize((120, 90), Image.Resampling.BICUBIC)
        grain = rng.normal(0, 12, (90, 120, 1))
        made.append(jpeg(np.clip(np.asarray(smooth) + grain, 0, 255).astype(np.uint8)))
    return made
