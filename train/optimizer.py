"""The learning rate by step, and the averaged weights.

Warmup then a cosine to nothing (SGDR without restarts, 1608.03983 equation 5). The average is the
one that samples: an exponential one whose decay grows from little, so that the first weights are
soon forgotten.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from frenchcat.train.settings import OptimizerSettings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor


def rate_at(step: int, settings: OptimizerSettings) -> float:
    """The learning rate of a step, counted from 0."""
    if step < settings.warmup:
        return settings.rate * (step + 1) / settings.warmup
    share = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    return settings.rate * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


def make_optimizer(parameters: Iterable[Any], settings: OptimizerSettings) -> Any:
    """AdamW (1711.05101), fused where the device has it."""
    import torch

    return torch.optim.AdamW(
        parameters,
        lr=settings.rate,
        betas=settings.betas,
        weight_decay=settings.decay,
        fused=True,
    )


def ema_decay(step: int, settings: OptimizerSettings) -> float:
    """The share of the old average that is kept after a step, counted from 0."""
    return min(settings.ema, (1 + step) / (10 + step))


def average(averaged: list[Tensor], weights: list[Tensor], decay: float) -> None:
    """Move the averages towards the weights, in place."""
    import torch

    with torch.no_grad():
        torch._foreach_lerp_(averaged, weights, 1 - decay)
