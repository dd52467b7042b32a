"""What a dataset stores of images and captions (latents.py, text_states.py), as training reads it.

Reads latents/ and text_states/ of a dataset on a disk, memory-mapped; writes nothing. A store is
pickled as its arguments, so that each worker maps the files anew. Cost: a row is found by a binary
search in its shard's sorted keys; memory for the rows of a few shards.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate import files
from frenchcat.train.reader import BadSample, ReadBytes, SampleReader, caption_of
from frenchcat.train.rows import TrainingRow
from frenchcat.train.text import Condition

if TYPE_CHECKING:
    import pyarrow as pa

_OPEN = 32
"""Shards that are kept open."""


@dataclass(frozen=True)
class StoredSample:
    """An image that was encoded before, and its caption."""

    key: str
    name: str
    repeat: int
    caption: str
    size: tuple[int, int]  # of the stored image, upright: (width, height) in pixels
    variants: NDArray[Any]  # (V, C, h, w): x_0, and that of the mirrored image


class LatentStore:
    """Latents by key; `root` is the folder of a dataset."""

    def __init__(self, root: str) -> None:
        self._files = ShardFiles(root, files.LATENT_ROWS, files.LATENTS)

    def sample(self, row: TrainingRow, repeat: int) -> StoredSample:
        """A row's latents. Raises BadSample for one whose image could not be encoded."""
        shard = self._files.shard(Path(row.path).stem)
        place = next(iter(shard.places(row.key)), None)
        if place is None:
            raise BadSample("missing: it has no latents")
        told = shard.row(place)
        if told["reason"] is not None:
            raise BadSample(told["reason"])
        shape = (told["channels"], told["height"], told["width"])
        flat = shard.arrays[0][place, :, : int(np.prod(shape))]
        variants = np.array(flat).reshape(len(flat), *shape)
        size = (told["image_width"], told["image_height"])
        return StoredSample(row.key, row.name, repeat, caption_of(row), size, variants)


class StoredReader(SampleReader[StoredSample]):
    """Batches of rows -> samples that were encoded before."""

    def __init__(self, folder: Path, store: LatentStore) -> None:
        super().__init__(folder)
        self.store = store

    def fetched(self, rows: list[TrainingRow]) -> list[ReadBytes]:
        """Nothing has to be read beforehand: the files are mapped."""
        return [ReadBytes(row, b"", None) for row in rows]

    def opened(self, fetched: ReadBytes, repeat: int) -> StoredSample:
        """A row's latents."""
        return self.store.sample(fetched.row, repeat)


class TextStore:
    """Text states by key and caption; a key begins with its shard's name, of `digits` digits."""

    def __init__(self, root: str, digits: int) -> None:
        self._files = ShardFiles(root, files.TEXT_ROWS, files.TEXT_STATES, files.TEXT_POOLED)
        self._digits = digits

    def conditions(self, rows: Sequence[tuple[str, str]]) -> tuple[Condition, int]:
        """Of (key, caption): the conditions, and how many captions had been cut.

        The empty caption has zeros and an empty mask, which `with_null` fills in. Raises
        KeyError for a caption that is not stored.
        """
        import torch

        found = [self._one(*row) if row[1] else None for row in rows]
        known = [one for one in found if one is not None]
        if not known:
            return Condition(torch.zeros(len(rows), 0, 0), torch.zeros(len(rows), 0).bool()), 0
        width = max(len(one.states) for one in known)
        states = torch.zeros(len(rows), width, known[0].states.shape[1])
        mask = torch.zeros(len(rows), width, dtype=torch.bool)
        pooled = torch.zeros(len(rows), len(known[0].pooled))
        for n, one in enumerate(found):
            if one is not None:
                states[n, : len(one.states)] = torch.from_numpy(one.states.astype(np.float32))
                mask[n, : one.tokens] = True
                pooled[n] = torch.from_numpy(one.pooled.astype(np.float32))
        cut = sum(one.cut for one in known)
        return Condition(states, mask, pooled if pooled.shape[1] else None), cut

    def _one(self, key: str, caption: str) -> _States:
        shard = self._files.shard(key[: self._digits])
        for place in shard.places(key):
            told = shard.row(place)
            if told["caption"] == caption:
                states, pooled = shard.arrays
                return _States(
                    np.array(states[place]), np.array(pooled[place]), told["tokens"], told["cut"]
                )
        raise KeyError(f"{key}: no states of {caption!r}")


def with_null(
    stored: Condition, captions: Sequence[str], encode: Callable[[Sequence[str]], Condition]
) -> Condition:
    """Stored conditions with that of the empty caption, encoded, where captions are empty."""
    empty = [n for n, caption in enumerate(captions) if not caption]
    if not empty:
        return stored
    null = encode([""])
    width = max(null.states.shape[1], stored.states.shape[1])
    states = null.states.new_zeros(len(captions), width, null.states.shape[2])
    mask = null.mask.new_zeros(len(captions), width)
    if stored.states.numel():
        states[:, : stored.states.shape[1]] = stored.states
        mask[:, : stored.mask.shape[1]] = stored.mask
    states[empty], mask[empty] = 0, False
    states[empty, : null.states.shape[1]] = null.states
    mask[empty, : null.mask.shape[1]] = null.mask
    if null.pooled is None:
        return Condition(states, mask)
    pooled = null.pooled.expand(len(captions), -1).clone()
    if stored.pooled is not None:
        told = [n for n, caption in enumerate(captions) if caption]
        pooled[told, : stored.pooled.shape[1]] = stored.pooled[told]
    return Condition(states, mask, pooled)


@dataclass(frozen=True)
class _States:
    states: NDArray[Any]  # (T, D)
    pooled: NDArray[Any]  # (P,)
    tokens: int
    cut: bool


class VectorStore:
    """The dataset's CLIP vectors of images by key; `digits` as those of a `TextStore`."""

    def __init__(self, root: str, digits: int) -> None:
        self._files = ShardFiles(root, files.METADATA, files.IMG_EMB)
        self._digits = digits

    def vectors(self, keys: Sequence[str]) -> NDArray[np.float32]:
        """(N, D) unit rows. Raises KeyError for a key without a vector."""
        found = []
        for key in keys:
            shard = self._files.shard(key[: self._digits])
            place = next(iter(shard.places(key)), None)
            if place is None:
                raise KeyError(key)
            found.append(shard.arrays[0][place].astype(np.float32))
        return np.stack(found)


@dataclass(frozen=True)
class Stored:
    """What a run reads of its dataset beside images and captions, or in their place."""

    images: LatentStore | None = None
    texts: TextStore | None = None
    vectors: VectorStore | None = None


NOTHING_STORED = Stored()


@dataclass(frozen=True, eq=False)
class Shard:
    """A shard's rows and the arrays beside them."""

    table: pa.Table
    keys: NDArray[np.str_]  # sorted
    order: NDArray[np.int64]  # the rows of those keys
    arrays: tuple[NDArray[Any], ...]

    def places(self, key: str) -> list[int]:
        """The rows of a key."""
        first, last = (int(np.searchsorted(self.keys, key, side)) for side in ("left", "right"))
        found: list[int] = self.order[first:last].tolist()
        return found

    def row(self, place: int) -> dict[str, Any]:
        """A row's columns."""
        return {name: self.table[name][place].as_py() for name in self.table.column_names}


class ShardFiles:
    """Files of a dataset's shards, mapped when they are asked for; a few stay open.

    Pickled without what is open.
    """

    def __init__(self, root: str, rows: files.ShardFile, *arrays: files.ShardFile) -> None:
        self._root, self._rows, self._arrays = root, rows, arrays
        self._open: OrderedDict[str, Shard] = OrderedDict()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._root, self._rows, *self._arrays)

    def shard(self, name: str) -> Shard:
        """A shard's files."""
        import pyarrow.parquet as pq

        if name in self._open:
            self._open.move_to_end(name)
            return self._open[name]
        root = Path(self._root)
        table = pq.ParquetFile(root / self._rows.of(name)).read().combine_chunks()
        keys = np.array(table[self._rows.key].to_pylist() or [""], np.str_)[: table.num_rows]
        order = np.argsort(keys, kind="stable")
        mapped = tuple(np.load(root / one.of(name), mmap_mode="r") for one in self._arrays)
        self._open[name] = Shard(table, keys[order], order, mapped)
        while len(self._open) > _OPEN:
            self._open.popitem(last=False)
        return self._open[name]
