"""A shard's stored images, decoded once and shown to every score that looks at pixels.

Reads a shard's tar in key order, gives the scores' columns. An image that does not decode has no
scores. Batches start again in every shard, so a shard's numbers do not depend on what ran before.
Memory: one batch of images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from frenchcat.curate.errors import UnreadableImage
from frenchcat.curate.score.kinds import DecodedImage, Measure

BATCH = 32  # images


def measured(
    tar: Path, measures: Sequence[Measure], advance: Callable[[int], None]
) -> dict[str, dict[str, Any]]:
    """Key -> column -> value of a tar's images; those that do not decode are left out.

    Raises `UserError` where the tar is broken.
    """
    from frenchcat.curate.tars import image_members

    found: dict[str, dict[str, Any]] = {}
    there = sorted(image_members(tar).values(), key=lambda member: member.key)
    for start in range(0, len(there), BATCH):
        chosen = there[start : start + BATCH]
        batch = list(_decoded(tar, chosen))
        good = [(key, stored) for key, stored in batch if stored is not None]
        for measure in measures if good else ():
            _put(found, [key for key, _ in good], measure([stored for _, stored in good]))
        advance(len(chosen))
    return found


def decode(data: bytes) -> DecodedImage | None:
    """A file as the scores see it; None where it does not decode."""
    from frenchcat.curate.image import open_image

    try:
        return DecodedImage(data, np.asarray(open_image(data)))
    except (UnreadableImage, MemoryError):
        return None


def _decoded(tar: Path, chosen: Sequence[Any]) -> Iterator[tuple[str, DecodedImage | None]]:
    from frenchcat.curate.tars import read

    for member in chosen:
        yield member.key, decode(read(tar, member))


def _put(
    found: dict[str, dict[str, Any]], keys: list[str], columns: Mapping[str, Sequence[Any] | Any]
) -> None:
    for name, values in columns.items():
        for key, value in zip(keys, values, strict=True):
            found.setdefault(key, {})[name] = value
