"""Receipts: the training images nearest to drawn ones, in CLIP space and by pixels.

Reads a run's rows and its dataset's index; keeps what it computes beside the rows (seen.py). All
rows of the run's selection are compared, and no others: exact, and linear in the selection.
Training images are compared as the model saw them, at its size and crop. For a selection of more
than `seen.LIMIT`, the dataset's stored vectors of whole images are compared instead, and no pixels;
the note says so.

Similarity does not prove copying, and dissimilarity does not rule it out: an embedding tells what
an image shows, not which training images changed the weights (2511.10721). `SAID` is part of every
receipt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.curate.licence import CREATORS, licence_of_row
from frenchcat.train.rows import TrainingRows, open_rows
from frenchcat.train.seen import LIMIT, Seen, seen_of, thumbs_of
from frenchcat.train.settings import DataSettings

if TYPE_CHECKING:
    from PIL.Image import Image

    from frenchcat.index.search import Hit, Searcher
    from frenchcat.train.run import Parts

SAID = (
    "nearest among the training images, as the model saw them: by cosine in the dataset's CLIP "
    "space, and by pixels; near means alike in what is shown, not copied from, and a copied detail "
    "may have no near neighbour (arXiv 2511.10721)"
)
_BLOCK = 65_536


@dataclass(frozen=True)
class Neighbour:
    """A training image and its similarity."""

    key: str
    similarity: float  # cosine
    url: str | None
    creator: str | None
    licence: str | None
    caption: str | None
    difference: float | None = None  # of thumbnails' RGB values, 0 … 255, root mean square


@dataclass(frozen=True)
class Receipts:
    """For each image its neighbours, nearest first; empty lists if `note` says why."""

    neighbours: list[list[Neighbour]]
    compared: int = 0  # training images
    note: str | None = None
    by_pixels: list[list[Neighbour]] = field(default_factory=list)  # smallest difference first
    said: str = field(default=SAID)


def receipts_of(data: DataSettings, rows: Path, pictures: Sequence[Image], k: int) -> Receipts:
    """The k nearest training images of each drawn one; `rows` is the run's folder of them.

    Does not fail if the dataset is gone, has no index or its model is unavailable: the note says
    so.
    """
    none: list[list[Neighbour]] = [[] for _ in pictures]
    if data.dataset is None:
        return Receipts(none, note=f"not compared: {data.tars} are foreign tars without an index")
    found = open_rows(rows)
    if found is None:
        return Receipts(none, note=f"not compared: the run has no rows any more ({rows})")
    try:
        from frenchcat.index.search import Searcher

        searcher = Searcher(Dataset.open(data.dataset))
        drawn = searcher.clip.encode_images(list(pictures))
    except (UserError, OSError) as error:
        return Receipts(none, note=f"not compared: {error}")
    positions, gone = trained_positions(searcher, found)
    notes = [f"{gone} of the training images are no longer in the index"] if gone else []
    if len(positions) <= LIMIT:
        try:
            seen = seen_of(found, data, searcher.clip)
        except (UserError, OSError) as error:
            notes.append(f"compared by stored vectors: {error}")
        else:
            return _compared(searcher, seen, pictures, drawn, k, notes)
    else:
        notes.append(f"compared by stored vectors: there are more than {LIMIT:,} training images")
    ranked = nearest(searcher, positions, drawn, k)
    neighbours = [[_neighbour(hit) for hit in hits] for hits in ranked]
    return Receipts(neighbours, len(positions), "; ".join(notes) or None, [[] for _ in pictures])


def check_comparable(data: DataSettings, run: Path) -> None:
    """Raise `UserError` where drawings of a run cannot be compared with its training images: before
    anything is drawn. Checks the dataset, its index and the run's rows.
    """
    from frenchcat.index.search import Searcher
    from frenchcat.train.trained_on import dataset_of

    if data.dataset is None:
        raise UserError(
            f"{run} was trained on tars outside a dataset, and drawings are compared by a "
            "dataset's index; frenchcat adopt FOLDER --out DATASET, then train on a selection of it"
        )
    Searcher(dataset_of(run, data.dataset))
    if open_rows(run / "rows") is None:
        raise UserError(f"{run} has no rows/ any more; train again to make them")


def _compared(
    searcher: Searcher,
    seen: Seen,
    pictures: Sequence[Image],
    drawn: NDArray[np.float32],
    k: int,
    notes: list[str],
) -> Receipts:
    """Compare with what the model saw, of the rows that are still in the index."""
    from frenchcat.index.rows import id_of
    from frenchcat.index.search import Ranked

    positions = searcher.positions([id_of(key) for key in seen.keys])
    there = np.flatnonzero(positions >= 0)
    similar = seen.similarities(drawn)[:, there]
    different = seen.differences(thumbs_of(pictures))[:, there]

    def first(order: NDArray[np.int64], row: int) -> list[Neighbour]:
        hits = searcher.hits(Ranked(positions[there][order], similar[row][order]))
        found = zip(hits, different[row][order].tolist(), strict=True)
        return [_neighbour(hit, difference) for hit, difference in found]

    by_clip, by_pixels = _nearest_first(-similar, k, first), _nearest_first(different, k, first)
    return Receipts(by_clip, len(there), "; ".join(notes) or None, by_pixels)


def _nearest_first(
    distances: NDArray[np.float32],
    k: int,
    told: Callable[[NDArray[np.int64], int], list[Neighbour]],
) -> list[list[Neighbour]]:
    """For each drawn image the k nearest, made by `told` from their order and its number."""
    return [told(np.argsort(row, kind="stable")[:k], n) for n, row in enumerate(distances)]


def nearest(
    searcher: Searcher, positions: NDArray[np.int64], drawn: NDArray[np.float32], k: int
) -> list[list[Hit]]:
    """The k hits at `positions` nearest to each of (N, D) unit vectors, by brute force."""
    from frenchcat.index.search import Ranked

    best = np.full((len(drawn), 0), -np.inf, np.float32)
    where = np.zeros((len(drawn), 0), np.int64)
    for start in range(0, len(positions), _BLOCK):
        block = positions[start : start + _BLOCK]
        here = drawn @ searcher.vectors(block).T
        best = np.concatenate([best, here], 1)
        where = np.concatenate([where, np.broadcast_to(block, here.shape)], 1)
        order = np.argsort(-best, axis=1, kind="stable")[:, :k]
        best = np.take_along_axis(best, order, 1)
        where = np.take_along_axis(where, order, 1)
    return [searcher.hits(Ranked(*pair)) for pair in zip(where, best, strict=True)]


def trained_positions(searcher: Searcher, rows: TrainingRows) -> tuple[NDArray[np.int64], int]:
    """The training rows that are in the index, and how many are not (any more)."""
    from frenchcat.index.rows import id_of

    held_out = set(rows.held_out)
    keys = rows.keys()
    ids = [id_of(key) for number, key in enumerate(keys) if number not in held_out]
    found = searcher.positions(ids) if ids else np.zeros(0, np.int64)
    return found[found >= 0], int((found < 0).sum())


def _neighbour(hit: Hit, difference: float | None = None) -> Neighbour:
    return Neighbour(
        hit.key,
        round(hit.similarity, 4),
        hit.url,
        _first(hit.columns, CREATORS),
        licence_of_row(hit.columns),
        hit.caption,
        None if difference is None else round(difference, 2),
    )


def _first(columns: dict[str, Any], names: Sequence[str]) -> str | None:
    for name in names:
        value = columns.get(name)
        if value not in (None, ""):
            return str(value)
    return None


def artist_receipts(folder: Path, parts: Parts, pictures: Sequence[Image], k: int) -> Receipts:
    """As `receipts_of`, for the bundled artist, with the bundled data of its training images.

    If that is missing, the note says so.
    """
    from frenchcat.train.artist import read_seen
    from frenchcat.train.steering import clip_of

    none: list[list[Neighbour]] = [[] for _ in pictures]
    found = read_seen(folder)
    if found is None:
        return Receipts(none, note=f"not compared: {folder} has no data about its training images")
    seen, about = found
    drawn = clip_of(parts.settings.text).encode_images(list(pictures))
    similar, different = seen.similarities(drawn), seen.differences(thumbs_of(pictures))

    def first(order: NDArray[np.int64], row: int) -> list[Neighbour]:
        return [
            Neighbour(
                seen.keys[n],
                round(float(similar[row, n]), 4),
                about[n]["url"],
                about[n]["creator"],
                about[n]["licence"],
                about[n]["caption"],
                round(float(different[row, n]), 2),
            )
            for n in order.tolist()
        ]

    by_clip, by_pixels = _nearest_first(-similar, k, first), _nearest_first(different, k, first)
    return Receipts(by_clip, len(seen), None, by_pixels)
