"""A dataset's vectors as files, in clip-retrieval's layout: where they lie, and whose they are.

Written for a shard, by the stage `embed` or by an adoption::

    embeddings/img_emb/img_emb_00000.npy      (N, D) float16, unit rows, in key order
    embeddings/text_emb/text_emb_00000.npy    the captions' vectors, row for row the same keys
    embeddings/metadata/metadata_00000.parquet  image_path (= key), caption, the sidecar's columns
    embeddings/failed/failed_00000.parquet    key, reason: images that have no vector

Every vector names its model: dataset.json says which one made them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate import files
from frenchcat.curate.adopted import without_images
from frenchcat.curate.command_text import shell_command
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import ModelMismatch, NotFound, UserError
from frenchcat.curate.failures import COLUMNS
from frenchcat.curate.list_names import KEY, base_of, beside
from frenchcat.curate.parquets import read_parquet

if TYPE_CHECKING:
    import pyarrow as pa

    from frenchcat.curate.clip.model import Clip
    from frenchcat.curate.stage import Output

STAGE = "embed"
_NOT_METADATA = ("caption", "status", "error_message", *COLUMNS)  # or by name


def vectors_of_shard(
    dataset: Dataset, shard: str, by: str = "image"
) -> tuple[list[str], NDArray[np.float16]]:
    """A shard's keys and their (N, D) float16 vectors, of images (`image`) or captions (`text`).

    Raises `UserError` where `by` is neither, FileNotFoundError where the shard has no vectors.
    """
    if by not in files.EMBEDDINGS:
        raise UserError(f"by is {by!r}; it is one of: {', '.join(files.EMBEDDINGS)}")
    with dataset.as_local(files.METADATA.of(shard)) as path:
        keys = read_parquet(path, columns=["image_path"])["image_path"].to_pylist()
    with dataset.as_local(files.EMBEDDINGS[by].of(shard)) as path:
        return keys, np.load(path)


def write_shard(
    output: Output,
    shard: str,
    pictures: NDArray[np.float32],
    texts: NDArray[np.float32],
    rows: pa.Table,
    failed: dict[str, str],
) -> None:
    """Write a shard's (N, D) unit vectors beside their N rows of the sidecar, and what has none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    np.save(output.path(files.IMG_EMB.of(shard)), pictures.astype(np.float16))
    np.save(output.path(files.TEXT_EMB.of(shard)), texts.astype(np.float16))
    others = [name for name in rows.column_names if name not in _NOT_METADATA]
    columns = {KEY: rows["key"], "caption": rows["caption"]}
    columns |= {beside(name) if base_of(name) == KEY else name: rows[name] for name in others}
    pq.write_table(pa.table(columns), output.path(files.METADATA.of(shard)), compression="zstd")
    reasons = {"key": sorted(failed), "reason": [failed[key] for key in sorted(failed)]}
    schema = pa.schema([("key", pa.string()), ("reason", pa.string())])
    path = output.path(files.NOT_EMBEDDED.of(shard))
    pq.write_table(pa.table(reasons, schema), path, compression="zstd")


def model_of(dataset: Dataset) -> Mapping[str, Any]:
    """What made a dataset's vectors: model, weights (digest), dimension, precision.

    Raises `UserError` where it has none.
    """
    made_by = dataset.manifest().entry(STAGE).settings
    if made_by is None:
        dataset.require_shards()
        raise NotFound(
            f"{dataset.root} has no embeddings; run: {shell_command('embed', dataset.root)}"
        )
    return made_by


def require_same_model(dataset: Dataset, clip: Clip) -> None:
    """Raise `UserError` where the dataset's vectors were made by another model than `clip`."""
    made_by = model_of(dataset)
    if made_by["weights"] != clip.digest:
        said = f"the vectors of {dataset.root} were made by {made_by['model']}"
        if without_images(dataset):  # nothing can be embedded again
            again = shell_command("adopt", "FOLDER", "--out", dataset.root, "--config", "FILE")
            raise ModelMismatch(
                f"{said}, not by {clip.name}, and there are no images to embed again; name the "
                f"model that made them: {again}; "
                "Python's search(vector=…) needs no model"
            )
        raise ModelMismatch(
            f"{said}, not by {clip.name}; search with that model, or run: "
            f"{shell_command('embed', dataset.root, '--config', 'FILE')}"
        )
