"""What a training starts from: somebody's pipeline, a U-Net, or a checkpoint of our own.

    a pipeline of families/      network, text encoders, tokenizers, autoencoder and the noise of
                                 its scheduler: Stable Diffusion 1.5 to 3, SDXL, PixArt
    a UNet2DConditionModel       its weights; text tower and process are the settings'
    a run or checkpoint of ours  its U-Net's weights, with its text tower and process
    `artist`                     the bundled artist (artist.py), likewise

Reads folders, downloads nothing. Text encoders and autoencoder are frozen. A checkpoint of a run
that started from a pipeline is such a pipeline: it opens in diffusers without code of ours, and a
further training can start from it. Parts that did not change are linked, not copied, where that is
possible.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from frenchcat.curate.config import as_dict, changed, resolve
from frenchcat.curate.dataset import file_sha256
from frenchcat.curate.errors import NotFound, UserError
from frenchcat.curate.notices import say_once
from frenchcat.train.diffusion import Diffusion, Target
from frenchcat.train.families import FAMILIES, Family, PipelineFamily
from frenchcat.train.families.base import read_json
from frenchcat.train.model import Codec
from frenchcat.train.pictures import shapes_of
from frenchcat.train.settings import TrainSettings

INDEX, SCHEDULER = "model_index.json", "scheduler_config.json"
_SCHEDULES = {"linear": "linear", "scaled_linear": "scaled_linear", "squaredcos_cap_v2": "cosine"}
ARTIST = "artist"
"""What `model.start` calls the bundled artist."""
_PARTS = ("unet", "transformer")
"""Where a checkpoint's network may lie."""


@dataclass(frozen=True)
class Start:
    """A folder to start from, and what it is."""

    folder: Path
    kind: Literal["pipeline", "unet", "own"]
    family: type[Family] = Family

    @property
    def pipeline(self) -> type[PipelineFamily]:
        """The family of a start of the kind "pipeline"."""
        assert issubclass(self.family, PipelineFamily)
        return self.family

    @property
    def network(self) -> Path:
        """The folder of what is trained; the artist's weights lie beside its state."""
        part = self.folder / self.family.part
        alone = self.kind == "own" and not part.is_dir() and (self.folder / "config.json").exists()
        return self.folder if self.kind == "unet" or alone else part

    def digest(self) -> str:
        """Of the network's weights, and of a pipeline's text encoders and autoencoder."""
        folders = [self.network]
        if self.kind == "pipeline":
            encoders = sorted(path for path in self.folder.glob("text_encoder*") if path.is_dir())
            folders += [*encoders, self.folder / "vae"]
        parts = [file_sha256(path) for folder in folders for path in _weights(folder)]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def artist_folder() -> Path:
    """The folder of the bundled artist's files, whether they exist or not."""
    return Path(str(files("frenchcat").joinpath("artist")))


def start_of(named: str) -> Start:
    """What `model.start` names. Raises `UserError` for a folder that nothing can start from."""
    folder = Path(named).expanduser()
    if named == ARTIST and not folder.exists():
        folder = artist_folder()
        if not (folder / "state.json").exists():
            raise NotFound(f"model.start artist is not installed: {folder} has no state.json")
    if not folder.is_dir():
        raise NotFound(
            f"model.start {named} is not a folder; give that of a pipeline, a U-Net or a run"
        )
    if (folder / "run.json").exists():
        from frenchcat.train.checkpoint import best

        found = best(folder)
        if found is None:
            raise NotFound(f"model.start {named} has no checkpoint yet; continue its training")
        folder = found
    if (folder / INDEX).exists():
        name = read_json(folder / INDEX).get("_class_name")
        if isinstance(name, str) and name in FAMILIES:
            return Start(folder, "pipeline", FAMILIES[name])
        if not isinstance(name, list):
            raise UserError(
                f"model.start {named} is a {name}; those that can be trained: "
                f"{', '.join(FAMILIES)}, a UNet2DConditionModel, a run of frenchcat"
            )
    if (folder / "state.json").exists() or (folder / INDEX).exists():
        return Start(folder, "own")
    kind = (
        read_json(folder / "config.json").get("_class_name")
        if (folder / "config.json").exists()
        else ""
    )
    if kind == "UNet2DConditionModel":
        return Start(folder, "unet")
    there = f"is of the class {kind}" if kind else f"has neither {INDEX} nor a U-Net's config.json"
    raise UserError(f"model.start {named} {there}; give the folder of a pipeline, a U-Net or a run")


def check_fits(start: Start, unet: Any, text_width: int, channels: int) -> None:
    """Raise `UserError` for a U-Net that attends to other states, or works on other images."""
    config = unet.config
    if config.cross_attention_dim != text_width:
        raise UserError(
            f"the U-Net of {start.folder} attends to states {config.cross_attention_dim} wide, and "
            f"text.model gives {text_width}; name its own text tower, or its whole pipeline"
        )
    if config.in_channels != channels or config.out_channels != channels:
        raise UserError(
            f"the U-Net of {start.folder} has {config.in_channels} channels, and x has {channels}; "
            "set model.vae to its autoencoder, or name its whole pipeline"
        )
    more = getattr(config, "addition_embed_type", None), getattr(config, "class_embed_type", None)
    if start.kind != "own" and any(more):  # our own take the captions' embeddings there
        raise UserError(
            f"the U-Net of {start.folder} is conditioned on more than text (SDXL's kind); name its "
            "whole pipeline, which has the rest"
        )


def open_pipeline(start: Start, settings: TrainSettings) -> tuple[PipelineFamily, Codec]:
    """A pipeline's family and its autoencoder. Raises `UserError` where they do not go together."""
    family = start.pipeline.open(start.folder)
    vae = family.pipe.vae
    if getattr(vae.config, "latents_mean", None) is not None:
        raise UserError(
            f"the autoencoder of {start.folder} has a mean for each channel of its latents "
            "(latents_mean), which is not trained with here; name a pipeline without"
        )
    codec, config = Codec(vae), getattr(family.pipe, family.part).config
    if config.in_channels != codec.channels:
        raise UserError(
            f"the {family.network} of {start.folder} takes {config.in_channels} channels, and its "
            f"latents have {codec.channels}: it is made for more than text, such as inpainting; "
            "name a pipeline of text alone"
        )
    for width, height in shapes_of(settings.data):
        family.check_size((height // codec.shrinks, width // codec.shrinks))
    return family, codec


def process_of(start: Start) -> tuple[Diffusion, Target]:
    """The noise of a pipeline's scheduler at each time, and what its network predicts.

    Raises `UserError` for a scheduler that the family is not trained with.
    """
    return start.pipeline.process(read_json(start.folder / "scheduler" / SCHEDULER), start.folder)


def with_start(settings: TrainSettings) -> TrainSettings:
    """Settings in which what a start decides is the start's: process, text tower, U-Net.

    What is replaced is said. Raises `UserError` as `start_of` does, and for a start without what it
    needs.
    """
    if settings.model.start is None:
        return settings
    start = start_of(settings.model.start)
    if start.kind != "own" and settings.model.image_vector:
        raise UserError(
            f"model.image_vector is for networks of our own, which {start.folder} is not; leave "
            "one of them out"
        )
    model = changed(settings.model, start=str(start.folder.resolve()))
    if start.kind == "unet":
        return changed(settings, model=model)
    if start.kind == "pipeline":
        diffusion, target = process_of(start)
        about = read_json(start.folder / "scheduler" / SCHEDULER)
        named = "flow" if target == "flow" else _SCHEDULES.get(about["beta_schedule"])
        process = changed(
            settings.diffusion,
            schedule=named or settings.diffusion.schedule,
            steps=len(diffusion),
            target=target,
            zero_terminal=float(diffusion.a[-1]) == 0.0,
            min_snr=0.0 if target == "flow" else settings.diffusion.min_snr,  # as `auto` has it
        )
        data = changed(settings.data, multiple=max(settings.data.multiple, _multiple(start)))
        model = changed(model, vae=None, patch=1)
        found = changed(settings, data=data, model=model, diffusion=process)
    else:
        found = _as_own(settings, start, model)
    replaced = [
        f"{section}.{name} is {value}"
        for section in ("data", "text", "model", "diffusion")
        for name, value in as_dict(getattr(found, section)).items()
        if value != as_dict(getattr(settings, section))[name] and name != "start"
    ]
    if replaced:
        say_once(f"of model.start {settings.model.start}: {', '.join(replaced)}")
    return found


def _as_own(settings: TrainSettings, start: Start, model: Any) -> TrainSettings:
    """Settings with the text tower, the process and the U-Net's shape of one of our checkpoints."""
    from frenchcat.train.checkpoint import read_state

    if not (start.folder / "state.json").exists():
        raise UserError(
            f"model.start {start.folder} has no state.json, which says how it was trained; give "
            "the run's own checkpoint, or its unet/ with the settings that fit it"
        )
    then = resolve(TrainSettings, read_state(start.folder).settings, str(start.folder))
    if then.run.task != "diffusion":
        raise UserError(f"model.start {start.folder} is a {then.run.task}, which draws nothing")
    mine = settings.model
    shape = changed(
        then.model,
        start=model.start,
        lora=mine.lora,
        lora_alpha=mine.lora_alpha,
        lora_text=mine.lora_text,
        checkpointing=mine.checkpointing,
    )
    text = changed(settings.text, model=then.text.model, pretrained=then.text.pretrained)
    return changed(settings, model=shape, text=text, diffusion=then.diffusion)


def opened_as(settings: TrainSettings, folder: Path) -> TrainSettings:
    """The settings that open a run's checkpoint: it holds all, whatever it started from."""
    if settings.model.start is None and not settings.model.lora:
        return settings
    index = folder / INDEX
    name = read_json(index).get("_class_name") if index.exists() else None
    pipeline = isinstance(name, str) and name in FAMILIES
    start = str(folder) if pipeline else None
    return changed(settings, model=changed(settings.model, start=start, lora=0, lora_text=False))


def export_pipeline(start: Start, folder: Path, trained: dict[str, Any]) -> None:
    """Put a pipeline's parts but its network into a checkpoint's folder, and its index.

    `trained` are text encoders that changed, by name.
    """
    for name, encoder in trained.items():
        encoder.save_pretrained(folder / name)
    for part in sorted(start.folder.iterdir()):
        if part.is_dir() and part.name not in (start.family.part, "lora", *trained):
            shutil.copytree(part, folder / part.name, copy_function=_linked)
    shutil.copyfile(start.folder / INDEX, folder / INDEX)


def weights_digest(checkpoint: Path) -> str:
    """The SHA-256 of the weights that a checkpoint draws with; of those of all files, if several.

    Raises `UserError` where there are none.
    """
    there = [checkpoint / part for part in _PARTS if (checkpoint / part).is_dir()]
    digests = [file_sha256(path) for path in _weights(there[0] if there else checkpoint)]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


def _multiple(start: Start) -> int:
    """What the sides of images are multiples of, so that they divide into latents and patches."""
    levels = read_json(start.folder / "vae" / "config.json").get("block_out_channels", ())
    patch = read_json(start.network / "config.json").get("patch_size") or 1
    return int(2 ** max(len(levels) - 1, 0) * patch)


def _linked(source: str, target: str) -> str:
    try:
        os.link(os.path.realpath(source), target)
    except OSError:
        shutil.copyfile(source, target)
    return target


def _weights(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))
    if not found:
        raise UserError(f"{folder} holds no weights (*.safetensors or *.bin); restore them")
    return found
