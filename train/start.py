"""What a training starts from: somebody's Stable Diffusion, a U-Net, or a checkpoint of our own.

    a StableDiffusionPipeline    U-Net, text encoder, tokenizer, autoencoder and the noise of its
                                 scheduler: Stable Diffusion 1.5 and 2 and their kin
    a UNet2DConditionModel       its weights; text tower and process are the settings'
    a run or checkpoint of ours  its U-Net's weights, with its text tower and process

Reads folders, downloads nothing. Text encoder and autoencoder are frozen. A checkpoint of a run
that started from a pipeline is such a pipeline: it opens in diffusers without code of ours, and a
further training can start from it. Parts that did not change are linked, not copied, where that is
possible.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from frenchcat.curate.config import as_dict, changed, resolve
from frenchcat.curate.dataset import file_sha256
from frenchcat.curate.errors import NotFound, UserError, first_line
from frenchcat.curate.notices import say_once
from frenchcat.train.diffusion import Diffusion, Target
from frenchcat.train.settings import TrainSettings
from frenchcat.train.text import Condition

if TYPE_CHECKING:
    from torch import Tensor


INDEX = "model_index.json"
PIPELINES = ("StableDiffusionPipeline",)
"""The pipelines that can be trained."""
_SCHEDULES = {"linear": "linear", "scaled_linear": "scaled_linear", "squaredcos_cap_v2": "cosine"}
_TARGETS: dict[str, Target] = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}
_QUIET = {"local_files_only": True}


@dataclass(frozen=True)
class Start:
    """A folder to start from, and what it is."""

    folder: Path
    kind: Literal["pipeline", "unet", "own"]

    @property
    def unet(self) -> Path:
        """The folder of the U-Net."""
        return self.folder if self.kind == "unet" else self.folder / "unet"

    def digest(self) -> str:
        """Of the U-Net's weights, and of a pipeline's text encoder and autoencoder."""
        names = ("unet", "text_encoder", "vae") if self.kind == "pipeline" else ("",)
        folders = [self.folder / name for name in names] if self.kind != "own" else [self.unet]
        parts = [file_sha256(path) for folder in folders for path in _weights(folder)]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def start_of(named: str) -> Start:
    """What `model.start` names. Raises `UserError` for a folder that nothing can start from."""
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise NotFound(
            f"model.start {named} is no folder; give that of a pipeline, a U-Net or a run"
        )
    if (folder / "run.json").exists():
        from frenchcat.train.checkpoint import best

        found = best(folder)
        if found is None:
            raise NotFound(f"model.start {named} has no checkpoint yet; let its training go on")
        folder = found
    if (folder / INDEX).exists():
        name = _json(folder / INDEX).get("_class_name")
        if name in PIPELINES:
            return Start(folder, "pipeline")
        if not isinstance(name, list):
            raise UserError(
                f"model.start {named} is a {name}; those that can be trained: "
                f"{', '.join(PIPELINES)}, a UNet2DConditionModel, a run of frenchcat"
            )
    if (folder / "state.json").exists() or (folder / INDEX).exists():
        return Start(folder, "own")
    kind = (
        _json(folder / "config.json").get("_class_name")
        if (folder / "config.json").exists()
        else ""
    )
    if kind == "UNet2DConditionModel":
        return Start(folder, "unet")
    there = f"is of the class {kind}" if kind else f"has neither {INDEX} nor a U-Net's config.json"
    raise UserError(f"model.start {named} {there}; give the folder of a pipeline, a U-Net or a run")


def open_unet(start: Start) -> Any:
    """The U-Net. Raises `UserError` where it does not load."""
    import diffusers

    unet_class: Any = diffusers.UNet2DConditionModel
    try:
        return unet_class.from_pretrained(start.unet, low_cpu_mem_usage=False, **_QUIET).float()
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{start.unet} does not load: {first_line(error, 200)}") from None


def check_fits(start: Start, unet: Any, text_width: int, channels: int) -> None:
    """Raise `UserError` for a U-Net that attends to other states, or works on other pictures."""
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
    if getattr(config, "addition_embed_type", None) or getattr(config, "class_embed_type", None):
        raise UserError(
            f"the U-Net of {start.folder} is conditioned on more than text (SDXL's kind), which is "
            "not trained here yet"
        )


def open_vae(start: Start) -> Any:
    """A pipeline's autoencoder, frozen, in evaluation mode."""
    import diffusers

    vae_class: Any = diffusers.AutoencoderKL
    try:
        vae = vae_class.from_pretrained(start.folder / "vae", low_cpu_mem_usage=False, **_QUIET)
    except (OSError, ValueError) as error:
        raise UserError(f"{start.folder / 'vae'} does not load: {first_line(error, 200)}") from None
    return vae.eval().requires_grad_(False)


def process_of(start: Start) -> tuple[Diffusion, Target]:
    """The noise of a pipeline's scheduler at each time, and what its U-Net predicts.

    Raises `UserError` for a scheduler without a table of noise (a flow's).
    """
    import diffusers
    import torch

    about = _json(start.folder / "scheduler" / "scheduler_config.json")
    ddpm: Any = diffusers.DDPMScheduler
    kind = about.get("prediction_type", "epsilon")
    if "beta_schedule" not in about or kind not in _TARGETS:
        raise UserError(
            f"the scheduler of {start.folder} is a {about.get('_class_name')} that predicts "
            f"{kind}; only those with betas are trained, that predict epsilon, "
            "sample or v_prediction"
        )
    bar = ddpm.from_config(about).alphas_cumprod.to(torch.float64)
    return Diffusion(bar.sqrt(), (1 - bar).sqrt()), _TARGETS[kind]


class PipelineText:
    """A pipeline's text encoder: states of all positions, as Stable Diffusion attends to them."""

    def __init__(self, start: Start) -> None:
        import transformers

        quiet: Any = transformers.utils.logging.disable_progress_bar
        quiet()
        model: Any = transformers.CLIPTextModel
        _, named = _json(start.folder / INDEX).get("tokenizer", ("", "CLIPTokenizer"))
        tokenizer: Any = getattr(transformers, named, transformers.AutoTokenizer)
        try:
            self._tokenizer = tokenizer.from_pretrained(start.folder / "tokenizer", **_QUIET)
            loaded = model.from_pretrained(start.folder / "text_encoder", **_QUIET)
        except (OSError, ValueError) as error:
            raise UserError(
                f"the text encoder of {start.folder} does not load: {first_line(error, 200)}"
            ) from None
        self._model = loaded.float().eval().requires_grad_(False)
        self.name, self.digest = type(loaded).__name__, start.digest()
        self.limit = int(self._tokenizer.model_max_length)
        self.width = int(loaded.config.hidden_size)
        self._kept: dict[str, Tensor] = {}
        self._too_long: set[str] = set()

    def __call__(self, captions: Sequence[str]) -> Condition:
        """Captions -> states (B, L, D), L positions each, and a mask that leaves out none."""
        import torch

        new = [caption for caption in dict.fromkeys(captions) if caption not in self._kept]
        if len(self._kept) + len(new) > _KEPT:
            self._kept, new = {}, list(dict.fromkeys(captions))
        for start in range(0, len(new), _AT_ONCE):
            self._encode(new[start : start + _AT_ONCE])
        states = torch.stack([self._kept[caption] for caption in captions])
        return Condition(states, torch.ones(states.shape[:2], dtype=torch.bool))

    def too_long(self, captions: Sequence[str]) -> list[str]:
        """Those of the captions just encoded that have more than `limit` tokens, and were cut."""
        return [caption for caption in captions if caption in self._too_long]

    def _encode(self, captions: list[str]) -> None:
        import torch

        found = self._tokenizer(
            captions,
            padding="max_length",
            max_length=self.limit,
            truncation=True,
            return_overflowing_tokens=False,
            return_tensors="pt",
        )
        whole = self._tokenizer(captions, truncation=False, verbose=False).input_ids
        for caption, tokens in zip(captions, whole, strict=True):
            if len(tokens) > self.limit:
                self._too_long.add(caption)
        with torch.no_grad():
            states = self._model(found.input_ids)[0].float()
        self._kept |= dict(zip(captions, states, strict=True))


_KEPT, _AT_ONCE = 5_000, 32


def with_start(settings: TrainSettings) -> TrainSettings:
    """Settings in which what a start decides is the start's: process, text tower, U-Net.

    What is replaced is said. Raises `UserError` as `start_of` does, and for a start without what it
    needs.
    """
    if settings.model.start is None:
        return settings
    start = start_of(settings.model.start)
    model = changed(settings.model, start=str(start.folder.resolve()))
    if start.kind == "unet":
        return changed(settings, model=model)
    if start.kind == "pipeline":
        diffusion, target = process_of(start)
        about = _json(start.folder / "scheduler" / "scheduler_config.json")
        named = _SCHEDULES.get(about["beta_schedule"], settings.diffusion.schedule)
        process = changed(
            settings.diffusion,
            schedule=named,
            steps=len(diffusion),
            target=target,
            zero_terminal=float(diffusion.a[-1]) == 0.0,
        )
        found = changed(settings, model=changed(model, vae=None, patch=1), diffusion=process)
    else:
        found = _as_own(settings, start, model)
    replaced = [
        f"{section}.{name} is {value}"
        for section in ("text", "model", "diffusion")
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
            f"model.start {start.folder} lost its state.json, which says how it was trained; give "
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
        checkpointing=mine.checkpointing,
    )
    text = changed(settings.text, model=then.text.model, pretrained=then.text.pretrained)
    return changed(settings, model=shape, text=text, diffusion=then.diffusion)


def opened_as(settings: TrainSettings, folder: Path) -> TrainSettings:
    """The settings that open a run's checkpoint: it holds all, whatever it started from."""
    if settings.model.start is None and not settings.model.lora:
        return settings
    index = folder / INDEX
    pipeline = index.exists() and _json(index).get("_class_name") in PIPELINES
    start = str(folder) if pipeline else None
    return changed(settings, model=changed(settings.model, start=start, lora=0))


def export_pipeline(start: Start, folder: Path) -> None:
    """Put a pipeline's parts but its U-Net into a checkpoint's folder, and its index."""
    for part in sorted(start.folder.iterdir()):
        if part.is_dir() and part.name not in ("unet", "lora"):
            shutil.copytree(part, folder / part.name, copy_function=_linked)
    shutil.copyfile(start.folder / INDEX, folder / INDEX)


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


def _json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({first_line(error, 200)}); restore it") from None
    return found
