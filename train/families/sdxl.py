"""Stable Diffusion XL (2307.01952): two text encoders, a pooled text, and the image's sizes.

The U-Net is told of each image its size before it was scaled, where it was cut, and the size that
it is trained at (sections 2.2 and 2.3). When drawing these are the size asked for, uncut.

The empty caption is all zeros where the pipeline draws so (`force_zeros_for_empty_prompt`).
diffusers' training script encodes the empty text instead, and its pipeline never asks for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from frenchcat.train.families.base import PipelineFamily
from frenchcat.train.text import Condition

if TYPE_CHECKING:
    from torch import Tensor


class StableDiffusionXL(PipelineFamily):
    """The StableDiffusionXLPipeline."""

    pipeline = "StableDiffusionXLPipeline"

    def encode(self, captions: Sequence[str], device: Any) -> Condition:
        """States of both encoders side by side, and the second one's pooled text."""
        import torch

        found = self.pipe.encode_prompt(
            list(captions), device=device, do_classifier_free_guidance=False
        )
        states, pooled = found[0].float(), found[2].float()
        if self.pipe.config.force_zeros_for_empty_prompt:
            said = torch.tensor([bool(caption) for caption in captions], device=states.device)
            states, pooled = states * said[:, None, None], pooled * said[:, None]
        mask = torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
        return Condition(states, mask, pooled)

    def answer(self, network: Any, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """Asked with the pooled text and the sizes (N, 6)."""
        assert condition.pooled is not None
        assert condition.sizes is not None
        more = {
            "text_embeds": condition.pooled.to(x.dtype),
            "time_ids": condition.sizes.to(x.dtype),
        }
        states = condition.states.to(x.dtype)
        answer: Tensor = network(
            x, t, encoder_hidden_states=states, added_cond_kwargs=more, return_dict=False
        )[0]
        return answer

    @classmethod
    def widths(cls, config: Any, positions: int) -> tuple[int, int, int | None]:
        """The pooled text joins six numbers, embedded, in the U-Net's projection."""
        told = 6 * config.addition_time_embed_dim
        pooled = config.projection_class_embeddings_input_dim - told
        return positions, int(config.cross_attention_dim), int(pooled)

    def readers(self) -> list[tuple[Any, int]]:
        """Both encoders'."""
        pipe = self.pipe
        return [(one, int(one.model_max_length)) for one in (pipe.tokenizer, pipe.tokenizer_2)]
