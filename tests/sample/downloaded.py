"""Datasets of given pictures, as the download leaves them, or the download and the embedding."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.keys import key_of
from frenchcat.curate.run_stage import run_stage
from tests.sample.row import Row
from tests.sample.stages import Given, Vectors

Pair = tuple[bytes | None, str]  # the stored picture's bytes (None: its download failed), caption


def downloaded(
    root: Path,
    shards: Mapping[str, Sequence[Pair]],
    hashed: bool = False,
    licence: str = "",
    endings: tuple[str, ...] = ("jpg",),
    backwards: bool = False,
) -> Dataset:
    """A dataset at `root` with these shards, or what is there with them.

    `hashed` adds the digests that the download writes, `licence` a column that nothing else holds;
    `endings` are those of the pictures' names, in turn.
    """
    own = {"image_path": "the list's own column"} | ({"licence": licence} if licence else {})

    def row(shard: str, number: int, data: bytes | None, caption: str) -> Row:
        return Row(
            url=f"http://pictures.example/{key_of(shard, number)}.jpg",
            caption=caption,
            failed="http_404" if data is None else None,
            picture=data,
            ending=endings[number % len(endings)],
            columns={**own, **(_hashes(data) if hashed else {})},
        )

    rows = {
        shard: [row(shard, number, *pair) for number, pair in enumerate(pairs)]
        for shard, pairs in shards.items()
    }
    dataset = Dataset.create(root, "given")
    with dataset.lock():
        run_stage(dataset, Given(rows, backwards), list(rows))
    return dataset


def given(
    root: Path, shards: Mapping[str, Sequence[Pair]], hashed: bool = True, **vectors: Any
) -> Dataset:
    """A dataset of these rows, downloaded and embedded; `vectors` are fields of `Vectors`."""
    dataset = downloaded(root, shards, hashed)
    rows = {
        shard: [Row(failed=None if data is not None else "http_404") for data, _ in pairs]
        for shard, pairs in shards.items()
    }
    with dataset.lock():
        run_stage(dataset, Vectors(rows, **vectors), list(rows))
    return dataset


def _hashes(data: bytes | None) -> dict[str, str | None]:
    made_of = {"sha256": b"original ", "stored_sha256": b""}
    if data is None:
        return dict.fromkeys(made_of)
    return {name: hashlib.sha256(more + data).hexdigest() for name, more in made_of.items()}
