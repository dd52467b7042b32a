"""Everything that `frenchcat train` can be told; a TOML file like configs/train-demo.toml."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from frenchcat.curate.config import settings


@settings
class DataSettings:
    """What is trained on."""

    dataset: str | None = None
    """A dataset's folder; its selection is named below."""
    selection: str | None = None
    tars: str | None = None
    """Or foreign tars of img2dataset's kind: a file, a folder or a glob."""
    batch: int = Field(default=64, ge=1)  # pictures a step, over all ranks
    size: int = Field(default=32, ge=8)  # pixels of the shorter side after resizing
    aspects: tuple[float, ...] = (1.0,)
    """Width/height of the buckets; each picture goes to the nearest. One: everything is square."""
    flip: bool = True
    crop: Literal["random", "center", "pad"] = "center"
    """`pad` keeps the whole picture on white; the others cut to the bucket's shape."""
    shards_per_block: int = Field(default=8, ge=1)
    workers: int = Field(default=1, ge=0)  # loader processes a rank; 0: in the training process


@settings
class TextSettings:
    """The frozen text tower whose token states the U-Net attends to."""

    model: str = "mini"
    pretrained: str | None = None
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of captions replaced by the empty one, for classifier-free guidance (2207.12598)."""


@settings
class ModelSettings:
    """diffusers' UNet2DConditionModel, in pixels or in an autoencoder's latents."""

    channels: tuple[int, ...] = (64, 128, 192)
    layers_per_block: int = Field(default=1, ge=1)
    attention_from: int = Field(default=1, ge=0)
    """Levels from this one on attend to the text; the finest cost most."""
    head_dim: int = Field(default=32, ge=8)
    vae: str | None = None
    """A folder with an AutoencoderKL of diffusers; None: pixels."""
    checkpointing: bool = False  # recompute activations: less memory, a third more time


@settings
class DiffusionSettings:
    """The process and what the model predicts."""

    schedule: Literal["linear", "scaled_linear", "cosine", "flow"] = "cosine"
    steps: int = Field(default=1000, ge=2)
    zero_terminal: bool = False
    target: Literal["eps", "x0", "v", "flow"] = "v"
    min_snr: float | None = Field(default=5.0, ge=0)
    """Gamma of 2303.09556; 0 or None: the plain error."""


@settings
class ClassifierSettings:
    """The noise-aware classifier of run.task `classifier`; it sees what the U-Net would."""

    channels: tuple[int, ...] = (32, 64, 96)
    layers_per_block: int = Field(default=1, ge=1)


@settings
class OptimizerSettings:
    """AdamW, warmup then a cosine to nothing."""

    rate: float = Field(default=4e-4, gt=0)
    steps: int = Field(default=1000, ge=1)
    warmup: int = Field(default=100, ge=0)
    decay: float = Field(default=0.01, ge=0)
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float = Field(default=1.0, gt=0)  # of the gradient's norm
    accumulate: int = Field(default=1, ge=1)  # parts of a batch, one after another
    ema: float = Field(default=0.999, ge=0, lt=1)
    """Decay of the averaged weights once it is warm; early on (1 + step) / (10 + step)."""


@settings
class RunSettings:
    """How it runs and what it leaves behind."""

    task: Literal["diffusion", "classifier"] = "diffusion"
    """What is trained: a model that draws, or a classifier of noised pictures that steers one."""
    out: str = "run"
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: bool = False
    shard_model: bool = False  # FSDP2, for models that one GPU does not hold
    log_every: int = Field(default=10, ge=1)
    checkpoint_every: int = Field(default=500, ge=1)
    keep: int = Field(default=2, ge=1)  # checkpoints, the best beside them
    held_out: int = Field(default=64, ge=0)
    """Pictures that are kept out of training, for the loss by timestep."""
    sample_every: int = Field(default=500, ge=1)
    sample_steps: int = Field(default=20, ge=1)
    guidance: float = 3.0
    prompts: tuple[str, ...] = ("a cat", "a red apple", "a house", "a flag")


@settings
class TrainSettings:
    """The whole."""

    data: DataSettings = DataSettings()
    text: TextSettings = TextSettings()
    model: ModelSettings = ModelSettings()
    diffusion: DiffusionSettings = DiffusionSettings()
    classifier: ClassifierSettings = ClassifierSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    run: RunSettings = RunSettings()
