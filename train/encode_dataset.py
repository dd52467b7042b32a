"""Encode a dataset's images and captions once, so that training reads latents and text states.

Reads tars and sidecars; writes the arrays of latents.py and text_states.py beside them. Images are
fitted and captions are worded by the functions that training uses, so that what is read is what
would have been encoded. Cost: one pass of the autoencoder per image (two with flips), one of the
text encoders per caption; memory for a few batches, since the arrays are written through memory
maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from frenchcat.curate import files
from frenchcat.curate.adopted import stores_images
from frenchcat.curate.command_text import shell_command
from frenchcat.curate.config import changed
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import NotFound, UserError
from frenchcat.curate.markers import marker
from frenchcat.curate.redo import Redo, confirm
from frenchcat.curate.run_stage import run_stage
from frenchcat.curate.stage import Progress, Stage, StageReport
from frenchcat.train.encoders import (
    PRECISIONS,
    SETTING_NAMES,
    Encoders,
    Precision,
    latents_signature,
    open_encoders,
)
from frenchcat.train.encoding_stage import Wanted, columns_of
from frenchcat.train.latents import LatentStage
from frenchcat.train.model import device_of
from frenchcat.train.settings import TrainSettings
from frenchcat.train.start import with_start
from frenchcat.train.text_states import TextStage


@dataclass(frozen=True)
class Encoded:
    """What `encode_dataset` did."""

    stages: tuple[StageReport, ...]
    unreadable: dict[str, int] = field(default_factory=dict)  # reason -> images without latents
    notes: tuple[str, ...] = ()  # what is not stored, and why


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
        raise UserError(f"--precision {precision} is not one of: {', '.join(PRECISIONS)}")
    shards = [shard for shard in dataset.shards("download") if stores_images(dataset, shard)]
    if not shards:
        raise UserError(f"{dataset.root} has no images to encode; first: {dataset.fetch_command()}")
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
    elif settings.data.captions:
        notes.append("data.captions are encoded by the training, so there are no text states")
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
        again = shell_command("select", dataset.root, selection, "--replace")
        raise NotFound(f"the selection {selection!r} is empty; select some rows with: {again}")
    return {shard: frozenset(keys) for shard, keys in found.items()}


def _unreadable(dataset: Dataset, shards: Sequence[str]) -> dict[str, int]:
    """Reason -> images without latents."""
    from collections import Counter

    counts: Counter[str] = Counter()
    for shard in shards:
        if dataset.exists(files.LATENT_ROWS.of(shard)):
            reasons = columns_of(dataset, files.LATENT_ROWS.of(shard), ["reason"])["reason"]
            counts.update(str(one).partition(":")[0] for one in reasons if one is not None)
    return dict(counts.most_common())


def data_of(settings: TrainSettings, dataset: str, selection: str | None) -> TrainSettings:
    """Settings whose data are a dataset's."""
    data = changed(settings.data, dataset=dataset, selection=selection, tars=None)
    return changed(settings, data=data)
