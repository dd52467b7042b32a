"""A data distribution with a known answer to everything: N(mean, spread^2 I)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from frenchcat.train.diffusion import Diffusion


@dataclass(frozen=True)
class Gaussian:
    diffusion: Diffusion
    mean: float = 0.7
    spread: float = 0.5

    def x_0(self, x: Tensor, t: Tensor) -> Tensor:
        """E[x_0 | x_t]."""
        a, s = (part.view(-1, 1, 1, 1) for part in self.diffusion.coefficients(t))
        gain = a * self.spread**2 / (a**2 * self.spread**2 + s**2)
        return self.mean + gain * (x - a * self.mean)

    def predict(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        a, s = (part.view(-1, 1, 1, 1) for part in self.diffusion.coefficients(t))
        x_0 = self.x_0(x, t)
        return x_0, (x - a * x_0) / s

    def flowed(self, x: Tensor, t: int) -> Tensor:
        """Where the probability flow takes x_t: it keeps each point's quantile."""
        a, s = (float(part) for part in self.diffusion.coefficients(torch.tensor([t])))
        width = (a**2 * self.spread**2 + s**2) ** 0.5
        return self.mean + self.spread * (x - a * self.mean) / width

    def start(self, rows: int, t: int, seed: int = 0) -> Tensor:
        """(rows, 1, 1, 1) float64 drawn from the distribution of x_t."""
        a, s = (float(part) for part in self.diffusion.coefficients(torch.tensor([t])))
        noise = torch.randn(rows, 1, 1, 1, generator=generator(seed), dtype=torch.float64)
        return a * self.mean + (a**2 * self.spread**2 + s**2) ** 0.5 * noise


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
