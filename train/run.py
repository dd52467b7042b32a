"""A run's folder, and the parts of a model: created for training, reopened for sampling.

<run>/run.json          the resolved settings, the selection's digest, versions
<run>/rows/             what is trained on (rows.py)
<run>/checkpoints/      (checkpoint.py)
<run>/log.jsonl         one line per step: loss, rate, where the time went
<run>/held_out.jsonl    one line per checkpoint: the loss on held-out images
<run>/losses-0.jsonl    one line per damaged sample, a file per rank: key, reason, substitute
<run>/samples/          grids of the fixed prompts
<run>/tensorboard/
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from frenchcat.curate.atomic import write_whole
from frenchcat.curate.command_text import shell_command, train_command
from frenchcat.curate.config import as_dict, changed, resolve
from frenchcat.curate.dataset import MANIFEST, Dataset
from frenchcat.curate.errors import NotFound, UserError
from frenchcat.curate.json_text import json_text
from frenchcat.train import checkpoint, tar_urls
from frenchcat.train.caption_columns import caption_columns_of
from frenchcat.train.diffusion import Diffusion
from frenchcat.train.export import renew_pipeline
from frenchcat.train.families import Family
from frenchcat.train.layout import (
    Allowed,
    Words,
    always,
    rows_of_selection,
    rows_of_tars,
    stamp_of_tars,
)
from frenchcat.train.lora import add_lora, add_text_lora
from frenchcat.train.model import Codec, device_of, load_unet, make_unet
from frenchcat.train.pictures import edges_of, squarest
from frenchcat.train.pipeline_text import PipelineText
from frenchcat.train.rows import TrainingRows, open_rows
from frenchcat.train.settings import TrainSettings
from frenchcat.train.start import (
    Start,
    check_fits,
    open_pipeline,
    opened_as,
    process_of,
    start_of,
)
from frenchcat.train.tar_urls import tars_of
from frenchcat.train.text import TextEncoder

ABOUT = "run.json"
_NOT_OF_THE_MODEL = ("checkpointing", "start")  # a start is identified by its digest, not its path
_NONE = object()
YOUNGER: dict[str, Any] = {
    "patch": 1,
    "pooled": False,
    "loss": "target",
    "times": "uniform",
    "times_mean": 0.0,
    "times_spread": 1.0,
    "shift": 1.0,
    "noise_offset": 0.0,
    "multiple": 8,
    "caption": None,
    "captions": [],
    "templates": [],
    "held_out_keys": [],
    "lora": 0,
    "lora_alpha": None,
    "lora_text": False,
    "weights": [],
    "template_weights": [],
    "image_vector": False,
    "image_dropout": 0.5,
}
"""Settings that are younger than the first checkpoints, with the values that those had."""


@dataclass
class Parts:
    """Everything that turns captions into images."""

    settings: TrainSettings
    unet: Any
    text: TextEncoder | PipelineText
    codec: Codec
    diffusion: Diffusion
    start: Start | None = None  # what a training started from
    family: Family = field(default_factory=Family)  # how the network is asked

    def to(self, device: Any) -> Parts:
        """The same, text encoders and autoencoder on a device; the network has one of its own."""
        self.codec.to(device)
        self.text.to(device)
        return self

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of x for a drawing of the usual size: channels, height, width."""
        width, height = squarest(self.settings.data)
        return self.codec.channels, height // self.codec.shrinks, width // self.codec.shrinks


def make_parts(settings: TrainSettings) -> Parts:
    """New parts; the U-Net's weights are drawn from the run's seed.

    Raises `UserError` for settings that do not fit together or files that do not load.
    """
    import torch

    if settings.model.start is not None:
        return _started(settings, start_of(settings.model.start))
    process = settings.diffusion
    diffusion = Diffusion.make(process.schedule, process.steps, zero_terminal=process.zero_terminal)
    try:
        diffusion.check(process.target)
    except ValueError as error:
        raise UserError(str(error)) from None
    check_process(settings)
    text = TextEncoder(settings.text, settings.model.image_vector)
    codec = Codec.load(settings.model.vae, settings.model.patch)
    torch.manual_seed(settings.run.seed)
    unet = unet_of(settings, text, codec)
    if settings.model.lora:
        add_lora(unet, settings.model, Family())
    return Parts(settings, unet, text, codec, diffusion)


def _started(settings: TrainSettings, start: Start) -> Parts:
    """Parts with the weights of `start`; for a pipeline all of its parts."""
    import torch

    if start.kind == "pipeline":
        diffusion, _ = process_of(start)
        family, codec = open_pipeline(start, settings)
        network = getattr(family.pipe, family.part)
        text = PipelineText(family, start.digest())
        parts = Parts(settings, network, text, codec, diffusion, start, family)
    else:
        parts = make_parts(changed(settings, model=changed(settings.model, start=None, lora=0)))
        parts = replace(parts, settings=settings, unet=load_unet(start.network), start=start)
        assert isinstance(parts.text, TextEncoder)
        check_fits(start, parts.unet, parts.text.width, parts.codec.channels)
    if settings.model.checkpointing:
        parts.unet.enable_gradient_checkpointing()
    torch.manual_seed(settings.run.seed)
    if settings.model.lora:
        add_lora(parts.unet, settings.model, parts.family)
    if settings.model.lora_text:
        add_text_lora(start, settings.model, parts.family)
    return parts


def unet_of(settings: TrainSettings, text: TextEncoder, codec: Codec) -> Any:
    """A U-Net for these captions and images. Raises `UserError` if sizes do not fit."""
    size = settings.data.size
    if size % codec.shrinks:
        raise UserError(
            f"data.size {size} is not a multiple of model.patch {codec.shrinks}; "
            f"give {size // codec.shrinks * codec.shrinks or codec.shrinks}, or a smaller patch"
        )
    side = size // codec.shrinks
    return make_unet(settings.model, side, text.width, codec.channels, text.pooled_width)


def check_process(settings: TrainSettings) -> None:
    """Raise `UserError` for contradictory settings of the diffusion."""
    process = settings.diffusion
    if process.loss == "velocity" and process.min_snr:
        raise UserError(
            f"diffusion.loss velocity has its own weights, but diffusion.min_snr is "
            f"{process.min_snr:g}; set min_snr = 0, or loss = target"
        )
    if process.times == "uniform" and (process.times_mean, process.times_spread) != (0.0, 1.0):
        raise UserError(
            f"diffusion.times_mean {process.times_mean:g} and times_spread "
            f"{process.times_spread:g} need times = logit_normal, but times is uniform"
        )


def open_run(
    path: Path, which: Path | None = None, device: str = "cpu"
) -> tuple[Parts, checkpoint.State, Path]:
    """A trained run's parts with the averaged weights, on a device; its state and checkpoint.

    `which` is a checkpoint's folder, by default the best. Raises `UserError` if the folder is not a
    run or has no checkpoint yet, or there is no such device.
    """
    from frenchcat.curate.unset_weights import UnsetWeights

    found, state, settings = find_checkpoint(path, which)
    if settings.run.task != "diffusion":
        raise UserError(
            f"{path} is the run of a {settings.run.task}, which draws nothing; give a diffusion "
            f"model's run, and this one as --classifier {path}"
        )
    _renew_pipelines({found, *checkpoint.steps(path)})
    settings = opened_as(settings, found)
    with contextlib.nullcontext() if settings.model.start else UnsetWeights():
        parts = make_parts(settings)  # its network is replaced below
    on = device_of(device)
    if not parts.family.pipeline:  # else the checkpoint is a pipeline, and its network is there
        parts.unet = load_unet(found / "unet")
    parts.unet = parts.unet.eval().to(on)
    return parts.to(on), state, found


def _renew_pipelines(folders: Iterable[Path]) -> None:
    """Make old checkpoints load in diffusers; drawing works even if the run cannot be written."""
    for folder in folders:
        with contextlib.suppress(UserError):
            renew_pipeline(folder)


def find_checkpoint(
    path: Path, which: Path | None = None
) -> tuple[Path, checkpoint.State, TrainSettings]:
    """A run's checkpoint, `which` or the best, with its state and settings; loads no model.

    `which` is the folder of one of its checkpoints, or its name. Raises `UserError` if the folder
    is not a run, or has no such checkpoint.
    """
    if not (path / ABOUT).exists():
        make = train_command("train-demo", path)
        raise NotFound(f"{path} is not a run: it has no {ABOUT}; make one with: {make}")
    found = checkpoint.best(path) if which is None else _named(path, which)
    if found is None:
        raise NotFound(f"{path} has no checkpoint yet; continue its training")
    state = checkpoint.read_state(found)
    settings = resolve(TrainSettings, state.settings, str(found / "state.json"))
    return found, state, _located(settings, path)


def _named(run: Path, which: Path) -> Path:
    """The checkpoint of a run that is meant: by its folder, or by its name alone."""
    there = run / checkpoint.FOLDER
    by_name = len(which.parts) == 1 and not (which / "state.json").exists()
    found = there / which if by_name else which
    known = ", ".join(one.name for one in checkpoint.steps(run)) or "none yet"
    if not (found / "state.json").exists():
        raise NotFound(f"{which} is not a checkpoint; those of this run are in {there}: {known}")
    if found.resolve().parent != there.resolve():
        raise NotFound(
            f"{which} is a checkpoint of another run than {run}; those of this run are in {there}: "
            f"{known}"
        )
    return found


def anchored(settings: TrainSettings) -> TrainSettings:
    """Settings whose data have absolute paths, so that a run finds them from any folder."""
    data = settings.data
    whole = {}
    if data.dataset is not None and "://" not in data.dataset:
        whole["dataset"] = os.path.abspath(os.path.expanduser(data.dataset))
    if data.tars is not None:
        whole["tars"] = tar_urls.anchored(data.tars)
    return changed(settings, data=changed(data, **whole)) if whole else settings


def _located(settings: TrainSettings, run: Path) -> TrainSettings:
    """Settings of a run that kept a relative path: resolved here, else in a folder above the
    run.
    """
    place = settings.data.dataset
    if place is None or "://" in place or os.path.isabs(place) or os.path.exists(place):
        return settings
    around = (str(folder / place) for folder in run.resolve().parents)
    found = next((path for path in around if os.path.exists(f"{path}/{MANIFEST}")), place)
    return changed(settings, data=changed(settings.data, dataset=found))


def save_about(
    path: Path, settings: TrainSettings, rows: TrainingRows, text: TextEncoder | PipelineText | None
) -> None:
    """Write run.json; `text` is None for a classifier, which reads none."""
    from importlib.metadata import version

    about = {
        "settings": as_dict(settings),
        "selection": rows.digest,
        "rows": len(rows),
        "left_out": rows.left_out,
        "text": {"model": text.name, "digest": text.digest} if text else None,
        "versions": {name: version(name) for name in ("torch", "diffusers", "open_clip_torch")},
    }
    write_whole(path / ABOUT, json_text(about, indent=1) + "\n")


def identity_of(
    settings: TrainSettings,
    rows: TrainingRows,
    text: TextEncoder | PipelineText,
    start: Start | None = None,
) -> dict[str, Any]:
    """What must stay the same for a run to resume."""
    return identity_with(settings, rows.digest, text, start)


def identity_with(
    settings: TrainSettings,
    digest: str,
    text: TextEncoder | PipelineText,
    start: Start | None = None,
) -> dict[str, Any]:
    """The same from the digest of the rows, which need not be laid out yet."""
    begun = {} if start is None else {"start": start.digest()}
    return begun | {
        "selection": digest,
        "seed": settings.run.seed,
        "text model": text.digest,
        "caption dropout": settings.text.dropout,
        "caption separator": settings.text.separator,
        "model": _chosen(
            {k: v for k, v in as_dict(settings.model).items() if k not in _NOT_OF_THE_MODEL}
        ),
        "diffusion": _chosen(as_dict(settings.diffusion)),
        "data": order_of(settings),
    }


def _chosen(section: dict[str, Any]) -> dict[str, Any]:
    """A section without younger settings at their defaults, which old checkpoints lack."""
    return {name: value for name, value in section.items() if YOUNGER.get(name, _NONE) != value}


def order_of(settings: TrainSettings) -> dict[str, Any]:
    """The data settings that decide which samples a batch has, and how they look."""
    data = as_dict(settings.data)
    names = ("batch", "size", "aspects", "flip", "crop", "shards_per_block")
    found = {name: data[name] for name in names} | {"held_out": settings.run.held_out}
    more = {
        "caption": data["caption"],
        "captions": list(data["captions"]),
        "multiple": data["multiple"],
        "templates": list(settings.text.templates),
        "weights": list(settings.text.weights),
        "template_weights": list(settings.text.template_weights),
    }
    return found | _chosen(more | {"held_out_keys": list(settings.run.held_out_keys)})


def prepare_rows(
    settings: TrainSettings, folder: Path, allowed: Allowed = always
) -> tuple[TrainingRows, list[str] | None]:
    """The rows of the settings' selection or tars, laid out once; and what was damaged.

    The damages are None for tars that were laid out before, since nothing was searched. `allowed`
    is asked before other rows are replaced. Raises `UserError` if no data are named, or they cannot
    be read.
    """
    data, held_out = settings.data, settings.run.held_out
    keys = settings.run.held_out_keys
    if data.dataset is not None:
        if data.selection is None:
            raise UserError(
                "data.selection names no selection; make one with: "
                f"{shell_command('select', data.dataset, 'NAME')}"
            )
        dataset = Dataset.open(data.dataset)
        words: Words = "label" if settings.run.task == "classifier" else "caption"
        edges = edges_of(data.aspects)
        captions = caption_columns_of(settings)
        rows = rows_of_selection(
            dataset, data.selection, folder, edges, held_out, words, keys, captions, allowed
        )
        return rows, []
    if data.tars is None:
        raise UserError("nothing to train on: set data.dataset and data.selection, or data.tars")
    if settings.run.task == "classifier":
        raise UserError(
            "data.tars have no labels; a classifier needs data.dataset and data.selection"
        )
    captions = caption_columns_of(settings)
    there, paths = open_rows(folder), tars_of(data.tars, folder / "piped")
    edges = edges_of(data.aspects)
    if there is not None and there.stamp == stamp_of_tars(
        paths, held_out, edges, data.caption, keys, captions
    ):
        there.check_tars()
        return there, None
    return rows_of_tars(paths, folder, held_out, edges, data.caption, keys, captions, allowed)
