"""Small classifiers of points in the plane, learned from a few hundred of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tools.guidance.mixture import Mixture

POINTS, STEPS, BATCH = 600, 3000, 256


class Learned(nn.Module):
    """(x_t, t) -> logits; two hidden layers."""

    def __init__(self, mixture: Mixture, noisy: bool) -> None:
        super().__init__()
        self.mixture, self.noisy = mixture, noisy
        self.layers = nn.Sequential(
            nn.Linear(4, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(),
            nn.Linear(128, mixture.classes),
        ).double()  # fmt: skip

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Told a and s; one that knows clean points alone is told that every point is clean."""
        a, s = self.mixture.diffusion.coefficients(t if self.noisy else torch.full_like(t, -1))
        logits: Tensor = self.layers(torch.stack([x[:, 0, 0, 0], x[:, 1, 0, 0], a, s], 1))
        return logits


def learn(mixture: Mixture, noisy: bool, steps: int = STEPS) -> Learned:
    """Train one: on points noised to any t, or on the clean points alone."""
    torch.manual_seed(0)
    points, labels = mixture.draw(POINTS, seed=1)
    found, chance = Learned(mixture, noisy), torch.Generator().manual_seed(2)
    optimizer = torch.optim.AdamW(found.parameters(), lr=2e-3, weight_decay=1e-2)
    for _ in range(steps):
        chosen = torch.randint(POINTS, (BATCH,), generator=chance)
        t = torch.randint(len(mixture.diffusion), (BATCH,), generator=chance)
        noise = torch.randn(BATCH, 2, 1, 1, generator=chance, dtype=torch.float64)
        x = mixture.diffusion.noised(points[chosen], t, noise) if noisy else points[chosen]
        loss = nn.functional.cross_entropy(found(x, t), labels[chosen])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return found.requires_grad_(False).eval()
