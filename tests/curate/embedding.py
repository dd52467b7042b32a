"""Datasets as the download stage leaves them, made of given pictures, for tests of what follows."""

import contextlib
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.run_stage import run_stage
from frenchcat.curate.stage import Counts, Output, ShardFunction
from tests.curate.clip.models import random_pictures

Row = tuple[bytes | None, str]  # the stored picture's bytes (None: its download failed), caption


@dataclass(frozen=True)
class Given:
    """The download stage, with pictures that are there."""

    shards: Mapping[str, Sequence[Row]]
    licence: str = ""  # a column of the sidecar that nothing else holds
    endings: tuple[str, ...] = ("jpg",)  # of the pictures' names, in turn
    backwards: bool = False  # tar and sidecar in the reverse order of their keys
    name: str = "download"
    version: int = 1
    in_process: bool = True

    def settings(self) -> Mapping[str, str]:
        return {}

    def inputs(self, dataset: Dataset, shard: str) -> Mapping[str, str]:
        rows = [(caption, data or b"") for data, caption in self.shards[shard]]
        made_of = (rows, self.licence, self.endings, self.backwards)
        return {"rows": hashlib.sha256(repr(made_of).encode()).hexdigest()}

    @contextlib.contextmanager
    def start(self, dataset: Dataset) -> Iterator[ShardFunction]:
        yield self._work

    def _work(self, shard: str, output: Output) -> Counts:
        rows = self.shards[shard]
        keys = [f"{shard}{row:04d}" for row in range(len(rows))]
        turn = -1 if self.backwards else 1
        with tarfile.open(output.path(f"shards/{shard}.tar"), "w") as tar:
            for row, key in list(enumerate(keys))[::turn]:
                data, caption = rows[row]
                if data is not None:
                    _add(tar, f"{key}.{self.endings[row % len(self.endings)]}", data)
                    _add(tar, f"{key}.json", json.dumps({"key": key}).encode())
                    _add(tar, f"{key}.txt", caption.encode())
        stored = [data is not None for data, _ in rows]
        table = {
            "url": [f"http://pictures.example/{key}.jpg" for key in keys],
            "image_path": ["the list's own column"] * len(keys),
            "caption": [caption for _, caption in rows],
            "key": keys,
            "status": ["success" if there else "failed_to_download" for there in stored],
            "error_message": [None if there else "http_404" for there in stored],
        }
        table |= {"licence": [self.licence] * len(keys)} if self.licence else {}
        made = pa.table(table).take(list(range(len(keys)))[::turn])
        pq.write_table(made, output.path(f"shards/{shard}.parquet"))
        return {"rows": len(rows), "success": sum(stored)}


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def downloaded(root: Path, shards: Mapping[str, Sequence[Row]], **named: Any) -> Dataset:
    """A dataset at `root` with these shards; `named` are further fields of `Given`."""
    dataset = Dataset.create(root, "given")
    with dataset.lock():
        run_stage(dataset, Given(shards, **named), list(shards))
    return dataset


def encoded(count: int, seed: int = 0) -> list[bytes]:
    """Pictures as files: JPEG, PNG and WebP in turn."""
    files = []
    for number, picture in enumerate(random_pictures(count, seed)):
        file = io.BytesIO()
        picture.convert("RGB").save(file, ("JPEG", "PNG", "WEBP")[number % 3])
        files.append(file.getvalue())
    return files
