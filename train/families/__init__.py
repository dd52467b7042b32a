"""What a training can start from, by the class of the pipeline: one file per family.

A family is what the trainer, the samplers and the checkpoints have to know of a pipeline of
diffusers: which part is trained, how captions become its condition, how it is asked, and what its
scheduler's noise is. To add one: write its class, and name it here.
"""

from __future__ import annotations

from frenchcat.train.families.base import Family, PipelineFamily
from frenchcat.train.families.pixart import PixArtAlpha, PixArtSigma
from frenchcat.train.families.sd3 import StableDiffusion3
from frenchcat.train.families.sdxl import StableDiffusionXL
from frenchcat.train.families.stable_diffusion import StableDiffusion

__all__ = ["FAMILIES", "Family", "PipelineFamily"]

_ALL: tuple[type[PipelineFamily], ...] = (
    StableDiffusion,
    StableDiffusionXL,
    PixArtAlpha,
    PixArtSigma,
    StableDiffusion3,
)
FAMILIES = {family.pipeline: family for family in _ALL}
"""The name of a pipeline's class -> its family."""
