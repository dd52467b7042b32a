"""What the stages of latents and of text states share: their inputs, and which rows they encode.

A stage encodes all stored rows, or those of a selection and those that were encoded before.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from frenchcat.curate import files, sidecar
from frenchcat.curate.dataset import Dataset, digest_of
from frenchcat.curate.markers import Inputs, Signature, marker
from frenchcat.curate.stage import Output
from frenchcat.train.encoders import Encoders, Precision
from frenchcat.train.model import device_of
from frenchcat.train.settings import TrainSettings

if TYPE_CHECKING:
    import torch


Wanted = Mapping[str, frozenset[str]]
"""Shard -> the keys of its rows that are encoded."""

_ROWS = "rows"
"""What a marker's inputs call the rows of a selection."""

AT_ONCE = 32
"""Images that are decoded together, and captions that are encoded together."""

NUMPY: dict[Precision, Any] = {"fp16": np.float16, "fp32": np.float32}


@dataclass(frozen=True)
class EncodingStage(ABC):
    """What both stages share: their inputs are a shard's tar and sidecar, and the wanted rows."""

    settings: TrainSettings
    encoders: Encoders = field(compare=False)
    precision: Precision
    wanted: Wanted | None = None
    in_process: bool = True

    @property
    @abstractmethod
    def signature(self) -> Signature:
        """What decides the encodings."""

    @property
    @abstractmethod
    def _rows(self) -> files.ShardFile:
        """The file that names an encoding's rows."""

    def inputs(self, dataset: Dataset, shard: str) -> Inputs:
        """The digests of tar and sidecar; of a selection also that of its keys.

        A shard whose encodings have all wanted rows and more is up to date.
        """
        found = self._images(dataset, shard)
        if self.wanted is None:
            return found
        there = self._there(dataset, shard, found)
        if there is not None and self.wanted[shard] <= there[1]:
            return there[0]
        before = there[1] if there is not None else frozenset()
        return found | {_ROWS: digest_of(sorted(self.wanted[shard] | before))}

    def _keys(self, dataset: Dataset, shard: str) -> frozenset[str] | None:
        """The rows to encode: those wanted, and those that were encoded before; None: all."""
        if self.wanted is None:
            return None
        there = self._there(dataset, shard, self._images(dataset, shard))
        return self.wanted[shard] | (there[1] if there is not None else frozenset())

    def _images(self, dataset: Dataset, shard: str) -> dict[str, str]:
        """The digests of a shard's tar and sidecar."""
        made = marker(dataset, "download", shard)
        assert made is not None
        names = (files.TAR.of(shard), files.SIDECAR.of(shard))
        return {name: made.outputs[name].sha256 for name in names}

    def _there(
        self, dataset: Dataset, shard: str, inputs: Mapping[str, str]
    ) -> tuple[Inputs, frozenset[str]] | None:
        """Inputs and keys of encodings by the same settings of the same images, if there are."""
        made = marker(dataset, self.signature.name, shard)
        if made is None or made.digest != self.signature.digest(made.inputs):
            return None
        if any(made.inputs.get(name) != digest for name, digest in inputs.items()):
            return None
        if not dataset.exists(self._rows.of(shard)):
            return None
        keys = columns_of(dataset, self._rows.of(shard), ["key"])["key"]
        return made.inputs, frozenset(keys)

    def _table(self, dataset: Dataset, shard: str) -> dict[str, list[Any]]:
        """The stored rows to encode: the sidecar's columns, in key order."""
        names = ("key", "caption", "width", "height", "stored_sha256", "status")
        table = sidecar.read(dataset, shard, names)
        columns = {name: table[name].to_pylist() for name in names if name in table.column_names}
        wanted = self._keys(dataset, shard)
        there = [
            n
            for n, (key, status) in enumerate(zip(columns["key"], columns["status"], strict=True))
            if status == "success" and (wanted is None or key in wanted)
        ]
        there.sort(key=lambda n: str(columns["key"][n]))
        missing: list[Any] = [None] * len(columns["key"])
        return {name: [columns.get(name, missing)[n] for n in there] for name in names}

    @property
    def device(self) -> torch.device:
        """Where the encoders are."""
        return device_of(self.settings.run.device)


def write_table(output: Output, relative: str, columns: Mapping[str, Any], schema: Any) -> None:
    """Write columns as a parquet of the shard's output."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(dict(columns), schema), output.path(relative), compression="zstd")


def columns_of(dataset: Dataset, relative: str, names: Sequence[str]) -> dict[str, list[Any]]:
    """Columns of one of the dataset's parquets, by name."""
    import pyarrow.parquet as pq

    with dataset.as_local(relative) as path:
        table = pq.ParquetFile(path).read(list(names))
    return {name: table[name].to_pylist() for name in names}
