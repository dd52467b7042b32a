"""Small embedded datasets with chosen vectors, written through the dataset's own functions."""

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from frenchcat.curate import embed
from frenchcat.curate.dataset import Dataset, digest_of, file_sha256
from frenchcat.curate.stage import record_entry

MODEL = {"model": "synthetic", "weights": "0" * 64, "dimension": 16, "precision": "fp32"}


def unit_rows(rows: int, dimension: int = 16, seed: int = 0) -> NDArray[np.float32]:
    """(rows, dimension) float32 unit vectors."""
    made = np.random.default_rng(seed).standard_normal((rows, dimension)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def picture(number: int) -> bytes:
    """A small PNG whose colour tells its number."""
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (number % 256, number // 256 % 256, 99)).save(out, "PNG")
    return out.getvalue()


def add_shard(
    dataset: Dataset,
    shard: str,
    pictures: NDArray[np.float32],
    texts: NDArray[np.float32] | None = None,
    captions: Sequence[str] | None = None,
    files: Sequence[bytes] | None = None,
) -> list[str]:
    """Write tar, sidecar, embeddings, markers of a shard with one row a vector; gives its keys.

    `files` are the pictures' bytes; `picture(n)` each by default.
    """
    keys = [f"{shard}{row:04d}" for row in range(len(pictures))]
    captions = captions or [f"caption of {key}" for key in keys]
    texts = pictures if texts is None else texts
    urls = [f"http://example.org/{key}.png" for key in keys]
    with dataset.publish("test") as publication:
        with tarfile.open(publication.path(f"shards/{shard}.tar"), "w") as tar:
            for number, key in enumerate(keys):
                info = tarfile.TarInfo(f"{key}.png")
                data = files[number] if files else picture(number)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        columns = {"caption": captions, "url": urls, "width": [8] * len(keys)}
        status = {"status": ["success"] * len(keys), "error_message": [None] * len(keys)}
        uids = [f"{int(key):032x}" for key in keys]
        sidecar = pa.table({"uid": uids, "key": keys, **columns, **status})
        pq.write_table(sidecar, publication.path(f"shards/{shard}.parquet"))
        for relative, rows in (
            (embed.img_emb(shard), pictures),
            (embed.text_emb(shard), texts),
        ):
            np.save(publication.path(relative), rows.astype(np.float16))
        metadata = pa.table({"image_path": keys, **columns})
        pq.write_table(metadata, publication.path(embed.metadata(shard)))
    vectors = digest_of([pictures.tolist(), texts.tolist(), list(captions)])
    for stage in ("download", "embed"):
        outputs = {}
        for relative in (f"shards/{shard}.tar", f"shards/{shard}.parquet"):
            path = Path(dataset.path(relative))
            outputs[relative] = {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
        marker = {"digest": vectors, "inputs": {}, "outputs": outputs, "counts": {}}
        dataset.write_json(f"stages/{stage}/{shard}.json", marker)
    model = {**MODEL, "dimension": pictures.shape[1]}
    record_entry(dataset, "embed", {"settings": model, "counts": {}})
    return keys


def embedded(root: Path, *parts: NDArray[np.float32]) -> Dataset:
    """A dataset of one shard a part."""
    dataset = Dataset.create(root, "synthetic")
    for number, part in enumerate(parts):
        add_shard(dataset, f"{number:05d}", part)
    return dataset
