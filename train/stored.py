"""What a dataset stores of images and captions (latents.py), as training reads it.

Reads latents/ and text_states/ of a dataset on a disk, memory-mapped; writes nothing. A store is
pickled as its arguments, so that each worker maps the files anew. Cost: a row is found by a binary
search in its shard's sorted keys; memory for the rows of a few shards.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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

_TEXT_ARRAYS = (files.TEXT_STATES, files.TEXT_POOLED)
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


@dataclass
class LatentStore:
    """Latents by key."""

    root: str  # of a dataset on a disk
    _open: OrderedDict[str, _Shard] = field(default_factory=OrderedDict, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root, "_open": OrderedDict()}

    def sample(self, row: TrainingRow, repeat: int) -> StoredSample:
        """A row's latents. Raises BadSample for one whose image could not be encoded."""
        shard = self._shard(Path(row.path).stem)
        place = shard.place(row.key)
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

    def _shard(self, name: str) -> _Shard:
        return _opened(self._open, self.root, name, files.LATENT_ROWS, files.LATENTS)


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


@dataclass
class TextStore:
    """Text states by key and caption."""

    root: str
    digits: int  # of a shard's name, with which a key begins
    _open: OrderedDict[str, _Shard] = field(default_factory=OrderedDict, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root, "digits": self.digits, "_open": OrderedDict()}

    def conditions(self, rows: Sequence[tuple[str, str]]) -> tuple[Condition, int]:
        """Of (key, caption): the conditions, and how many captions had been cut.

        The empty caption has zeros and an empty mask; whoever has the encoder fills it in. Raises
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
        name = key[: self.digits]
        shard = _opened(self._open, self.root, name, files.TEXT_ROWS, *_TEXT_ARRAYS)
        place = shard.place(key)
        while place is not None and place < len(shard.keys) and shard.keys[place] == key:
            told = shard.row(place)
            if told["caption"] == caption:
                states, pooled = shard.arrays
                return _States(
                    np.array(states[place]), np.array(pooled[place]), told["tokens"], told["cut"]
                )
            place += 1
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
        pooled[told] = stored.pooled[told]
    return Condition(states, mask, pooled)


@dataclass(frozen=True)
class _States:
    states: NDArray[Any]  # (T, D)
    pooled: NDArray[Any]  # (P,)
    tokens: int
    cut: bool


@dataclass(frozen=True)
class Stored:
    """What a run reads instead of encoding it."""

    images: LatentStore | None = None
    texts: TextStore | None = None


NOTHING_STORED = Stored()


@dataclass(frozen=True, eq=False)
class _Shard:
    """A shard's rows and arrays."""

    table: pa.Table
    keys: NDArray[np.str_]  # sorted
    arrays: tuple[NDArray[Any], ...]

    def place(self, key: str) -> int | None:
        """The first row of a key."""
        found = int(np.searchsorted(self.keys, key))
        return found if found < len(self.keys) and self.keys[found] == key else None

    def row(self, place: int) -> dict[str, Any]:
        """A row's columns."""
        return {name: self.table[name][place].as_py() for name in self.table.column_names}


def _opened(
    there: OrderedDict[str, _Shard],
    root: str,
    shard: str,
    rows: files.ShardFile,
    *arrays: files.ShardFile,
) -> _Shard:
    """A shard's files, mapped; those used longest ago are closed."""
    import pyarrow.parquet as pq

    if shard in there:
        there.move_to_end(shard)
        return there[shard]
    table = pq.ParquetFile(Path(root) / rows.of(shard)).read().combine_chunks()
    keys = np.array(table["key"].to_pylist() or [""], np.str_)[: table.num_rows]
    mapped = tuple(np.load(Path(root) / one.of(shard), mmap_mode="r") for one in arrays)
    there[shard] = _Shard(table, keys, mapped)
    while len(there) > _OPEN:
        there.popitem(last=False)
    return there[shard]
