"""Whether what a dataset stores of images and captions is what a run would encode.

Reads the markers and rows of latents/ and text_states/, writes nothing. A run reads latents only if
every one of its rows has some, made of the same images by the same autoencoder at the same sizes;
text states likewise. Otherwise one line says why, and the run encodes. Cost: one read of the rows
of the shards that the run trains on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frenchcat.curate import files
from frenchcat.curate.command_text import shell_command
from frenchcat.curate.config import changed
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.curate.markers import Signature, marker
from frenchcat.curate.notices import say_once
from frenchcat.train.encoders import (
    PRECISIONS,
    SETTING_NAMES,
    latents_signature,
    text_digest,
    text_signature,
    vae_digest,
)
from frenchcat.train.stored import LatentStore, Stored, TextStore
from frenchcat.train.text import captions_of

if TYPE_CHECKING:
    from frenchcat.train.pipeline_text import PipelineText
    from frenchcat.train.rows import TrainingRows
    from frenchcat.train.settings import TrainSettings
    from frenchcat.train.text import TextEncoder

_Rows = Sequence[tuple[str, str]]
"""(key, caption)."""


class _Unfit(Exception):
    """Why what is stored is not read."""


def stored_of(
    settings: TrainSettings, rows: TrainingRows, text: TextEncoder | PipelineText | None
) -> Stored:
    """What a run reads instead of encoding it; says so, or why it encodes.

    `text` is None for a classifier. Raises `UserError` for `data.latents` `require` where
    something does not fit.
    """
    data = settings.data
    if data.latents == "off":
        return Stored()
    if data.dataset is None:
        if data.latents == "require":
            raise UserError(
                "data.latents is require, and data.tars have none stored; give data.dataset, or "
                "set data.latents to auto"
            )
        return Stored()
    dataset = Dataset.open(data.dataset)
    images = texts = None
    told = []
    if settings.model.vae is not None or settings.model.start is not None:
        try:
            images = _latents(settings, dataset, rows)
        except _Unfit as why:
            told.append(f"images are encoded in every step: {why}")
    if text is not None and not settings.model.lora_text:
        try:
            texts = _texts(settings, dataset, rows, text)
        except _Unfit as why:
            # A text tower of our own is small: its states are stored only by those who want to.
            if settings.model.start is not None or dataset.shards(files.TEXT_ROWS.stage):
                told.append(f"captions are encoded by the run: {why}")
    if told and data.latents == "require":
        raise UserError(f"data.latents is require, but {'; '.join(told)}; {_cure(data)}")
    if told:
        say_once(f"{'; '.join(told)}; {_cure(data)}")
    read = [name for name, one in (("latents", images), ("text states", texts)) if one is not None]
    if read:
        say_once(f"read from {data.dataset} instead of encoded: {' and '.join(read)}")
    return Stored(images, texts)


def latents_are_read(settings: TrainSettings) -> tuple[bool, str | None]:
    """Whether a run with these settings will read stored latents, and what is to be said of it.

    Asked before there is a run. Raises `UserError` as `stored_of` does.
    """
    from frenchcat.curate.select import open_selection

    data = settings.data
    if data.latents == "off" or data.dataset is None or data.selection is None:
        return False, None
    dataset = Dataset.open(data.dataset)
    table = open_selection(dataset, data.selection).table
    by_shard: dict[str, list[tuple[str, str]]] = {}
    for shard, key in zip(table["shard"].to_pylist(), table["key"].to_pylist(), strict=True):
        by_shard.setdefault(shard, []).append((key, ""))
    try:
        found = _latents(settings, dataset, _Planned(dataset, by_shard))
    except _Unfit as why:
        if data.latents == "require":
            raise UserError(f"data.latents is require, but {why}; {_cure(data)}") from None
        return False, f"images are encoded in every step: {why}; {_cure(data)}"
    if found is None:
        return False, None
    return True, f"latents are read from {data.dataset}: no image is encoded in a step"


class _Planned:
    """The rows of a selection, as `_latents` asks for them."""

    def __init__(self, dataset: Dataset, by_shard: dict[str, list[tuple[str, str]]]) -> None:
        self._rows = {dataset.path(files.TAR.of(name)): rows for name, rows in by_shard.items()}
        self.paths = list(self._rows)

    def captions_by_tar(self) -> Iterator[tuple[str, _Rows]]:
        """Each tar's address with the keys of its rows."""
        yield from self._rows.items()


def _cure(data: Any) -> str:
    once = shell_command("latents", data.dataset, "--selection", data.selection)
    return f"to encode once: {once} with this training's --config and --set"


def _latents(
    settings: TrainSettings, dataset: Dataset, rows: TrainingRows | _Planned
) -> LatentStore | None:
    vae = vae_digest(settings)
    if vae is None:
        return None
    try:
        flips = {settings.data.flip, True}  # latents of mirrored images may be left unread
        data = [changed(settings.data, flip=flip) for flip in sorted(flips)]
        signatures = [latents_signature(one, vae, p) for one in data for p in PRECISIONS]
    except UserError as error:
        raise _Unfit(str(error).partition(";")[0]) from None
    _check_shards(dataset, rows, signatures)
    for shard, wanted in _by_shard(rows):
        there = set(_read(dataset, files.LATENT_ROWS.of(shard), ["key"])["key"])
        _check_missing(shard, [key for key, _ in wanted if key not in there], "latents")
    return LatentStore(dataset.path())


def _texts(
    settings: TrainSettings,
    dataset: Dataset,
    rows: TrainingRows,
    text: TextEncoder | PipelineText,
) -> TextStore:
    digest = text_digest(settings, text)
    _check_shards(dataset, rows, [text_signature(settings.text, digest, p) for p in PRECISIONS])
    for shard, wanted in _by_shard(rows):
        table = _read(dataset, files.TEXT_ROWS.of(shard), ["key", "caption"])
        there = set(zip(table["key"], table["caption"], strict=True))
        missing = [
            key
            for key, caption in wanted
            if any((key, one) not in there for one in captions_of(caption.strip(), settings.text))
        ]
        _check_missing(shard, missing, "text states of the selection's caption")
    return TextStore(dataset.path(), len(dataset.shards("download")[0]))


def _check_shards(
    dataset: Dataset, rows: TrainingRows | _Planned, signatures: Sequence[Signature]
) -> None:
    """Raise `_Unfit` for shards without encodings, with those of other settings or images."""
    stage = signatures[0].name
    what = stage.replace("_", " ")
    if not dataset.local:
        raise _Unfit(f"{what} are read from a dataset on a disk, and {dataset.root} is not")
    for path in rows.paths:
        shard = Path(path).stem
        made = marker(dataset, stage, shard)
        if made is None:
            raise _Unfit(f"shard {shard} has no {what}")
        fitting = [one for one in signatures if one.digest(made.inputs) == made.digest]
        if not fitting:
            raise _Unfit(f"the {what} of shard {shard} differ in {_others(dataset, signatures)}")
        download = marker(dataset, "download", shard)
        tar = files.TAR.of(shard)
        if download is None or made.inputs[tar] != download.outputs[tar].sha256:
            raise _Unfit(f"the {what} of shard {shard} are of another tar than is there now")
        if not all(dataset.size(name) == output.bytes for name, output in made.outputs.items()):
            raise _Unfit(f"a file of the {what} of shard {shard} is missing or was cut")


def _others(dataset: Dataset, signatures: Sequence[Signature]) -> str:
    """In which settings what is stored differs, as far as dataset.json tells."""
    there = dataset.manifest().entry(signatures[0].name).settings or {}
    wanted = [dict(one.settings) for one in signatures]
    differing = [
        name for name in there if all(there[name] != settings.get(name) for settings in wanted)
    ]
    told = [SETTING_NAMES[name] for name in differing if name in SETTING_NAMES]
    return ", ".join(told) or "their settings"


def _check_missing(shard: str, missing: Sequence[str], what: str) -> None:
    if missing:
        raise _Unfit(f"{len(missing)} rows of shard {shard} have no {what}, such as {missing[0]}")


def _by_shard(rows: TrainingRows | _Planned) -> Iterator[tuple[str, _Rows]]:
    """The keys and captions of a run's rows, shard by shard."""
    for path, keys in rows.captions_by_tar():
        yield Path(path).stem, keys


def _read(dataset: Dataset, relative: str, names: list[str]) -> dict[str, list[Any]]:
    import pyarrow.parquet as pq

    table = pq.ParquetFile(dataset.path(relative)).read(names)
    return {name: table[name].to_pylist() for name in names}
