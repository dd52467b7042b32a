"""The diffusion process: noise added step by step, and what a model is asked to predict.

One description covers every schedule: x_t = a_t x_0 + s_t eps with eps ~ N(0, I), t = 0 … T-1, and
the clean image before them (a = 1, s = 0). Variance-preserving schedules have a_t = sqrt(abar_t),
s_t = sqrt(1 - abar_t) (DDPM, 2006.11239); the flow schedule has a_t = 1 - s_t (rectified flow,
2209.03003). Coefficients are float64 and cast where they meet an image. Pure functions of tensors,
independent of any network. Cost: linear in the image.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

Kind = Literal["linear", "scaled_linear", "cosine", "flow"]
Target = Literal["eps", "x0", "v", "flow"]
STEPS = 1000
VELOCITY_FLOOR = 0.05
"""Minimum of the noise's share in the velocity loss (2511.13720)."""


# -- schedules: how much noise after each step -----------------------------------------------------


def linear_betas(steps: int = STEPS, first: float = 1e-4, last: float = 0.02) -> Tensor:
    """(T,) float64, DDPM section 4; the ends are for T = 1000 and scale with 1000 / T."""
    import torch

    scale = STEPS / steps
    return torch.linspace(scale * first, scale * last, steps, dtype=torch.float64).clamp(max=0.999)


def scaled_linear_betas(steps: int = STEPS, first: float = 85e-5, last: float = 0.012) -> Tensor:
    """(T,) float64: linear in sqrt(beta), latent diffusion's (2112.10752, Stable Diffusion)."""
    import torch

    scale = STEPS / steps
    ends = math.sqrt(scale * first), math.sqrt(scale * last)
    return (torch.linspace(*ends, steps, dtype=torch.float64) ** 2).clamp(max=0.999)


def cosine_betas(steps: int = STEPS, offset: float = 0.008) -> Tensor:
    """(T,) float64, Nichol & Dhariwal (2102.09672) equation 17, capped at .999."""
    import torch

    time = torch.arange(steps + 1, dtype=torch.float64) / steps
    bar = torch.cos((time + offset) / (1 + offset) * math.pi / 2) ** 2
    return (1 - bar[1:] / bar[:-1]).clamp(max=0.999)


def zero_terminal_snr(betas: Tensor) -> Tensor:
    """Betas shifted and scaled so that the last step is pure noise (2305.08891, algorithm 1)."""
    import torch

    root = (1 - betas).cumprod(0).sqrt()
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    bar = root**2
    return 1 - torch.cat([bar[:1], bar[1:] / bar[:-1]])


@dataclass(frozen=True)
class Diffusion:
    """A schedule: `a` and `s`, (T,) float64 each, and everything derived from them."""

    a: Tensor  # share of the image, descending
    s: Tensor  # share of the noise, ascending

    @classmethod
    def of_betas(cls, betas: Tensor) -> Diffusion:
        """From the forward chain's variances, (T,) in (0, 1]; the last may be 1."""
        bar = (1 - betas).cumprod(0)
        return cls(bar.sqrt(), (1 - bar).sqrt())

    @classmethod
    def make(
        cls, kind: Kind = "cosine", steps: int = STEPS, *, zero_terminal: bool = False
    ) -> Diffusion:
        """One of the known schedules. Raises ValueError for an unknown kind or fewer than two
        steps.
        """
        import torch

        if steps < 2:
            raise ValueError(f"a schedule of {steps} steps; give at least two")
        if kind == "flow":
            s = torch.arange(1, steps + 1, dtype=torch.float64) / steps
            if not zero_terminal:
                s = s * (1 - 0.5 / steps)
            return cls(1 - s, s)
        known: dict[str, Callable[[int], Tensor]] = {
            "linear": linear_betas,
            "scaled_linear": scaled_linear_betas,
            "cosine": cosine_betas,
        }
        if kind not in known:
            raise ValueError(f"unknown schedule {kind!r}; known: flow, {', '.join(known)}")
        betas = known[kind](steps)
        return cls.of_betas(zero_terminal_snr(betas) if zero_terminal else betas)

    def __len__(self) -> int:
        return len(self.a)

    # -- the forward chain -------------------------------------------------------------------------

    def step(self, x_before: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """One step of the chain, q(x_t | x_{t-1}); DDPM equation 2. `t` is (N,) int64.

        For variance-preserving schedules the ratio is sqrt(1 - beta_t), the variance beta_t.
        """
        ratio, variance = self._transition(t, t - 1)
        return _each(ratio, x_before) * x_before + _each(variance.sqrt(), noise) * noise

    def noised(self, x_0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """All steps to t at once, q(x_t | x_0); DDPM equation 4."""
        a, s = self.coefficients(t)
        return _each(a, x_0) * x_0 + _each(s, noise) * noise

    def posterior(
        self, x_0: Tensor, x_t: Tensor, t: Tensor, before: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mean (as x_t) and variance (N,) of q(x_before | x_t, x_0); DDPM equations 6 and 7.

        `before` is any earlier step, t - 1 by default; -1 is the clean image.
        """
        before = t - 1 if before is None else before
        a_before, s_before = self.coefficients(before)
        _, s = self.coefficients(t)
        ratio, forward = self._transition(t, before)
        of_x_0 = _each(a_before * forward / s**2, x_0) * x_0
        of_x_t = _each(ratio * s_before**2 / s**2, x_t) * x_t
        return of_x_0 + of_x_t, forward * s_before**2 / s**2

    def coefficients(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """a_t and s_t, (N,) float64 on t's device; t = -1 is the clean image."""
        import torch

        clean = t < 0
        index = t.clamp(min=0)
        a, s = self.a.to(t.device)[index], self.s.to(t.device)[index]
        return torch.where(clean, 1.0, a), torch.where(clean, 0.0, s)

    def snr(self, t: Tensor) -> Tensor:
        """Signal-to-noise ratio a^2 / s^2, (N,) float64."""
        a, s = self.coefficients(t)
        return (a / s) ** 2

    def _transition(self, t: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """Of q(x_t | x_before): the factor of x_before, and the variance of the added noise."""
        a, s = self.coefficients(t)
        a_before, s_before = self.coefficients(before)
        ratio = a / a_before
        return ratio, (s**2 - ratio**2 * s_before**2).clamp(min=0)

    # -- targets: four equivalent predictions ------------------------------------------------------

    def target(self, kind: Target, x_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What a model of this kind is to predict from x_t.

        eps: the noise. x0: the image. v: a eps - s x_0 (2202.00512, section 4).
        flow: eps - x_0, the velocity of the straight path (2209.03003, equation 1, reversed).
        """
        if kind == "eps":
            return noise
        if kind == "x0":
            return x_0
        if kind == "flow":
            return noise - x_0
        a, s = self.coefficients(t)
        return _each(a, noise) * noise - _each(s, x_0) * x_0

    def split(self, kind: Target, output: Tensor, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """A model's output -> (x_0, eps) with x_t = a x_0 + s eps.

        An eps output says nothing about x_0 where a = 0; `check` refuses that schedule.
        """
        a, s = (_each(part, x_t) for part in self.coefficients(t))
        if kind == "eps":
            return (x_t - s * output) / a, output
        if kind == "x0":
            return output, (x_t - a * output) / s
        if kind == "flow":
            return (x_t - s * output) / (a + s), (x_t + a * output) / (a + s)
        norm = a**2 + s**2  # 1 for variance-preserving schedules
        return (a * x_t - s * output) / norm, (s * x_t + a * output) / norm

    def check(self, kind: Target) -> None:
        """Raise ValueError if a target cannot be predicted under this schedule."""
        if kind == "eps" and float(self.a[-1]) == 0.0:
            raise ValueError(
                "target eps with a schedule that ends in noise alone: there eps says nothing of "
                "the image (2305.08891, section 3.2); take v, x0 or flow"
            )

    def min_snr_weight(self, kind: Target, t: Tensor, gamma: float = 5.0) -> Tensor:
        """(N,) float64 weights of a squared error in `kind`: min(SNR, gamma) of an error in x_0.

        2303.09556, section 3.4. For a fixed x_t an error d in x_0 is an error of (a/s) d in eps,
        (a^2 + s^2)/s d in v and (a + s)/s d in flow, so that, for variance-preserving schedules,
        the weights are min(SNR, g), min(SNR, g)/SNR, min(SNR, g)/(SNR + 1). Each is finite at
        SNR 0, where an x_0, v or flow error weighs nothing and an eps error one.
        """
        a, s = self.coefficients(t)
        capped = self.snr(t).clamp(max=gamma)
        if kind == "x0":
            return capped
        if kind == "eps":
            return (gamma / self.snr(t)).clamp(max=1.0)
        scale = a**2 + s**2 if kind == "v" else a + s
        return capped * (s / scale) ** 2

    def velocity_weight(self, kind: Target, t: Tensor, floor: float = VELOCITY_FLOOR) -> Tensor:
        """(N,) float64 weights of a squared error in `kind`: the error of the velocity eps - x_0.

        JiT (2511.13720, section 4) lets a network predict x and compares velocities: with its
        t = 1 - s and z = t x + (1 - t) e, the loss of a predicted image x' is
        |x' - x|^2 / max(1 - t, .05)^2. For a fixed x_t an error d in x_0 is an error of
        (a + s)/s d in the velocity; weights of the other targets follow as in `min_snr_weight`.
        `floor` bounds s from below, so that the weight stays finite where there is no noise.
        """
        a, s = self.coefficients(t)
        capped = ((a + s) / s.clamp(min=floor)) ** 2
        if kind == "x0":
            return capped
        if kind == "eps":
            return capped / self.snr(t)
        scale = a**2 + s**2 if kind == "v" else a + s
        return capped * (s / scale) ** 2


def logit_normal(share: float, mean: float = 0.0, spread: float = 1.0) -> float:
    """The noise s in (0, 1) below which a share of all draws lies (2403.03206, section 3.1).

    The logit of s is normally distributed: s = sigmoid(mean + spread n). JiT's
    t = sigmoid(.8 n - .8), where t = 1 is the image (2511.13720), is mean .8 and spread .8 here.
    """
    n = NormalDist(mean, spread).inv_cdf(min(max(share, 1e-12), 1 - 1e-12))
    return 1 / (1 + math.exp(-n))


def _each(coefficient: Tensor, like: Tensor) -> Tensor:
    """(N,) -> (N, 1, …) in the type of `like`; float32 where that is coarser."""
    import torch

    kind = torch.float32 if like.dtype in (torch.bfloat16, torch.float16) else like.dtype
    return coefficient.to(kind).view(-1, *[1] * (like.dim() - 1))
