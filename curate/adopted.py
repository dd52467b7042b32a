"""Whether a dataset was adopted, and from what: other tools' rows have no URL list behind them.

Reads dataset.json and markers, writes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from frenchcat.curate import files
from frenchcat.curate.errors import UserError
from frenchcat.curate.markers import outputs_of

if TYPE_CHECKING:
    from frenchcat.curate.dataset import Dataset

TEXT_VECTORS = "text_vectors"
"""Of the stage `embed`: "image" where an adopted folder had no vectors of captions, and those of
the images stand for them."""


def refuse_adopted(dataset: Dataset) -> None:
    """Raise `UserError` for an adopted dataset: a download would put other rows in its shards."""
    if kind := dataset.manifest().adopted_from:
        raise UserError(
            f"{dataset.root} was adopted from {kind}, and a download would replace its rows; "
            "give the URL list a dataset of its own: --out with a new folder"
        )


def stores_images(dataset: Dataset, shard: str) -> bool:
    """Whether a shard has a tar of images; one adopted from vectors alone has none."""
    return files.TAR.of(shard) in outputs_of(dataset, "download", shard)


def without_images(dataset: Dataset) -> bool:
    """Whether a dataset was adopted without images: it has vectors and rows, and no tar."""
    if dataset.manifest().adopted_from is None:
        return False
    shards = dataset.shards("download")
    return bool(shards) and not stores_images(dataset, shards[0])
