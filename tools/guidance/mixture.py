"""A mixture of Gaussians in the plane with classes: every score and classifier in closed form.

Points are (N, 2, 1, 1) float64, the shape of pictures of one pixel, so that train's own guidance
and samplers run on them. x_t of a component is a Gaussian again: mean a mu, variance
(a spread)^2 + s^2 along each axis.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from frenchcat.train.diffusion import Diffusion


@dataclass(frozen=True)
class Mixture:
    """Components of equal weight; `labels` says to which class each belongs."""

    diffusion: Diffusion
    means: Tensor  # (K, 2) float64
    spreads: Tensor  # (2,) float64, of every component
    labels: Tensor  # (K,) int64

    @property
    def classes(self) -> int:
        """How many."""
        return int(self.labels.max()) + 1

    def draw(self, number: int, seed: int) -> tuple[Tensor, Tensor]:
        """Clean points and their labels, (N,) int64."""
        chance = torch.Generator().manual_seed(seed)
        which = torch.randint(len(self.means), (number,), generator=chance)
        noise = torch.randn(number, 2, generator=chance, dtype=torch.float64)
        points = self.means[which] + self.spreads * noise
        return points[..., None, None], self.labels[which]

    def log_parts(self, x: Tensor, t: Tensor) -> Tensor:
        """(N, K): log of each component's share of the density at x_t."""
        a, s = (part[:, None, None] for part in self.diffusion.coefficients(t))
        widths = ((a * self.spreads) ** 2 + s**2).sqrt()  # (N, 1, 2)
        away = (x[:, None, :, 0, 0] - a * self.means) / widths
        return -0.5 * away.square().sum(-1) - widths.log().sum(-1)

    def log_classes(self, x: Tensor, t: Tensor) -> Tensor:
        """(N, classes): log p(y | x_t) up to a constant: the exact noise-aware classifier."""
        parts = self.log_parts(x, t)
        return torch.stack(
            [parts[:, self.labels == label].logsumexp(1) for label in range(self.classes)], 1
        )

    def noise(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """E[eps | x_t, y] = -s grad log p(x_t | y); a condition of -1 is not a label."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            by_class = self.log_classes(x, t)
            chosen = by_class.gather(1, condition.clamp(min=0)[:, None])[:, 0]
            density = torch.where(condition < 0, by_class.logsumexp(1), chosen)
            (slope,) = torch.autograd.grad(density.sum(), x)
        _, s = self.diffusion.coefficients(t)
        return -s.view(-1, 1, 1, 1) * slope


def hexagon(diffusion: Diffusion) -> Mixture:
    """Six blobs around the middle, neighbours in pairs: three classes."""
    angles = torch.arange(6, dtype=torch.float64) * torch.pi / 3
    means = 1.6 * torch.stack([angles.cos(), angles.sin()], 1)
    spreads = torch.tensor([0.2, 0.2], dtype=torch.float64)
    return Mixture(diffusion, means, spreads, torch.arange(6) // 2)


def stamped(diffusion: Diffusion) -> Mixture:
    """Two classes that differ in what is shown (across, with overlap) and in a stamp (upwards).

    The stamp is small and never wrong: what is shown tells the label for 95 of 100.
    """
    means = torch.tensor([[-1.0, -0.25], [1.0, 0.25]], dtype=torch.float64)
    spreads = torch.tensor([0.6, 0.05], dtype=torch.float64)
    return Mixture(diffusion, means, spreads, torch.arange(2))
