"""Embeddings -> kNN index: pictures and captions, exact.

Reads embeddings/, writes together ``index/image.index``, ``index/text.index`` (faiss),
``index/rows.arrow`` (index/rows.py) and ``index/index.json`` (what they were made of).

The vectors are kept as the float16 numbers that they were stored as, so search is exact over the
embeddings on disk. Every embedded row is indexed, and nothing else: a shard whose vectors and
metadata differ in number, or that another model made, is refused. Cost: linear in rows; memory is
that of the index, 2 bytes a number.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate import embed
from curate.config import settings
from curate.dataset import Dataset, digest_of, file_sha256
from curate.errors import UserError
from curate.stage import Progress, Silent, marker, record_entry
from index import rows

Vectors = NDArray[np.float32]

STAGE = "index"
VERSION = 1
JSON = "index/index.json"
MODALITIES = ("image", "text")
EXACT = "SQfp16"


@settings
class IndexSettings:
    """How the kNN index is built."""

    factory: str = "auto"
    """`auto` (exact), or any faiss factory string (`SQfp16`, `HNSW32`, `IVF1024,Flat`)."""


def relative(modality: str) -> str:
    """Where the faiss index of a modality lies."""
    return f"index/{modality}.index"


def build_index(
    dataset: Dataset, settings: IndexSettings | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Build the index unless it is up to date; gives index.json. The lock is held.

    Raises `UserError` where there are no embeddings, where they are of several models or
    misaligned with their metadata, or where faiss does not know the factory.
    """
    settings, progress = settings or IndexSettings(), progress or Silent()
    model = embed.model_of(dataset)
    shards = dataset.shards(embed.STAGE)
    made_of = _made_of(dataset, settings, model, shards)
    found = current(dataset)
    if found is None or found["made_of"] != made_of or _cut(dataset, found):
        found = _build(dataset, settings, made_of, shards, progress)
    counts = dict.fromkeys(MODALITIES, found["rows"])
    entry = {"version": VERSION, "settings": {"factory": settings.factory}}
    record_entry(dataset, STAGE, {**entry, "counts": counts, "digest": digest_of(made_of)})
    return found


def current(dataset: Dataset) -> dict[str, Any] | None:
    """The value of index.json; None where there is no index."""
    if not dataset.exists(JSON):
        return None
    found: dict[str, Any] = dataset.read_json(JSON)
    return found


def _made_of(
    dataset: Dataset, settings: IndexSettings, model: dict[str, Any], shards: Sequence[str]
) -> dict[str, Any]:
    """Everything that the index depends on."""
    digests = {}
    for shard in shards:
        found = marker(dataset, embed.STAGE, shard)
        assert found is not None
        digests[shard] = found["digest"]
    return {
        "version": VERSION,
        "factory": settings.factory,
        "model": model["model"],
        "weights": model["weights"],
        "dimension": model["dimension"],
        "shards": digests,
    }


def _cut(dataset: Dataset, found: dict[str, Any]) -> bool:
    return any(dataset.size(rel) != file["bytes"] for rel, file in found["files"].items())


def _build(
    dataset: Dataset,
    settings: IndexSettings,
    made_of: dict[str, Any],
    shards: Sequence[str],
    progress: Progress,
) -> dict[str, Any]:
    import faiss

    tables = [rows.shard_rows(dataset, shard) for shard in shards]
    count = sum(table.num_rows for table in tables)
    if not count:
        raise UserError(f"{dataset.root} has no embedded picture to index; see frenchcat info")
    progress.begin(STAGE, len(shards))
    with contextlib.ExitStack() as stack:
        publication = stack.enter_context(dataset.publish(STAGE))
        stack.callback(progress.end)
        rows.write_rows(publication.path(rows.ROWS), tables)
        for modality in MODALITIES:
            parts = [vectors(dataset, modality, shard, made_of["dimension"]) for shard in shards]
            index = make_index(parts, settings.factory, progress.advance)
            faiss.write_index(index, str(publication.path(relative(modality))))
        files = {
            name: {
                "bytes": (publication.folder / name).stat().st_size,
                "sha256": file_sha256(publication.folder / name),
            }
            for name in publication.relatives
        }
        found = {"made_of": made_of, "rows": count, "files": files}
        publication.path(JSON).write_text(_pretty(found), encoding="utf-8")
    return found


def _pretty(value: Any) -> str:
    import json

    return json.dumps(value, indent=1, sort_keys=True) + "\n"


def make_index(
    parts: Sequence[Vectors], factory: str, advance: Callable[[int], None] | None = None
) -> Any:
    """A faiss index of the parts' rows in order, by inner product. Raises `UserError`.

    `parts` are (n, D) float32; `factory` is `auto` or one of faiss's factory strings.
    """
    import faiss

    dimension = parts[0].shape[1]
    name = EXACT if factory == "auto" else factory
    try:
        index = faiss.index_factory(dimension, name, faiss.METRIC_INNER_PRODUCT)
        if not index.is_trained:
            index.train(np.concatenate(parts))
    except RuntimeError as error:
        raise UserError(
            f"faiss makes no index {factory!r} of {sum(map(len, parts))} rows and {dimension} "
            f"dimensions ({_said(error)}); set index.factory to auto"
        ) from None
    for part in parts:
        index.add(part)
        if advance is not None:
            advance(len(part))
    return index


def _said(error: RuntimeError) -> str:
    return str(error).strip().split("\n")[-1].split("Error: ")[-1][:120]


def vectors(dataset: Dataset, modality: str, shard: str, dimension: int) -> Vectors:
    """A shard's embeddings as (N, D) float32. Raises `UserError` where they do not fit."""
    import pyarrow.parquet as pq

    where = embed.img_emb(shard) if modality == "image" else embed.text_emb(shard)
    with dataset.as_local(where) as path:
        found: Vectors = np.load(path).astype(np.float32)
    with dataset.as_local(embed.metadata(shard)) as path:
        expected = (pq.read_metadata(path).num_rows, dimension)
    if found.shape != expected:
        raise UserError(
            f"{dataset.path(where)} holds {found.shape} numbers where its metadata and model say "
            f"{expected}; delete it and run: frenchcat embed {dataset.root}"
        )
    return found
