"""Stable Diffusion 1.5, 2 and their kin: a U-Net that attends to CLIP's states of all positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from frenchcat.train.families.base import PipelineFamily
from frenchcat.train.text import Condition


class StableDiffusion(PipelineFamily):
    """The StableDiffusionPipeline (LDM, 2112.10752)."""

    pipeline = "StableDiffusionPipeline"

    def encode(self, captions: Sequence[str], device: Any) -> Condition:
        """States of all positions; the mask leaves out none."""
        import torch

        states, _ = self.pipe.encode_prompt(list(captions), device, 1, False)
        mask = torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
        return Condition(states.float(), mask)
