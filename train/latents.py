"""Latents and text states as stages of a dataset: encoded once, read in every epoch.

Reads tars and sidecars; writes for each shard, rows in key order, the arrays beside them::

    latents/rows/rows_00000.parquet        key, reason (null: encoded), channels, height, width of
                                           the latent, image_width, image_height
    latents/latents/latents_00000.npy      (N, V, L) float16 or float32: x_0 of a row, flat, and
                                           behind it that of the mirrored image if V is 2
    text_states/rows/rows_00000.parquet    key, caption, tokens, cut; a row per caption of an image
    text_states/states/states_00000.npy    (M, T, D): the states of all positions
    text_states/pooled/pooled_00000.npy    (M, P); P is 0 where there is no pooled text

Images are fitted and captions are worded by the functions that training uses, so that what is read
is what would have been encoded. An image that cannot be trained on has a row with the reason.
Cost: one pass of the autoencoder per image (two with flips), one of the text encoders per caption;
memory for a few batches, since the arrays are written through memory maps.
"""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate import files, sidecar, tars
from frenchcat.curate.adopted import stores_images
from frenchcat.curate.config import changed
from frenchcat.curate.dataset import Dataset, digest_of
from frenchcat.curate.errors import NotFound, UserError
from frenchcat.curate.markers import Counts, Inputs, Signature, counts_of, marker
from frenchcat.curate.redo import Redo, confirm
from frenchcat.curate.run_stage import run_stage
from frenchcat.curate.stage import Output, Progress, ShardFunction, Stage, StageReport
from frenchcat.train.encoders import (
    PRECISIONS,
    SETTING_NAMES,
    Encoders,
    Precision,
    latents_signature,
    open_encoders,
    text_signature,
)
from frenchcat.train.layout import buckets_of
from frenchcat.train.model import device_of
from frenchcat.train.pictures import edges_of, enough_of, fitted, shapes_of, without_chance
from frenchcat.train.randomness import SampleRandomness
from frenchcat.train.reader import BadSample, Sample, decoded, read_bytes
from frenchcat.train.rows import TrainingRow
from frenchcat.train.settings import TextSettings, TrainSettings
from frenchcat.train.start import with_start
from frenchcat.train.text import variants_of

if TYPE_CHECKING:
    import torch

Wanted = Mapping[str, frozenset[str]]
"""Shard -> the keys of its rows that are encoded."""
T = TypeVar("T")
_ROWS = "rows"
"""What a marker's inputs call the rows of a selection."""
_AT_ONCE = 32
"""Images that are decoded together, and captions that are encoded together."""
_NUMPY: dict[Precision, Any] = {"fp16": np.float16, "fp32": np.float32}
_BYTES: dict[Precision, int] = {"fp16": 2, "fp32": 4}
_STILL = SampleRandomness(0, 0, "latents")  # decides nothing: no chance is left


@dataclass(frozen=True)
class Encoded:
    """What `encode_dataset` did."""

    stages: tuple[StageReport, ...]
    unreadable: dict[str, int] = field(default_factory=dict)  # reason -> images without latents
    notes: tuple[str, ...] = ()  # what is not stored, and why


def captions_of(caption: str, settings: TextSettings) -> list[str]:
    """Every text that training can make of a caption: its variants, in each template."""
    templates = settings.templates or ("{caption}",)
    made = (t.replace("{caption}", v) for v in variants_of(caption, settings) for t in templates)
    return list(dict.fromkeys(made))


def encode_dataset(
    dataset: Dataset,
    settings: TrainSettings,
    selection: str | None = None,
    precision: str = "fp16",
    progress: Progress | None = None,
    yes: bool = False,
) -> Encoded:
    """Encode images and captions as a training with these settings would; the lock is held.

    All stored rows, or those of a selection. Shards that are up to date are skipped. Raises
    `UserError` for settings under which nothing can be stored, or models that do not load, and
    `ConfirmationNeeded` before encodings of other settings are made again, unless `yes` is true.
    """
    settings = with_start(settings)
    if precision not in PRECISIONS:
        raise UserError(f"--precision {precision} is none of: {', '.join(PRECISIONS)}")
    shards = [shard for shard in dataset.shards("download") if stores_images(dataset, shard)]
    if not shards:
        raise UserError(f"{dataset.root} has no images to encode; build or download it first")
    wanted = None if selection is None else _wanted(dataset, selection)
    if wanted is not None:
        shards = [shard for shard in shards if shard in wanted]
    pixels = settings.model.start is None and settings.model.vae is None
    if not pixels:
        latents_signature(settings.data, "", precision)  # refused before anything loads
    encoders = open_encoders(settings).to(device_of(settings.run.device))
    stages, notes = _stages(settings, encoders, precision, wanted)
    if not stages:
        raise UserError(f"there is nothing to store: {'; '.join(notes)}")
    redone = [_redone(dataset, stage, shards) for stage in stages]
    confirm([one for one in redone if one is not None], yes)
    done = tuple(run_stage(dataset, stage, shards, None, progress) for stage in stages)
    return Encoded(done, _unreadable(dataset, shards), tuple(notes))


def _redone(dataset: Dataset, stage: Stage, shards: Sequence[str]) -> Redo | None:
    """The shards with encodings of other settings, which would be made again.

    Where some shard has these settings already, that was agreed to before an interruption.
    """
    signature = stage.signature
    made = [one for shard in shards if (one := marker(dataset, signature.name, shard)) is not None]
    same = [one.digest == signature.digest(one.inputs) for one in made]
    if all(same) or any(same):
        return None
    before = dataset.manifest().entry(signature.name).settings or {}
    changes = {
        told: (before[name], signature.settings[name])
        for name, told in SETTING_NAMES.items()
        if name in before and before[name] != signature.settings.get(name)
    }
    return Redo(signature.name, len(made), changes)


def _stages(
    settings: TrainSettings, encoders: Encoders, precision: Precision, wanted: Wanted | None
) -> tuple[list[Stage], list[str]]:
    """What can be stored, and why the rest cannot."""
    stages: list[Stage] = []
    notes: list[str] = []
    if encoders.vae_digest is None:
        notes.append("the network works on pixels, so there are no latents")
    else:
        stages.append(LatentStage(settings, encoders, precision, wanted))
    if settings.model.lora_text:
        notes.append("model.lora_text trains the text encoders, so there are no text states")
    elif settings.run.task == "classifier":
        notes.append("a classifier reads no captions, so there are no text states")
    else:
        stages.append(TextStage(settings, encoders, precision, wanted))
    return stages, notes


def _wanted(dataset: Dataset, selection: str) -> Wanted:
    from frenchcat.curate.select import open_selection

    table = open_selection(dataset, selection).table
    found: dict[str, set[str]] = {}
    for shard, key in zip(table["shard"].to_pylist(), table["key"].to_pylist(), strict=True):
        found.setdefault(shard, set()).add(key)
    if not found:
        raise NotFound(f"the selection {selection!r} is empty; select some rows first")
    return {shard: frozenset(keys) for shard, keys in found.items()}


def _unreadable(dataset: Dataset, shards: Sequence[str]) -> dict[str, int]:
    """Reason -> images without latents."""
    from collections import Counter

    counts: Counter[str] = Counter()
    for shard in shards:
        if dataset.exists(files.LATENT_ROWS.of(shard)):
            reasons = _columns(dataset, files.LATENT_ROWS.of(shard), ["reason"])["reason"]
            counts.update(str(one).partition(":")[0] for one in reasons if one is not None)
    return dict(counts.most_common())


# -- the stages ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _EncodingStage(ABC):
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
        keys = _columns(dataset, self._rows.of(shard), ["key"])["key"]
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


@dataclass(frozen=True)
class LatentStage(_EncodingStage):
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
                dtype=_NUMPY[self.precision],
                shape=(len(rows), self._variants, self._length),
            )
            told: dict[str, list[Any]] = {name: [None] * len(rows) for name in _TOLD}
            told["key"] = table["key"]
            opened = _ahead(list(enumerate(rows)), _AT_ONCE, self._opened, threads)
            for chunk in opened:
                self._encode_chunk(chunk, buckets, latents, told)
                output.advance(len(chunk))
            latents.flush()
        _write_table(output, files.LATENT_ROWS.of(shard), told, _told_schema())
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
        data = without_chance(self.settings.data)
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
                    told["reason"][number] = "not_finite: its latents are no finite numbers"
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
            return np.stack(encoded, axis=1).astype(_NUMPY[self.precision])


@dataclass(frozen=True)
class TextStage(_EncodingStage):
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
        for start in range(0, len(captions), _AT_ONCE):
            some = captions[start : start + _AT_ONCE]
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
        _write_table(output, files.TEXT_ROWS.of(shard), told, _text_schema())
        return {"captions": len(captions)}

    def _array(
        self, output: Output, file: files.ShardFile, shard: str, shape: tuple[int, ...]
    ) -> np.memmap[Any, Any]:
        found: np.memmap[Any, Any] = np.lib.format.open_memmap(
            output.path(file.of(shard)), mode="w+", dtype=_NUMPY[self.precision], shape=shape
        )
        return found


_SIZES = ("channels", "height", "width", "image_width", "image_height")
_TOLD = ("key", "reason", *_SIZES)


def _told_schema() -> Any:
    import pyarrow as pa

    numbers = [(name, pa.int32()) for name in _SIZES]
    return pa.schema([("key", pa.string()), ("reason", pa.string()), *numbers])


def _text_schema() -> Any:
    import pyarrow as pa

    texts = [("key", pa.string()), ("caption", pa.string())]
    return pa.schema([*texts, ("tokens", pa.int32()), ("cut", pa.bool_())])


def _training_rows(tar: str, table: Mapping[str, list[Any]]) -> list[TrainingRow | str]:
    """Where each row's image lies, as training reads it; or why it cannot be read."""
    members = tars.pictures(tar)
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


def _write_table(output: Output, relative: str, columns: Mapping[str, Any], schema: Any) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(dict(columns), schema), output.path(relative), compression="zstd")


def _columns(dataset: Dataset, relative: str, names: Sequence[str]) -> dict[str, list[Any]]:
    import pyarrow.parquet as pq

    with dataset.as_local(relative) as path:
        table = pq.ParquetFile(path).read(list(names))
    return {name: table[name].to_pylist() for name in names}


def data_of(settings: TrainSettings, dataset: str, selection: str | None) -> TrainSettings:
    """Settings whose data are a dataset's."""
    data = changed(settings.data, dataset=dataset, selection=selection, tars=None)
    return changed(settings, data=data)
