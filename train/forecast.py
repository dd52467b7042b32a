"""What a training will take, before it begins: memory by its parts, steps, and time by its parts.

    frenchcat train train-sd-256 --plan

Reads settings and, where there are any, the configs of a pipeline or an autoencoder; no weights.
The network runs forward once on tensors that have shapes but no memory (torch's FakeTensorMode),
and what autograd keeps of it is added up: that is exact for float32 and for bfloat16 on a
processor. On a GPU kernels choose for themselves, and torch's allocator holds more than is used.

Time is work divided by speed: floating point operations of the network and the autoencoder, at
UTILISATION of the speed that a product of matrices reaches on this device, which is measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from frenchcat.curate.errors import UserError
from frenchcat.train.families import Family
from frenchcat.train.families.base import read_json
from frenchcat.train.lora import add_lora
from frenchcat.train.model import AT_ONCE, make_unet, vae_bytes
from frenchcat.train.pictures import shapes_of
from frenchcat.train.size import latent_of, text_widths
from frenchcat.train.start import Start, start_of
from frenchcat.train.stored_fit import latents_are_read
from frenchcat.train.text import Condition

if TYPE_CHECKING:
    import torch

    from frenchcat.train.settings import TrainSettings

UTILISATION = 0.4
"""The share of a matrix product's speed that a whole network is taken to reach."""
_CLIP = 77  # positions of CLIP's text towers
_MOMENTS = {"adamw": 8, "adamw8bit": 2, "prodigy": 16, "schedulefree": 8}
"""Bytes that an optimizer keeps per trained parameter."""


@dataclass(frozen=True)
class Forecast:
    """Bytes and floating point operations of a training, on one rank."""

    parameters: int  # of the network
    trained: int  # of those, or of the updates of low rank
    steps: int
    batch: int  # images per step, over all ranks
    at_once: int  # images that a rank has on its way through the network
    shape: tuple[int, int, int]  # of x: channels, height, width
    memory: dict[str, int]  # bytes by what takes them
    peak_bytes: int
    flops: dict[str, float]  # per step, over all ranks, by part
    seconds: dict[str, float] | None  # per step, by part; None without the device
    device: str  # whose speed that is
    note: str | None = None  # where latents come from

    def lines(self) -> list[str]:
        """In words."""
        x = " x ".join(map(str, self.shape))
        found = [
            f"{self.parameters:,} parameters, {self.trained:,} trained; x is {x}",
            f"{self.steps:,} steps of {self.batch} images, {self.at_once} at a time",
            f"memory: {self.peak_bytes / 1e9:.2f} GB at the peak",
        ]
        found += [f"  {size / 1e9:8.2f} GB  {name}" for name, size in self.memory.items()]
        found += [] if self.note is None else [self.note]
        work = ", ".join(f"{name} {flops / 1e12:.3g}" for name, flops in self.flops.items())
        found.append(f"work: TFLOP per step: {work}")
        if self.seconds is None:
            found.append(f"time: no {self.device} here to measure")
            return found
        parts = ", ".join(f"{name} {sec:.2f} s" for name, sec in self.seconds.items())
        hours = self.steps * sum(self.seconds.values()) / 3600
        found.append(
            f"time: about {hours:.1f} hours ({parts} per step, at {UTILISATION:.0%} of the "
            f"speed that products of matrices reach on this {self.device})"
        )
        return found


def forecast(settings: TrainSettings, ranks: int = 1) -> Forecast:
    """What these settings will take, of `ranks` ranks. Raises `UserError` for a classifier."""
    if settings.run.task != "diffusion":
        raise UserError("--plan is for models that draw; a classifier is small: just train it")
    batch, parts = settings.data.batch, settings.optimizer.accumulate
    if batch % (ranks * parts):
        raise UserError(
            f"data.batch {batch} does not divide into {ranks} ranks x {parts} parts "
            f"(optimizer.accumulate); give a multiple of {ranks * parts}"
        )
    at_once, mine = batch // (ranks * parts), batch // ranks
    start = None if settings.model.start is None else start_of(settings.model.start)
    shape = _shape(settings, start)
    # An open_clip tower cannot be opened without memory, so it is loaded for this.
    ours = start is None or start.kind == "own"
    texts = text_widths(settings.text) if ours else (0, 0)
    # From two images on it grows evenly; of one, some tensors are views of each other.
    one, more = (_measured(settings, start, shape, texts, min(n, at_once)) for n in (2, 3))
    kept = one.kept + max(0, at_once - 2) * (more.kept - one.kept)
    if one.bf16 and settings.model.checkpointing:  # else they are among what is kept
        kept += 2 * one.parameters  # autocast's copies of the weights
    states = 4 * one.condition + shape[0] * shape[1] * shape[2] * 4 * 4  # x_t, noise, target, x_0
    moments = _MOMENTS[settings.optimizer.kind]
    pixels = max(width * height for width, height in shapes_of(settings.data))
    latents = settings.model.vae is not None or (start is not None and start.kind == "pipeline")
    memory = {
        "weights": 4 * one.parameters,
        "gradients, moments, average": (4 + moments + 4) * one.trained,
        f"activations of {at_once} images": kept,
        f"{mine} images and their captions": mine * states,
    }
    if latents:
        memory[f"autoencoder, {AT_ONCE} images at a time"] = int(AT_ONCE * vae_bytes(pixels))
    saving = {"a second network, while drawing and saving": 4 * one.parameters}
    # Nothing is kept for backward while a checkpoint is written; its network takes that place.
    before = sum(memory.values()) - kept
    memory |= saving
    peak = before + max(kept, saving["a second network, while drawing and saving"])
    flops = {"network": batch * one.flops * _passes(settings)}
    are_read, note = latents_are_read(settings) if latents else (False, None)
    if latents and not are_read:
        flops["autoencoder"] = batch * _vae_flops(settings, start, pixels)
    seconds, device = _seconds(settings, flops, ranks)
    return Forecast(
        one.parameters,
        one.trained,
        settings.optimizer.steps,
        batch,
        at_once,
        shape,
        {name: size for name, size in memory.items() if size},
        peak,
        flops,
        seconds,
        device,
        note,
    )


@dataclass(frozen=True)
class _Measured:
    parameters: int
    trained: int
    kept: int  # bytes for the backward pass
    flops: float  # of the forward pass, per image
    condition: int  # numbers per caption
    bf16: bool  # whether it computes in bfloat16


def _measured(
    settings: TrainSettings,
    start: Start | None,
    shape: tuple[int, int, int],
    texts: tuple[int, int],
    count: int,
) -> _Measured:
    """One forward pass of `count` images without their memory."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils.flop_counter import FlopCounterMode

    from frenchcat.curate.clip.hardware import precision_of

    # A GPU that is not here computes in what it is asked to: auto is bfloat16 there.
    precision: str = settings.run.precision
    device = settings.run.device
    if precision == "auto":
        there = device == "cpu" or (device == "auto" and not torch.cuda.is_available())
        precision = precision_of("auto", "cpu") if there else "bf16"
    bf16 = precision == "bf16"
    with torch.device("meta"):
        network, family, widths = _network(settings, start, shape, texts)
        if settings.model.lora:
            add_lora(network, settings.model, family)
    with FakeTensorMode(allow_non_fake_inputs=True):
        _made_fake(network)
        condition = _condition(count, widths)
        weights = list(network.parameters())
        x, t = torch.randn(count, *shape), torch.zeros(count, dtype=torch.int64)
        counter = FlopCounterMode(display=False)
        with counter, _kept_bytes(network, settings.model.checkpointing) as kept:
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                family.answer(network.train(), x, t, condition)
        numbers = sum(n.numel() for n in (condition.states, condition.pooled) if n is not None)
    return _Measured(
        sum(weight.numel() for weight in weights),
        sum(weight.numel() for weight in weights if weight.requires_grad),
        kept(),
        counter.get_total_flops() / count,
        numbers // count,
        bf16,
    )


@contextmanager
def _kept_bytes(network: Any, checkpointing: bool) -> Iterator[Callable[[], int]]:
    """Counts the bytes that autograd keeps of a forward pass, the network's own weights aside.

    Under checkpointing these are the inputs of its blocks, and all of the largest block.
    """
    import torch

    own = {weight.untyped_storage()._cdata for weight in network.parameters()}
    outside, blocks = _Kept(own), [0]

    def block(function: Any, *given: Any) -> Any:
        for tensor in given:
            if isinstance(tensor, torch.Tensor):
                outside.add(tensor)
        inside = _Kept(own | set(outside.seen))
        with torch.autograd.graph.saved_tensors_hooks(inside.add, lambda tensor: tensor):
            answer = function(*given)
        blocks.append(inside.total)
        return answer

    if checkpointing:
        network.enable_gradient_checkpointing(block)
    with torch.autograd.graph.saved_tensors_hooks(outside.add, lambda tensor: tensor):
        yield lambda: outside.total + max(blocks)


class _Kept:
    """Storages that were seen, each once."""

    def __init__(self, own: set[int]) -> None:
        self.own = own
        self.seen: dict[int, Any] = {}  # the tensors, so that no address is used twice
        self.total = 0

    def add(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self.own and storage._cdata not in self.seen:
            self.seen[storage._cdata] = tensor
            self.total += storage.nbytes()
        return tensor


def _network(
    settings: TrainSettings,
    start: Start | None,
    shape: tuple[int, int, int],
    texts: tuple[int, int],
) -> tuple[Any, Family, tuple[int, int, int | None]]:
    """The network with its family, and the widths of its condition."""
    import diffusers
    import torch

    if start is None or start.kind == "own":
        width, pooled = texts
        network = make_unet(settings.model, shape[1], width, shape[0], pooled)
        return network, Family(), (_CLIP, width, pooled * (1 + settings.model.image_vector))
    config = read_json(start.network / "config.json")
    made: Any = getattr(diffusers, start.family.network)
    network = made.from_config(config)
    if start.kind == "unet":
        return network, Family(), (_CLIP, config["cross_attention_dim"], None)
    scheduler = read_json(start.folder / "scheduler" / "scheduler_config.json")
    pipe = SimpleNamespace(scheduler=SimpleNamespace(config=scheduler))
    setattr(pipe, start.family.part, network)
    pipe.vae_scale_factor = latent_of(str(start.folder / "vae"), 1)[1]
    with torch.device("cpu"):
        family = start.pipeline(pipe)
    return network, family, family.widths(network.config, _positions(start))


def _made_fake(network: Any) -> None:
    """Give a network on no device weights that have shapes but no memory, as on a processor."""
    import torch

    for module in network.modules():
        for name, weight in list(module._parameters.items()):
            if weight is not None:
                made = torch.empty(weight.shape)
                made = torch.nn.Parameter(made, requires_grad=weight.requires_grad)
                module._parameters[name] = made
        for name, buffer in list(module._buffers.items()):
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)


def _positions(start: Start) -> int:
    """Of the first tokenizer; CLIP's where it does not say, or says a number beyond reason."""
    file = start.folder / "tokenizer" / "tokenizer_config.json"
    found = read_json(file).get("model_max_length", _CLIP) if file.exists() else _CLIP
    return min(int(found), _CLIP)


def _condition(count: int, widths: tuple[int, int, int | None]) -> Condition:
    import torch

    length, width, pooled = widths
    return Condition(
        torch.randn(count, length, width),
        torch.ones(count, length, dtype=torch.bool),
        None if pooled is None else torch.randn(count, pooled),
        torch.ones(count, 6),
    )


def _shape(settings: TrainSettings, start: Start | None) -> tuple[int, int, int]:
    """Of x in the largest bucket."""
    width, height = max(shapes_of(settings.data), key=lambda shape: shape[0] * shape[1])
    vae, patch = settings.model.vae, settings.model.patch
    if start is not None and start.kind == "pipeline":
        vae, patch = str(start.folder / "vae"), 1
    channels, shrinks = latent_of(vae, patch)
    return channels, height // shrinks, width // shrinks


def _passes(settings: TrainSettings) -> int:
    """Forward passes that a step is worth: backward is two, one without the weights' gradients."""
    backward = 1 if settings.model.lora else 2
    return 1 + backward + int(settings.model.checkpointing)


def _vae_flops(settings: TrainSettings, start: Start | None, pixels: int) -> float:
    """Of encoding one image; 0 where the autoencoder's config is not there."""
    import diffusers
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils.flop_counter import FlopCounterMode

    pipeline = start is not None and start.kind == "pipeline"
    folder = start.folder / "vae" if start and pipeline else Path(settings.model.vae or "")
    if not (folder / "config.json").exists():
        return 0.0
    vae_class: Any = diffusers.AutoencoderKL
    side = max(8, round(pixels**0.5 / 8) * 8)
    counter = FlopCounterMode(display=False)
    with FakeTensorMode(), torch.no_grad():
        vae = vae_class.from_config(read_json(folder / "config.json"))
        with counter:
            vae.encode(torch.randn(1, 3, side, side))
    return float(counter.get_total_flops())


def _seconds(
    settings: TrainSettings, flops: dict[str, float], ranks: int
) -> tuple[dict[str, float] | None, str]:
    """By part, per step; and the device that it was measured on."""
    import torch

    from frenchcat.curate.clip.hardware import precision_of

    name = settings.run.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        return None, "GPU"
    bf16 = precision_of(settings.run.precision, name) == "bf16"
    speed = UTILISATION * ranks * _speed(name, torch.bfloat16 if bf16 else torch.float32)
    told = "GPU" if name == "cuda" else "processor"
    return {part: work / speed for part, work in flops.items()}, told


@cache  # a second of work
def _speed(device: str, dtype: torch.dtype) -> float:
    """Floating point operations per second of a product of matrices."""
    import torch

    side = 4096 if device == "cuda" else 1024
    one = torch.randn(side, side, device=device, dtype=dtype)
    float((one @ one)[0, 0])  # the first one loads kernels
    began, turns = time.perf_counter(), 0
    while time.perf_counter() - began < 0.5:
        float((one @ one)[0, 0])
        turns += 1
    return turns * 2 * side**3 / (time.perf_counter() - began)
