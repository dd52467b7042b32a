"""The learning rate by step, and the averaged weights.

Warmup, then a cosine to zero (SGDR without restarts, 1608.03983 equation 5), a line to zero, or a
constant rate. Samples are drawn with an exponential moving average whose decay grows from a small
value, so that the first weights are soon forgotten.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import sys
from typing import TYPE_CHECKING, Any

from frenchcat.curate.errors import UserError
from frenchcat.train.settings import OptimizerSettings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor


_PACKAGES = {
    "adamw8bit": ("bitsandbytes.optim", "AdamW8bit", "bitsandbytes"),
    "prodigy": ("prodigyopt", "Prodigy", "prodigyopt"),
    "schedulefree": ("schedulefree", "AdamWScheduleFree", "schedulefree"),
}
"""Kind -> module, class, and the package to install."""


def rate_at(step: int, settings: OptimizerSettings) -> float:
    """The learning rate of a step, counted from 0."""
    if step < settings.warmup:
        return settings.rate * (step + 1) / settings.warmup
    share = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    if settings.shape == "constant":
        return settings.rate
    if settings.shape == "linear":
        return settings.rate * (1 - min(1.0, share))
    return settings.rate * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


def make_optimizer(parameters: Iterable[Any], settings: OptimizerSettings) -> Any:
    """The optimizer of the settings; AdamW is fused if the device supports it.

    Raises `UserError` for one whose package is not installed.
    """
    import torch

    if settings.kind != "adamw":
        return _of_package(parameters, settings)
    return torch.optim.AdamW(
        parameters,
        lr=settings.rate,
        betas=settings.betas,
        weight_decay=settings.decay,
        fused=True,
    )


def _of_package(parameters: Iterable[Any], settings: OptimizerSettings) -> Any:
    module, name, package = _PACKAGES[settings.kind]
    try:
        made = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, RuntimeError) as error:
        raise UserError(
            f"optimizer.kind {settings.kind} needs {package} ({error}); pip install {package}, or "
            "take adamw"
        ) from None
    with contextlib.redirect_stdout(sys.stderr):  # they print greetings, and stdout is for JSON
        found = made(
            parameters, lr=settings.rate, betas=settings.betas, weight_decay=settings.decay
        )
    if settings.kind == "schedulefree":
        found.train()  # the weights stay where gradients are taken; `own_average` has the others
    return found


def ema_decay(step: int, settings: OptimizerSettings) -> float:
    """The share of the old average that is kept after a step, counted from 0."""
    return min(settings.ema, (1 + step) / (10 + step))


def average(averaged: list[Tensor], weights: list[Tensor], decay: float) -> None:
    """Move the averages towards the weights, in place."""
    import torch

    with torch.no_grad():
        torch._foreach_lerp_(averaged, weights, 1 - decay)


def own_average(averaged: list[Tensor], parameters: Iterable[Any], optimizer: Any) -> None:
    """Set the averages to those that a schedule-free optimizer keeps (2405.15682, equation 5).

    It takes gradients at y = (1 - beta_1) z + beta_1 x, where z moves and x is the average.
    """
    import torch

    beta = optimizer.param_groups[0]["betas"][0]
    with torch.no_grad():
        for mean, y in zip(averaged, parameters, strict=True):
            mean.copy_(y.detach().lerp(optimizer.state[y]["z"], 1 - 1 / beta))
