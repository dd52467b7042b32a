"""PixArt-alpha (2310.00426) and PixArt-sigma (2403.04692): a transformer that attends to T5.

The network answers with the noise and its variance; the noise alone is trained, as in diffusers'
script. Those of alpha for 1024 pixels are told the size and the aspect, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from frenchcat.train.families.base import PipelineFamily, longest_prompt
from frenchcat.train.text import Condition

if TYPE_CHECKING:
    from torch import Tensor

_TOLD_SIZES = 128  # of latents a side: the pipeline's own test


class PixArtSigma(PipelineFamily):
    """The PixArtSigmaPipeline."""

    pipeline = "PixArtSigmaPipeline"
    part = "transformer"
    network = "PixArtTransformer2DModel"

    def encode(self, captions: Sequence[str], device: Any) -> Condition:
        """T5's states, and which of them belong to the caption. Captions are lower case there."""
        states, mask, _, _ = self.pipe.encode_prompt(
            list(captions), False, device=device, clean_caption=False
        )
        return Condition(states.float(), mask.bool())

    def answer(self, network: Any, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """The noise, without the variance beside it."""
        answer: Tensor = network(
            x,
            encoder_hidden_states=condition.states.to(x.dtype),
            encoder_attention_mask=condition.mask.to(x.dtype),
            timestep=t,
            added_cond_kwargs=self.sizes_of(x),
            return_dict=False,
        )[0]
        return answer[:, : x.shape[1]]

    @classmethod
    def widths(cls, config: Any, positions: int) -> tuple[int, int, int | None]:
        """T5's alone."""
        import diffusers

        return longest_prompt(getattr(diffusers, cls.pipeline)), int(config.caption_channels), None

    def sizes_of(self, x: Tensor) -> dict[str, Tensor | None]:
        """What the network is told of the image's size."""
        return {"resolution": None, "aspect_ratio": None}

    def blocks(self, network: Any) -> list[Any]:
        """The transformer's."""
        return list(network.transformer_blocks)

    def multiple(self) -> int:
        """The side of a patch."""
        return int(self.pipe.transformer.config.patch_size)

    def readers(self) -> list[tuple[Any, int]]:
        """T5's."""
        return [(self.pipe.tokenizer, longest_prompt(self.pipe))]


class PixArtAlpha(PixArtSigma):
    """The PixArtAlphaPipeline."""

    pipeline = "PixArtAlphaPipeline"

    def sizes_of(self, x: Tensor) -> dict[str, Tensor | None]:
        """Height and width in pixels, and their ratio, for the network of 1024 pixels."""
        if self.pipe.transformer.config.sample_size != _TOLD_SIZES:
            return super().sizes_of(x)
        sides = [side * self.pipe.vae_scale_factor for side in x.shape[2:]]
        sizes = x.new_tensor([sides]).expand(len(x), 2)
        return {"resolution": sizes, "aspect_ratio": (sizes[:, :1] / sizes[:, 1:])}
