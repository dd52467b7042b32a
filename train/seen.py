"""Training images as a model saw them: at its size and crop, in CLIP space and by pixels.

Made from a run's rows and settings, and kept in the run's folder (``rows/seen-<model>.npz``) for
later drawings. Both sides of a comparison are then images of one size: a drawing of 64 pixels is
more similar to a photograph at 64 pixels than to the full-size photograph.

Two measures. `similarity` is the cosine in CLIP space: similar content. `difference` is the root
mean square over the RGB values (0 … 255) of thumbnails with THUMB pixels per side: similar pixels.
A memorised image is first by both. Cost: one decoding and one CLIP pass per training image, once;
LIMIT images at most.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.atomic import write_whole
from frenchcat.train.layout import buckets_of
from frenchcat.train.pictures import edges_of, enough_of, fitted, shapes_of, without_randomness
from frenchcat.train.randomness import SampleRandomness
from frenchcat.train.reader import Reader
from frenchcat.train.settings import DataSettings

if TYPE_CHECKING:
    from PIL.Image import Image

    from frenchcat.curate.clip.model import Clip
    from frenchcat.train.rows import TrainingRows

LIMIT = 20_000
"""Training images that are embedded anew for receipts; for a larger set the stored vectors are
used.
"""
THUMB = 8
_BLOCK = 256


@dataclass(frozen=True, eq=False)
class Seen:
    """Training images, one per key."""

    keys: tuple[str, ...]
    vectors: NDArray[np.float16]  # (N, D) unit rows
    thumbs: NDArray[np.uint8]  # (N, THUMB * THUMB * 3)

    def __len__(self) -> int:
        return len(self.keys)

    def similarities(self, drawn: NDArray[np.float32]) -> NDArray[np.float32]:
        """(M, N) cosines with unit rows (M, D)."""
        found: NDArray[np.float32] = drawn @ self.vectors.astype(np.float32).T
        return found

    def differences(self, thumbs: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(M, N) root mean square differences from thumbnails (M, THUMB * THUMB * 3)."""
        ours, theirs = self.thumbs.astype(np.float32), thumbs.astype(np.float32)
        squares = (theirs**2).sum(1)[:, None] + (ours**2).sum(1)[None] - 2 * theirs @ ours.T
        found: NDArray[np.float32] = np.sqrt(squares.clip(min=0) / ours.shape[1])
        return found


def thumbs_of(pictures: Sequence[Image]) -> NDArray[np.uint8]:
    """(N, THUMB * THUMB * 3): the images' means over a grid, whatever their sizes."""
    from PIL import Image as Images

    small = [one.convert("RGB").resize((THUMB, THUMB), Images.Resampling.BOX) for one in pictures]
    return np.stack([np.asarray(one, np.uint8).reshape(-1) for one in small])


def view_of(data: DataSettings) -> Callable[[Image], Image]:
    """How a model with these settings sees an image: its size, its crop, unflipped."""
    from PIL import Image as Images

    still, plain = SampleRandomness(0, 0, "seen"), without_randomness(data)
    shapes, edges = shapes_of(data), edges_of(data.aspects)

    def seen(picture: Image) -> Image:
        buckets = buckets_of(np.array([picture.width / picture.height]), edges)
        shape = shapes[0 if buckets is None else int(buckets[0])]
        return Images.fromarray(fitted(picture, shape, plain, still))

    return seen


def seen_of(rows: TrainingRows, data: DataSettings, clip: Clip) -> Seen:
    """Every training image, embedded as it was seen; read from the run's folder if it is kept
    there.

    A damaged image, which was never trained on, is left out. Raises `UserError` if a tar is gone or
    changed, and nothing is kept.
    """
    path = rows.folder / f"seen-{clip.digest[:16]}-{data.size}-{data.crop}.npz"
    there = _read(path, rows.digest)
    if there is not None:
        return there
    rows.check_tars()
    held_out = set(rows.held_out)
    numbers = np.array([n for n in range(len(rows)) if n not in held_out], np.int64)
    reader, view = Reader(rows.folder, enough_of(data)), view_of(data)
    keys: list[str] = []
    vectors, thumbs = [np.zeros((0, clip.dimension), np.float16)], []
    for start in range(0, len(numbers), _BLOCK):
        samples = reader.sound(numbers[start : start + _BLOCK])
        pictures = [view(sample.picture) for sample in samples]
        keys += [sample.key for sample in samples]
        if pictures:
            vectors.append(clip.encode_images(pictures).astype(np.float16))
            thumbs.append(thumbs_of(pictures))
    empty = np.zeros((0, THUMB * THUMB * 3), np.uint8)
    made = Seen(tuple(keys), np.concatenate(vectors), np.concatenate([empty, *thumbs]))
    _keep(path, made, rows.digest)
    return made


def _read(path: Path, digest: str) -> Seen | None:
    """What was kept, if it is of these rows."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            if str(kept["digest"]) != digest:
                return None
            return Seen(tuple(kept["keys"].tolist()), kept["vectors"], kept["thumbs"])
    except (OSError, ValueError, KeyError):
        return None


def _keep(path: Path, made: Seen, digest: str) -> None:
    """Write it beside the rows; skipped if the run cannot be written."""
    import contextlib
    import io

    out = io.BytesIO()
    keys = np.array(made.keys, dtype=np.str_)
    np.savez(out, digest=digest, keys=keys, vectors=made.vectors, thumbs=made.thumbs)
    with contextlib.suppress(OSError):
        write_whole(path, out.getvalue())
