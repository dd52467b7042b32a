"""What the trainer asks of a network: our own U-Net, and the pipelines of diffusers.

Parts of a pipeline are opened by diffusers' own pipeline class, and captions are encoded by its
`encode_prompt`, so that a training and diffusers cannot disagree about them.
"""

from __future__ import annotations

import inspect
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from frenchcat.curate.errors import UserError, first_line
from frenchcat.train.diffusion import Diffusion, Target
from frenchcat.train.model import unet_output
from frenchcat.train.text import Condition

if TYPE_CHECKING:
    from torch import Tensor

_TARGETS: dict[str, Target] = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}
_CLIP = ("clip_text_model",)
_NOT_NEEDED = ("safety_checker", "feature_extractor", "image_encoder")


class Family:
    """A U-Net of our own, without a pipeline, and what the families of pipelines change of it."""

    pipeline: ClassVar[str] = ""
    """The name of the pipeline's class."""
    part: ClassVar[str] = "unet"
    """The part of the pipeline that is trained: an attribute of it, and a folder."""
    network: ClassVar[str] = "UNet2DConditionModel"
    """The name of that part's class."""
    lora_layers: ClassVar[tuple[str, ...]] = ("to_k", "to_q", "to_v", "to_out.0")
    """The layers that updates of low rank are trained for: those of diffusers' own script."""

    def answer(self, network: Any, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """The network's answer at x_t under a condition, in the shape of x.

        `network` may be wrapped (for several ranks, or compiled); `t` is (N,) int64.
        """
        return unet_output(network, x, t, condition)

    @classmethod
    def widths(cls, config: Any, positions: int) -> tuple[int, int, int | None]:
        """Of a network with this config: a caption's positions, their width, the pooled text's.

        `positions` are those of the pipeline's CLIP encoders.
        """
        return positions, int(config.cross_attention_dim), None

    def blocks(self, network: Any) -> list[Any]:
        """The parts of a network that several ranks share one by one (FSDP2)."""
        return [*network.down_blocks, network.mid_block, *network.up_blocks]

    def check_size(self, sides: tuple[int, int]) -> None:
        """Raise `UserError` for sides (height, width) of x that the network cannot take."""

    def trained_encoders(self) -> dict[str, Any]:
        """The text encoders that updates of low rank can be trained for, by name; here none."""
        return {}


class PipelineFamily(Family, ABC):
    """The pipelines of one class of diffusers.

    `pipe` is an open pipeline, on the CPU in float32.
    """

    def __init__(self, pipe: Any) -> None:
        self.pipe = pipe

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The family with a pipeline's folder opened. Raises `UserError` where it does not load."""
        import diffusers
        import transformers
        from diffusers.utils import logging

        for theirs in (logging, transformers.utils.logging):
            quiet: Any = theirs
            quiet.disable_progress_bar()
        signature = inspect.signature(getattr(diffusers, cls.pipeline).__init__).parameters
        without: dict[str, Any] = {name: None for name in _NOT_NEEDED if name in signature}
        index = read_json(folder / "model_index.json")
        without |= {name: None for name in signature if index.get(name) == [None, None]}
        if "requires_safety_checker" in signature:
            without["requires_safety_checker"] = False
        try:
            pipe = getattr(diffusers, cls.pipeline).from_pretrained(
                folder, local_files_only=True, low_cpu_mem_usage=False, **without
            )
        except (OSError, ValueError, RuntimeError, AttributeError, TypeError) as error:
            raise UserError(
                f"the {cls.pipeline} in {folder} does not load: {first_line(error, 200)}"
            ) from None
        for name in pipe.components:
            part = getattr(pipe, name)
            if hasattr(part, "requires_grad_"):
                part.float().eval().requires_grad_(False)
        getattr(pipe, cls.part).requires_grad_(True)
        return cls(pipe)

    @classmethod
    def process(cls, config: dict[str, Any], folder: Path) -> tuple[Diffusion, Target]:
        """The noise at each time of a scheduler's config, and what the network predicts.

        Raises `UserError` for a scheduler that this family is not trained with.
        """
        import diffusers
        import torch

        ddpm: Any = diffusers.DDPMScheduler
        kind = config.get("prediction_type", "epsilon")
        if "beta_schedule" not in config or kind not in _TARGETS:
            raise UserError(
                f"the scheduler of {folder} is a {config.get('_class_name')} that predicts "
                f"{kind}; a {cls.pipeline} is trained with betas, and predicts epsilon, "
                "sample or v_prediction"
            )
        bar = ddpm.from_config(config).alphas_cumprod.to(torch.float64)
        return Diffusion(bar.sqrt(), (1 - bar).sqrt()), _TARGETS[kind]

    def multiple(self) -> int:
        """What the sides of x have to be multiples of."""
        return 1

    def check_size(self, sides: tuple[int, int]) -> None:
        """Raise `UserError` for sides (height, width) of x that the network cannot take."""
        if sides[0] % self.multiple() or sides[1] % self.multiple():
            shrinks = self.pipe.vae_scale_factor * self.multiple()
            raise UserError(
                f"the {self.network} works on patches of {self.multiple()} latents a side, and "
                f"images of {sides[1] * self.pipe.vae_scale_factor} x "
                f"{sides[0] * self.pipe.vae_scale_factor} pixels do not divide into them; give "
                f"multiples of {shrinks}"
            )

    def encoders(self) -> dict[str, Any]:
        """The pipeline's text encoders by name, in their order."""
        names = sorted(name for name in self.pipe.components if name.startswith("text_encoder"))
        found = {name: getattr(self.pipe, name) for name in names}
        return {name: encoder for name, encoder in found.items() if encoder is not None}

    def trained_encoders(self) -> dict[str, Any]:
        """Those that updates of low rank can be trained for: CLIP's, as diffusers loads them."""
        found = self.encoders()
        return {name: one for name, one in found.items() if one.config.model_type in _CLIP}

    @abstractmethod
    def encode(self, captions: Sequence[str], device: Any) -> Condition:
        """Captions -> what the network is given of them, by the pipeline's own `encode_prompt`."""

    def readers(self) -> list[tuple[Any, int]]:
        """Each tokenizer, and how many tokens its encoder reads, begin and end among them."""
        pipe = self.pipe
        return [(pipe.tokenizer, int(pipe.tokenizer.model_max_length))]


def longest_prompt(pipe: Any) -> int:
    """The tokens that a pipeline's T5 reads: the default of its `encode_prompt`."""
    return int(inspect.signature(pipe.encode_prompt).parameters["max_sequence_length"].default)


def read_json(path: Path) -> dict[str, Any]:
    """A file of JSON. Raises `UserError` for one that cannot be read."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({first_line(error, 200)}); restore it") from None
    return found
