"""Text states as a stage of a dataset: captions are encoded once and read in every epoch.

Reads sidecars; writes for each shard, rows in key order::

    text_states/rows/rows_00000.parquet    key, caption, tokens, cut; one row per image's caption
    text_states/states/states_00000.npy    (M, T, D): the states of all positions
    text_states/pooled/pooled_00000.npy    (M, P); P is 0 where there is no pooled text
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from frenchcat.curate import files
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.curate.markers import Counts, Signature
from frenchcat.curate.stage import Output, ShardFunction
from frenchcat.train.encoders import text_signature
from frenchcat.train.encoding_stage import AT_ONCE, NUMPY, EncodingStage, write_table
from frenchcat.train.text import captions_of


@dataclass(frozen=True)
class TextStage(EncodingStage):
    """Captions -> text states."""

    @property
    def signature(self) -> Signature:
        """Text encoders, variants, templates, precision."""
        return text_signature(self.settings.text, self.encoders.text_digest, self.precision)

    @property
    def _rows(self) -> files.ShardFile:
        return files.TEXT_ROWS

    @contextlib.contextmanager
    def start(self, dataset: Dataset) -> Iterator[ShardFunction]:
        """The encoders are loaded."""
        yield lambda shard, output: self._encode(dataset, shard, output)

    def _encode(self, dataset: Dataset, shard: str, output: Output) -> Counts:
        table = self._table(dataset, shard)
        told: dict[str, list[Any]] = {"key": [], "caption": [], "tokens": [], "cut": []}
        for key, caption in zip(table["key"], table["caption"], strict=True):
            texts = captions_of((caption or "").strip(), self.settings.text)
            told["key"] += [key] * len(texts)
            told["caption"] += texts
        captions: list[str] = told["caption"]
        states = pooled = None
        for start in range(0, len(captions), AT_ONCE):
            some = captions[start : start + AT_ONCE]
            condition = self.encoders.text(some)
            if states is None:
                shape = (len(captions), self.encoders.text.positions(captions))
                states = self._array(
                    output, files.TEXT_STATES, shard, (*shape, condition.states.shape[2])
                )
                wide = 0 if condition.pooled is None else int(condition.pooled.shape[1])
                pooled = self._array(output, files.TEXT_POOLED, shard, (len(captions), wide))
            assert pooled is not None
            place = slice(start, start + len(some))
            states[place, : condition.states.shape[1]] = condition.states.numpy()
            if condition.pooled is not None:
                pooled[place] = condition.pooled.numpy()
            if not (np.isfinite(states[place]).all() and np.isfinite(pooled[place]).all()):
                raise UserError(
                    f"text states of shard {shard} are too large for {self.precision}; give "
                    "--precision fp32"
                )
            told["tokens"] += condition.mask.sum(1).tolist()
            cut = set(self.encoders.text.too_long(some))
            told["cut"] += [caption in cut for caption in some]
            output.advance(len(some))
        for file, array in ((files.TEXT_STATES, states), (files.TEXT_POOLED, pooled)):
            if array is None:
                array = self._array(output, file, shard, (0, 0))
            array.flush()
        write_table(output, files.TEXT_ROWS.of(shard), told, _text_schema())
        return {"captions": len(captions)}

    def _array(
        self, output: Output, file: files.ShardFile, shard: str, shape: tuple[int, ...]
    ) -> np.memmap[Any, Any]:
        found: np.memmap[Any, Any] = np.lib.format.open_memmap(
            output.path(file.of(shard)), mode="w+", dtype=NUMPY[self.precision], shape=shape
        )
        return found


def _text_schema() -> Any:
    import pyarrow as pa

    texts = [("key", pa.string()), ("caption", pa.string())]
    return pa.schema([*texts, ("tokens", pa.int32()), ("cut", pa.bool_())])
