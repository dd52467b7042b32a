"""Images' CLIP vectors as a condition: variations of an image, and mixtures with a text.

A network with `model.image_vector` is trained on the vectors that its dataset stores, beside the
captions; each is sometimes left out. Drawn with the vector of one image and without a caption, it
gives variations of that image: what CLIP sees in it stays, the rest is drawn anew (DALL-E 2,
2204.06125, section 3.1). Texts and images share the space, so a vector may lie between both; as
there, on the arc (section 3.2 and 3.3). There is no prior that maps texts to vectors of images.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate import files
from frenchcat.curate.command_text import shell_command
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.embeddings import model_of, vectors_of_shard
from frenchcat.curate.errors import ModelMismatch, NotFound, UserError
from frenchcat.curate.image import open_image
from frenchcat.curate.keys import shard_of
from frenchcat.curate.removals import removed_keys
from frenchcat.train.stored import VectorStore

if TYPE_CHECKING:
    from torch import Tensor

    from frenchcat.train.pipeline_text import PipelineText
    from frenchcat.train.rows import TrainingRows
    from frenchcat.train.run import Parts
    from frenchcat.train.settings import TrainSettings
    from frenchcat.train.text import TextEncoder

_ALIGNED = 1e-4  # radians: vectors nearer than that are one


def vectors_of(
    settings: TrainSettings, rows: TrainingRows, text: TextEncoder | PipelineText | None
) -> VectorStore | None:
    """The vectors of a run's rows; None if its network is not told of them.

    Raises `UserError` where a row has none, `ModelMismatch` for those of another model than the
    run's text tower.
    """
    if not settings.model.image_vector or text is None:
        return None
    if settings.data.dataset is None:
        raise UserError(
            "model.image_vector reads the vectors that a dataset stores, and data.tars have none; "
            "give data.dataset, or leave it out"
        )
    dataset = Dataset.open(settings.data.dataset)
    if not dataset.local:
        raise UserError(
            f"model.image_vector reads vectors from a dataset on a disk, and {dataset.root} is not"
        )
    made_by = model_of(dataset)
    if made_by["weights"] != text.digest:
        raise ModelMismatch(
            f"the vectors of {dataset.root} were made by {made_by['model']}, and text.model is "
            f"{text.name}; set text.model and text.pretrained to the former"
        )
    missing: list[str] = []
    for path, wanted in rows.captions_by_tar():
        there = set(_embedded(dataset, Path(path).stem))
        missing += [key for key, _ in wanted if key not in there]
    if missing:
        raise UserError(
            f"{len(missing)} rows have no vector, such as {missing[0]}, and model.image_vector "
            f"needs one of each; run: {shell_command('embed', dataset.root)}, or select others"
        )
    return VectorStore(dataset.path(), len(dataset.shards("download")[0]))


def vector_of(wanted: str, parts: Parts) -> NDArray[np.float32]:
    """The (D,) unit vector of an image: a file, or a key of the dataset that a run was trained on.

    Raises `NotFound` for what is neither, `UserError` for a run that is not told of images.
    """
    if not parts.settings.model.image_vector:
        raise UserError(
            "this model was not trained on images' vectors, so it cannot vary an image; train one "
            "with model.image_vector = true"
        )
    if Path(wanted).is_file():
        from frenchcat.train.steering import clip_of

        found: NDArray[np.float32] = clip_of(parts.settings.text).encode_images(
            [open_image(Path(wanted))]
        )[0]
        return found
    dataset = parts.settings.data.dataset
    if dataset is None:
        raise NotFound(f"there is no image file {wanted}")
    return _vector_of_key(Dataset.open(dataset), wanted)


def _vector_of_key(dataset: Dataset, key: str) -> NDArray[np.float32]:
    shard = shard_of(dataset, key)
    if shard is not None and key not in removed_keys(dataset):
        keys, vectors = vectors_of_shard(dataset, shard)
        if key in keys:
            found: NDArray[np.float32] = vectors[keys.index(key)].astype(np.float32)
            return found
    raise NotFound(f"{key} is neither an image file nor a key of {dataset.root} with a vector")


def mixed(image: Tensor, texts: Tensor, weight: float) -> Tensor:
    """Unit rows between an image (D,) and texts (N, D), at `weight` of the arc: 0 is the image."""
    import torch

    cosine = (texts @ image).clamp(-1, 1)
    angle = torch.arccos(cosine)[:, None]
    arc = ((1 - weight) * angle).sin() * image + (weight * angle).sin() * texts
    found = torch.where(angle > _ALIGNED, arc / angle.sin().clamp(min=_ALIGNED), texts)
    return torch.nn.functional.normalize(found, dim=1)


def _embedded(dataset: Dataset, shard: str) -> list[str]:
    import pyarrow.parquet as pq

    relative = files.METADATA.of(shard)
    if not dataset.exists(relative):
        return []
    keys: list[str] = (
        pq.ParquetFile(dataset.path(relative))
        .read([files.METADATA.key])[files.METADATA.key]
        .to_pylist()
    )
    return keys
