"""Stable Diffusion 3 (2403.03206): a transformer, two CLIP encoders and T5, rectified flow.

The noise's share at each time is the scheduler's, its shift included; the network is told that
share times the number of steps, as diffusers does. T5 may be missing, as many people leave it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frenchcat.curate.errors import UserError
from frenchcat.train.diffusion import Diffusion, Target
from frenchcat.train.families.base import PipelineFamily, longest_prompt
from frenchcat.train.text import Condition

if TYPE_CHECKING:
    from torch import Tensor


class StableDiffusion3(PipelineFamily):
    """The StableDiffusion3Pipeline."""

    pipeline = "StableDiffusion3Pipeline"
    part = "transformer"
    network = "SD3Transformer2DModel"
    lora_layers = (
        "attn.add_k_proj",
        "attn.add_q_proj",
        "attn.add_v_proj",
        "attn.to_add_out",
        "attn.to_k",
        "attn.to_out.0",
        "attn.to_q",
        "attn.to_v",
    )

    def __init__(self, pipe: Any) -> None:
        import diffusers

        super().__init__(pipe)
        made: Any = diffusers.FlowMatchEulerDiscreteScheduler
        # What the network is told at each time, rising.
        self._times: Tensor = made.from_config(pipe.scheduler.config).timesteps.flip(0)

    @classmethod
    def process(cls, config: dict[str, Any], folder: Path) -> tuple[Diffusion, Target]:
        """The flow of a FlowMatchEulerDiscreteScheduler. Raises `UserError` for others."""
        import diffusers
        import torch

        name = config.get("_class_name")
        if name != "FlowMatchEulerDiscreteScheduler" or config.get("use_dynamic_shifting"):
            moved = " whose shift moves with the size" if config.get("use_dynamic_shifting") else ""
            raise UserError(
                f"the scheduler of {folder} is a {name}{moved}; a {cls.pipeline} is trained with "
                "a FlowMatchEulerDiscreteScheduler of one shift"
            )
        made: Any = diffusers.FlowMatchEulerDiscreteScheduler
        s = made.from_config(config).sigmas.flip(0).to(torch.float64)
        return Diffusion(1 - s, s), "flow"

    def encode(self, captions: Sequence[str], device: Any) -> Condition:
        """States of CLIP's encoders and behind them T5's, and the pooled texts of CLIP's."""
        import torch

        states, _, pooled, _ = self.pipe.encode_prompt(
            list(captions), None, None, device=device, do_classifier_free_guidance=False
        )
        mask = torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
        return Condition(states.float(), mask, pooled.float())

    def answer(self, network: Any, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """Asked by the scheduler's times, which are no whole numbers."""
        assert condition.pooled is not None
        answer: Tensor = network(
            hidden_states=x,
            timestep=self._times.to(t.device)[t],
            encoder_hidden_states=condition.states.to(x.dtype),
            pooled_projections=condition.pooled.to(x.dtype),
            return_dict=False,
        )[0]
        return answer

    @classmethod
    def widths(cls, config: Any, positions: int) -> tuple[int, int, int | None]:
        """CLIP's positions and T5's."""
        import diffusers

        length = positions + longest_prompt(getattr(diffusers, cls.pipeline))
        return length, int(config.joint_attention_dim), int(config.pooled_projection_dim)

    def blocks(self, network: Any) -> list[Any]:
        """The transformer's."""
        return list(network.transformer_blocks)

    def multiple(self) -> int:
        """The side of a patch."""
        return int(self.pipe.transformer.config.patch_size)

    def check_size(self, sides: tuple[int, int]) -> None:
        """Also for more patches than the network has positions."""
        super().check_size(sides)
        config = self.pipe.transformer.config
        if max(sides) // config.patch_size > config.pos_embed_max_size:
            largest = config.pos_embed_max_size * config.patch_size * self.pipe.vae_scale_factor
            raise UserError(
                f"the {self.network} has positions for {largest} pixels a side at most; give a "
                "smaller size"
            )

    def readers(self) -> list[tuple[Any, int]]:
        """T5's where it is there, which reads more than the others; else CLIP's."""
        pipe = self.pipe
        if pipe.text_encoder_3 is not None:
            return [(pipe.tokenizer_3, longest_prompt(pipe))]
        return [(one, int(one.model_max_length)) for one in (pipe.tokenizer, pipe.tokenizer_2)]
