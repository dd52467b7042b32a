"""All settings of `frenchcat train`; a TOML file like configs/train-demo.toml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from frenchcat.curate.config import settings


@settings
class DataSettings:
    """The training data."""

    dataset: str | None = None
    """A dataset's folder; its selection is named by `data.selection`."""
    selection: str | None = None
    """The name of a frozen selection of that dataset."""
    tars: str | None = None
    """Or foreign tars: a file, a folder, a glob, an address, or webdataset's forms of them."""
    caption: str | None = None
    """For data.tars: the key of the caption in each sample's .json; none: .txt first."""
    captions: tuple[str, ...] = ()
    """Columns that have captions, of the dataset or of samples' .json; one of them is drawn each
    time (text.weights). Empty: the caption alone.
    """
    batch: int = Field(default=64, ge=1)
    """Images per step, over all ranks (count)."""
    size: int = Field(default=32, ge=8)
    """The shorter side after resizing (pixels)."""
    aspects: tuple[float, ...] = (1.0,)
    """Width/height of the buckets; each image goes to the nearest. One: everything is square."""
    multiple: int = Field(default=8, ge=1)
    """Sides of buckets are multiples of it; a pipeline that is started from may need more."""
    flip: bool = True
    """Whether half of the images are mirrored, at random."""
    crop: Literal["random", "center", "pad"] = "center"
    """`pad` keeps the whole image on white; the others crop to the bucket's shape."""
    shards_per_block: int = Field(default=8, ge=1)
    """Shards whose rows are shuffled together (count)."""
    latents: Literal["auto", "off", "require"] = "auto"
    """Whether stored encodings are read: `auto`: if they fit; `require` stops if they do not."""
    workers: int = Field(default=1, ge=0)
    """Loader processes per rank; 0: in the training process."""


@settings
class TextSettings:
    """The frozen text tower whose token states the U-Net attends to."""

    model: str = "mini"
    """As clip.model."""
    pretrained: str | None = None
    """As clip.pretrained."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of captions replaced by the empty one, for classifier-free guidance (2207.12598)."""
    separator: str | None = Field(default=None, min_length=1)
    """The text between the variants of a caption, of which one is drawn each time; none: no
    variants.
    """
    weights: tuple[Annotated[float, Field(ge=0)], ...] = ()
    """How often each variant is drawn, the first one's first; the last one holds for further ones.
    Empty: equally often.
    """
    template_weights: tuple[Annotated[float, Field(ge=0)], ...] = ()
    """How often each template is drawn, in their order. Empty: equally often."""
    templates: tuple[str, ...] = ()
    """Texts with {caption}; each caption is put into one of them at random. Empty: unchanged."""


@settings
class ModelSettings:
    """diffusers' UNet2DConditionModel, in pixels or in an autoencoder's latents."""

    channels: tuple[int, ...] = (64, 128, 192)
    """Channels of each level, the finest first; each further level halves the side."""
    layers_per_block: int = Field(default=1, ge=1)
    """Residual layers per level (count)."""
    attention_from: int = Field(default=1, ge=0)
    """Levels from this one on attend to the text; the finest levels cost most."""
    head_dim: int = Field(default=32, ge=8)
    """Channels per attention head (count)."""
    vae: str | None = None
    """A folder with an AutoencoderKL of diffusers; none: pixels."""
    patch: Literal[1, 2, 4, 8] = 1
    """Without an autoencoder: the U-Net works on squares with this many pixels per side."""
    pooled: bool = False
    """Whether the caption's CLIP embedding is added to the time embedding."""
    image_vector: bool = False
    """Whether the network also gets the image's CLIP vector, to vary images (2204.06125)."""
    image_dropout: float = Field(default=0.5, ge=0, lt=1)
    """Share of image vectors that are left out, so that captions alone can be drawn."""
    start: str | None = None
    """What to start from: the folder of a pipeline of diffusers, a U-Net, or a run of ours, or
    `artist`.
    """
    lora: int = Field(default=0, ge=0)
    """Rank of low-rank updates to the attention (2106.09685); 0: all weights are trained."""
    lora_alpha: float | None = Field(default=None, gt=0)
    """The updates count lora_alpha / lora times; None: once."""
    lora_text: bool = False
    """Whether the CLIP text encoders of a pipeline get such updates, too."""
    checkpointing: bool = False
    """Whether activations are recomputed: less memory, a third more time."""


@settings
class DiffusionSettings:
    """The noise process and what the model predicts."""

    schedule: Literal["linear", "scaled_linear", "cosine", "flow"] = "cosine"
    """How the noise grows with time."""
    steps: int = Field(default=1000, ge=2)
    """Times of the process (count)."""
    zero_terminal: bool = False
    """Whether the last time is pure noise (2305.08891)."""
    target: Literal["eps", "x0", "v", "flow"] = "v"
    """What the model predicts: the noise, the image, or a mixture of both."""
    min_snr: Annotated[float, Field(ge=0)] | Literal["auto"] | None = "auto"
    """Gamma of 2303.09556; 0 or None: the plain error; auto: 5, and 0 for the target flow."""
    loss: Literal["target", "velocity"] = "target"
    """Whether the loss is the error of the target, or of the velocity derived from it
    (2511.13720).
    """
    times: Literal["uniform", "logit_normal"] = "uniform"
    """How training draws times: uniformly, or mostly in the middle (2403.03206)."""
    times_mean: float = 0.0
    """For logit_normal: the mean of the logit of time; above 0: more noise."""
    times_spread: float = Field(default=1.0, gt=0)
    """For logit_normal: the standard deviation of that logit."""
    shift: float = Field(default=1.0, gt=0)
    """Shifts the trained times towards noise, for large images (2403.03206, equation 23)."""
    noise_offset: float = Field(default=0.0, ge=0)
    """Adds noise that is one number per channel, so that dark and bright images are learned."""

    def __post_init__(self) -> None:
        if self.min_snr == "auto":  # the paper does not cover flow
            object.__setattr__(self, "min_snr", 0.0 if self.target == "flow" else 5.0)


@settings
class ClassifierSettings:
    """The noise-aware classifier of run.task `classifier`; it sees what the U-Net would see."""

    channels: tuple[int, ...] = (32, 64, 96)
    """Channels of each level, the finest first."""
    layers_per_block: int = Field(default=1, ge=1)
    """Residual layers per level (count)."""


@settings
class OptimizerSettings:
    """The optimizer and its rates."""

    kind: Literal["adamw", "adamw8bit", "prodigy", "schedulefree"] = "adamw"
    """AdamW (1711.05101), the same with moments of 8 bits, Prodigy (2306.06101, rate 1), or AdamW
    without a schedule (2405.15682, constant shape).
    """
    shape: Literal["cosine", "linear", "constant"] = "cosine"
    """The shape of the rate after the warmup: falling to zero, or constant."""
    rate: float = Field(default=4e-4, gt=0)
    """The learning rate after the warmup."""
    steps: int = Field(default=1000, ge=1)
    """Steps of the whole run (count)."""
    warmup: int = Field(default=100, ge=0)
    """Steps in which the rate rises (count)."""
    decay: float = Field(default=0.01, ge=0)
    """AdamW's weight decay."""
    betas: tuple[float, float] = (0.9, 0.99)
    """AdamW's two betas."""
    clip: float = Field(default=1.0, gt=0)
    """The maximum norm of the gradient."""
    accumulate: int = Field(default=1, ge=1)
    """Parts of a batch that are computed one after another (count)."""
    ema: float = Field(default=0.999, ge=0, lt=1)
    """Decay of the averaged weights; early on (1 + step) / (10 + step)."""


@settings
class RunSettings:
    """How a run proceeds and what it leaves behind."""

    task: Literal["diffusion", "classifier"] = "diffusion"
    """What is trained: a model that draws, or a classifier of noised images that steers one."""
    out: str = "run"
    """The folder of the run."""
    seed: int = 0
    """Seed of the weights, the order of the rows and the noise."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: a GPU if there is one."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Precision of the computation; auto: bf16 if the device computes with it."""
    compile: bool = False
    """Whether torch.compile is used."""
    shard_model: bool = False
    """Whether ranks share the weights (FSDP2), for models that do not fit on one GPU."""
    log_every: int = Field(default=10, ge=1)
    """Steps between two entries of the log (count)."""
    checkpoint_every: int = Field(default=500, ge=1)
    """Steps between two checkpoints (count)."""
    checkpoint_minutes: float | None = Field(default=None, ge=0)
    """Minutes between two checkpoints, if that many steps take longer; none: by steps alone."""
    keep: int = Field(default=2, ge=1)
    """Checkpoints that are kept, besides the best (count)."""
    held_out: int = Field(default=64, ge=0)
    """Images that are held out of training, for the loss by timestep (count)."""
    held_out_keys: tuple[str, ...] = ()
    """The keys of the held-out images, instead of a random choice."""
    wandb: str | None = None
    """A project of Weights & Biases to log to; WANDB_MODE=offline logs to a local folder."""
    sample_every: int = Field(default=500, ge=1)
    """Steps between two grids of the prompts (count)."""
    sample_steps: int = Field(default=20, ge=1)
    """Steps of the sampler for the grids (count)."""
    guidance: float = 3.0
    """Weight of classifier-free guidance for the grids (2207.12598)."""
    prompts: tuple[str, ...] = ("a cat", "a red apple", "a house", "a flag")
    """The prompts of each grid; empty: no grids."""


@settings
class TrainSettings:
    """All settings of a training."""

    data: DataSettings = DataSettings()
    text: TextSettings = TextSettings()
    model: ModelSettings = ModelSettings()
    diffusion: DiffusionSettings = DiffusionSettings()
    classifier: ClassifierSettings = ClassifierSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    run: RunSettings = RunSettings()
