"""Samplers: from noise to an image in a few steps, as pure functions that take the model.

Each takes `predict(x, t) -> (x_0, eps)` with x (N, C, H, W) float32 and t (N,) int64, the same for
all, the start x at `times[0]`, and the times at which to ask, falling; after the last comes the
clean image. What guidance does is inside `predict` (guidance.py); randomness is passed in.

    ddpm           2006.11239 algorithm 2, over any subset of the steps
    ddim           2010.02502 equation 12; eta 0 is deterministic, 1 is DDPM's variance
    heun           2206.00364 algorithm 1 without churn, in a and s; two calls per step
    dpm_solver_pp  DPM-Solver++(2M), 2211.01095 algorithm 2

Not here: churn, SDE variants, third order. Cost: one call of the model per step (heun: two).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from frenchcat.curate.errors import UserError
from frenchcat.train.diffusion import Diffusion

if TYPE_CHECKING:
    from torch import Tensor

Predict = Callable[["Tensor", "Tensor"], tuple["Tensor", "Tensor"]]
Draw = Callable[[int], "Tensor"]
"""Standard normal noise in the shape of x for the n-th step, counted from 0."""


def sample(
    name: str,
    predict: Predict,
    diffusion: Diffusion,
    x: Tensor,
    times: Sequence[int],
    draw: Draw | None = None,
) -> Tensor:
    """Run a sampler by its name; those that are `noisy` need `draw`.

    Raises ValueError for a name that is not in SAMPLERS, or if `draw` is needed and missing.
    """
    if name not in SAMPLERS:
        raise ValueError(f"unknown sampler {name!r}; known: {', '.join(SAMPLERS)}")
    sampler = SAMPLERS[name]
    if not sampler.noisy:
        return sampler.run(predict, diffusion, x, times)
    if draw is None:
        raise ValueError(f"the sampler {name} needs `draw`, the noise of each step")
    return sampler.run(predict, diffusion, x, times, draw)


def check_sampler(name: str) -> None:
    """Raise `UserError` for a name that is not in SAMPLERS: before a model is loaded."""
    if name not in SAMPLERS:
        raise UserError(f"no sampler {name!r}; known: {', '.join(SAMPLERS)}")


def timesteps(total: int, steps: int, strength: float = 1.0) -> list[int]:
    """The times at which to ask, falling, spaced from the end ("trailing", 2305.08891 table 2).

    `strength` below 1 starts later, from an image noised to the first time that is returned.
    Raises ValueError outside 1 <= steps <= total and 0 < strength <= 1.
    """
    if not 1 <= steps <= total:
        raise ValueError(f"{steps} steps for a schedule of {total}; give 1 to {total}")
    if not 0 < strength <= 1:
        raise ValueError(f"strength is {strength}; it must be above 0 and at most 1")
    times = [math.floor(total - n * total / steps + 0.5) - 1 for n in range(steps)]
    return times[steps - max(1, round(steps * strength)) :]


def karras_timesteps(diffusion: Diffusion, steps: int, strength: float = 1.0) -> list[int]:
    """The times nearest to the noise levels of 2206.00364, equation 5 with rho 7; descending.

    Levels that share a time are used once, so there may be fewer. `strength` as in `timesteps`.
    """
    import torch

    total = len(diffusion)
    timesteps(total, steps, strength)  # the same bounds
    levels = (diffusion.s / diffusion.a).log()  # of sigma; infinite if nothing of the image is left
    known = levels[torch.isfinite(levels)]
    high, low = float(known[-1].exp()) ** (1 / 7), float(known[0].exp()) ** (1 / 7)
    ramp = torch.linspace(high, low, steps, dtype=torch.float64) ** 7
    found = {int((known - sigma.log()).abs().argmin()) for sigma in ramp}
    found.add(total - 1)  # where the noise begins
    times = sorted(found, reverse=True)
    return times[len(times) - max(1, round(len(times) * strength)) :]


def ddpm(
    predict: Predict, diffusion: Diffusion, x: Tensor, times: Sequence[int], draw: Draw
) -> Tensor:
    """Ancestral sampling: a draw from the posterior with the predicted x_0."""
    for n, (t, before) in enumerate(_pairs(x, times)):
        x_0, _ = predict(x, t)
        mean, variance = diffusion.posterior(x_0, x, t, before)
        x = mean if int(before[0]) < 0 else mean + variance.sqrt().to(x.dtype)[0] * draw(n)
    return x


def ddim(
    predict: Predict,
    diffusion: Diffusion,
    x: Tensor,
    times: Sequence[int],
    draw: Draw | None = None,
    eta: float = 0.0,
) -> Tensor:
    """Euler steps of the probability flow at eta 0; with added noise at eta > 0."""
    for n, (t, before) in enumerate(_pairs(x, times)):
        x_0, eps = predict(x, t)
        a, s = _numbers(diffusion, before)
        sigma = 0.0
        if eta and s:
            _, variance = diffusion.posterior(x_0, x, t, before)
            sigma = eta * float(variance[0].sqrt())
        x = a * x_0 + math.sqrt(max(s**2 - sigma**2, 0.0)) * eps
        if sigma:
            if draw is None:
                raise ValueError("ddim with eta > 0 needs `draw`, the noise of each step")
            x = x + sigma * draw(n)
    return x


def heun(predict: Predict, diffusion: Diffusion, x: Tensor, times: Sequence[int]) -> Tensor:
    """Heun's rule on dx = x_0 da + eps ds; Euler, which is DDIM, on the step to the image.

    The same flow as in x/a over s/a, where the paper has it, but bounded where a comes near 0.
    """
    for t, before in _pairs(x, times):
        x_0, eps = predict(x, t)
        (a, s), (a_before, s_before) = _numbers(diffusion, t), _numbers(diffusion, before)
        euler = a_before * x_0 + s_before * eps
        if not s_before:
            return euler
        x_0_there, eps_there = predict(euler, before)
        x = x + (a_before - a) / 2 * (x_0 + x_0_there) + (s_before - s) / 2 * (eps + eps_there)
    return x


def dpm_solver_pp(
    predict: Predict, diffusion: Diffusion, x: Tensor, times: Sequence[int]
) -> Tensor:
    """Two-step multistep in lambda = log(a/s); first order on the first and the last step."""
    last: tuple[Tensor, float] | None = None  # the previous step: its x_0 and its length in lambda
    for t, before in _pairs(x, times):
        x_0, _ = predict(x, t)
        (a, s), (a_before, s_before) = _numbers(diffusion, t), _numbers(diffusion, before)
        step = _lambda(a_before, s_before) - _lambda(a, s)
        data = x_0
        if last is not None and math.isfinite(step):
            half = step / (2 * last[1])  # 1/(2r); 0 after a first step from pure noise
            data = (1 + half) * x_0 - half * last[0]
        x = (s_before / s) * x - a_before * math.expm1(-step) * data
        last = x_0, step
    return x


@dataclass(frozen=True, slots=True)
class Sampler:
    """A sampler as it is selected by name."""

    name: str
    run: Callable[..., Tensor]
    noisy: bool = False  # whether it also takes `draw`, the noise of each step


_ALL = (
    Sampler("ddpm", ddpm, noisy=True),
    Sampler("ddim", ddim),
    Sampler("heun", heun),
    Sampler("dpm++", dpm_solver_pp),
)
SAMPLERS = {sampler.name: sampler for sampler in _ALL}
"""Name -> sampler. To add one: write its function, and name it here."""


def _pairs(x: Tensor, times: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
    """Each time and the next one, (N,) int64 both; -1 ends."""
    import torch

    falling = [*times, -1]
    if any(one <= other for one, other in pairwise(falling)):
        raise ValueError(f"times must descend and stay at 0 or above: {list(times)}")
    every = [torch.full((len(x),), time, device=x.device) for time in falling]
    return list(pairwise(every))


def _numbers(diffusion: Diffusion, t: Tensor) -> tuple[float, float]:
    a, s = diffusion.coefficients(t[:1])
    return float(a), float(s)


def _lambda(a: float, s: float) -> float:
    if not a:
        return -math.inf
    return math.log(a / s) if s else math.inf
