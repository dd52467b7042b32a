"""Latents as a stage of a dataset: images are encoded once and read in every epoch.

Reads tars and sidecars; writes for each shard, rows in key order::

    latents/rows/rows_00000.parquet        key, reason (null: encoded), channels, height, width of
                                           the latent, image_width, image_height
    latents/latents/latents_00000.npy      (N, V, L) float16 or float32: x_0 of a row, flat, and
                                           behind it that of the mirrored image if V is 2

An image that cannot be trained on has a row with the reason.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate import files, tars
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.markers import Counts, Signature, counts_of
from frenchcat.curate.stage import Output, ShardFunction
from frenchcat.train.encoders import Precision, latents_signature
from frenchcat.train.encoding_stage import AT_ONCE, NUMPY, EncodingStage, write_table
from frenchcat.train.layout import buckets_of
from frenchcat.train.pictures import edges_of, enough_of, fitted, shapes_of, without_randomness
from frenchcat.train.randomness import SampleRandomness
from frenchcat.train.reader import BadSample, Sample, decoded, read_bytes
from frenchcat.train.rows import TrainingRow

T = TypeVar("T")

_BYTES: dict[Precision, int] = {"fp16": 2, "fp32": 4}

_STILL = SampleRandomness(0, 0, "latents")  # decides nothing: nothing random is left

_SIZES = ("channels", "height", "width", "image_width", "image_height")

_TOLD = ("key", "reason", *_SIZES)


@dataclass(frozen=True)
class LatentStage(EncodingStage):
    """Images -> latents."""

    @property
    def signature(self) -> Signature:
        """Autoencoder, sizes, crop, flips, precision."""
        assert self.encoders.vae_digest is not None
        return latents_signature(self.settings.data, self.encoders.vae_digest, self.precision)

    @property
    def _rows(self) -> files.ShardFile:
        return files.LATENT_ROWS

    def output_bytes(self, dataset: Dataset, shard: str) -> float:
        """Of a shard's arrays."""
        rows = counts_of(dataset, "download", shard).get("downloaded", 0)
        if self.wanted is not None:
            rows = len(self.wanted[shard])
        return float(rows * self._variants * self._length * _BYTES[self.precision])

    @property
    def _variants(self) -> int:
        return 2 if self.settings.data.flip else 1

    @property
    def _length(self) -> int:
        codec = self.encoders.codec
        area = max(width * height for width, height in shapes_of(self.settings.data))
        return int(codec.channels * area // codec.shrinks**2)

    @contextlib.contextmanager
    def start(self, dataset: Dataset) -> Iterator[ShardFunction]:
        """Threads that decode."""
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
            yield lambda shard, output: self._encode(dataset, threads, shard, output)

    def _encode(
        self, dataset: Dataset, threads: ThreadPoolExecutor, shard: str, output: Output
    ) -> Counts:
        table = self._table(dataset, shard)
        with dataset.as_local(files.TAR.of(shard)) as tar:
            rows = _training_rows(str(tar), table)
            buckets = self._buckets(table)
            latents = np.lib.format.open_memmap(
                output.path(files.LATENTS.of(shard)),
                mode="w+",
                dtype=NUMPY[self.precision],
                shape=(len(rows), self._variants, self._length),
            )
            told: dict[str, list[Any]] = {name: [None] * len(rows) for name in _TOLD}
            told["key"] = table["key"]
            opened = _ahead(list(enumerate(rows)), AT_ONCE, self._opened, threads)
            for chunk in opened:
                self._encode_chunk(chunk, buckets, latents, told)
                output.advance(len(chunk))
            latents.flush()
        write_table(output, files.LATENT_ROWS.of(shard), told, _told_schema())
        return {"images": len(rows)}

    def _buckets(self, table: Mapping[str, list[Any]]) -> NDArray[np.int64]:
        """The bucket of each row, as layout.py has it."""
        wide, high = (np.array(table[name], np.float64) for name in ("width", "height"))
        aspects = np.nan_to_num(wide / np.maximum(high, 1), nan=1.0)
        found = buckets_of(aspects, edges_of(self.settings.data.aspects))
        return np.zeros(len(aspects), np.int64) if found is None else found

    def _opened(self, numbered: tuple[int, TrainingRow | str]) -> tuple[int, Sample | str]:
        """A row's number, and its sample or why there is none."""
        number, row = numbered
        if isinstance(row, str):
            return number, row
        try:
            return number, decoded(read_bytes([row])[0], 0, enough_of(self.settings.data))
        except BadSample as bad:
            return number, str(bad)

    def _encode_chunk(
        self,
        chunk: Sequence[tuple[int, Sample | str]],
        buckets: NDArray[np.int64],
        latents: NDArray[Any],
        told: dict[str, list[Any]],
    ) -> None:
        """Encode the sound samples of a chunk, bucket by bucket."""
        shapes = shapes_of(self.settings.data)
        data = without_randomness(self.settings.data)
        sound: dict[int, list[tuple[int, Sample]]] = {}
        for number, found in chunk:
            if isinstance(found, str):
                told["reason"][number] = found
            else:
                sound.setdefault(int(buckets[number]), []).append((number, found))
        for bucket, samples in sound.items():
            pixels = np.stack([fitted(s.picture, shapes[bucket], data, _STILL) for _, s in samples])
            x_0 = self._x_0(pixels)
            for (number, sample), variants in zip(samples, x_0, strict=True):
                if not np.isfinite(variants).all():
                    told["reason"][number] = "not_finite: its latents are not finite"
                    continue
                flat = variants.reshape(len(variants), -1)
                latents[number, :, : flat.shape[1]] = flat
                known = (*variants.shape[1:], *sample.size)
                for name, value in zip(_SIZES, known, strict=True):
                    told[name][number] = value

    def _x_0(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """(B, H, W, 3) uint8 -> (B, V, C, h, w), the mirrored images' latents second."""
        import torch

        upright = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(self.device)
        variants = [upright, upright.flip(3)][: self._variants]
        encoded = [self.encoders.codec.encode(one).cpu().numpy() for one in variants]
        with np.errstate(over="ignore"):
            return np.stack(encoded, axis=1).astype(NUMPY[self.precision])


def _told_schema() -> Any:
    import pyarrow as pa

    numbers = [(name, pa.int32()) for name in _SIZES]
    return pa.schema([("key", pa.string()), ("reason", pa.string()), *numbers])


def _training_rows(tar: str, table: Mapping[str, list[Any]]) -> list[TrainingRow | str]:
    """Where each row's image lies, as training reads it; or why it cannot be read."""
    members = tars.image_members(tar)
    found: list[TrainingRow | str] = []
    for key, caption, sha256 in zip(
        table["key"], table["caption"], table["stored_sha256"], strict=True
    ):
        member = members.get(key)
        if member is None:
            found.append("missing: it is not in its tar")
            continue
        place = (member.offset, member.size)
        found.append(TrainingRow(key, tar, *place, caption or "", 0, 0, sha256, key))
    return found


def _ahead(
    items: Sequence[T], size: int, work: Callable[[T], Any], threads: ThreadPoolExecutor
) -> Iterator[list[Any]]:
    """The results of `work` in chunks; while one is used, the next is worked on."""
    pending = None
    for start in range(0, len(items), size):
        begun = [threads.submit(work, item) for item in items[start : start + size]]
        if pending is not None:
            yield [one.result() for one in pending]
        pending = begun
    if pending is not None:
        yield [one.result() for one in pending]
