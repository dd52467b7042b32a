"""Guidance: one seam between a network and the samplers, for every way to steer it.

`Guided` is the samplers' `predict`. It asks the network, mixes conditional and unconditional
answers (classifier-free guidance), and shifts the noise by gradients (classifier guidance, CLIP
guidance); any of them, alone or together.

Classifier guidance (2105.05233, algorithm 2):  eps' = eps - s_t w grad_x log p(y | x_t)
Classifier-free guidance (2207.12598, equation 6, with their w + 1 as our w):
                                                eps' = eps_null + w (eps_cond - eps_null)

so w = 1 is the conditional model itself, bit for bit, and w = 0 the unconditional one.

Rescaled guidance (2305.08891, section 3.4), by phi: the output's deviation is drawn back to that of
the conditional answer. Dynamic thresholding (2205.11487, section 2.3): x_0 is cut at the p-quantile
of its sizes instead of at 1, and scaled back.

Cost: classifier-free guidance doubles the network's batch; a gradient costs a backward pass
through its own network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from frenchcat.train.diffusion import Diffusion, Target

if TYPE_CHECKING:
    from torch import Tensor

_BLIND = 0.02
"""Below this share of the image in x_t, gradients are left out: they contain no information there,
and x_0 would take their errors times s^2 / a.
"""

Network = Callable[["Tensor", "Tensor", Any], "Tensor"]
"""(x (N, C, H, W), t (N,) int64, condition of N prompts) -> output in the shape of x."""
Gradient = Callable[["Tensor", "Tensor", "Tensor"], "Tensor"]
"""(x_t, t, predicted x_0) -> the gradient to climb, already weighted, in the shape of x."""
Picture = Callable[["Tensor", "Tensor"], "Tensor"]
"""(x_t, t) -> predicted x_0."""


@dataclass(frozen=True)
class Guided:
    """predict(x, t) -> (x_0, eps) of a network under guidance."""

    network: Network
    diffusion: Diffusion
    target: Target
    condition: Any  # of N prompts: a tensor, or a Condition, which can be `joined` with another
    null: Any = None  # of N empty or negative prompts
    weight: float = 1.0  # of classifier-free guidance; 1: off
    gradients: Sequence[Gradient] = field(default_factory=tuple)
    clip_x_0: float | None = None  # images lie within +-1; None for latents
    rescale: float = 0.0  # phi of rescaled guidance
    threshold: float | None = None  # the quantile of dynamic thresholding; with clip_x_0 only

    def __call__(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """The guided (x_0, eps) at x_t."""
        output = self._mixed(x, t)
        x_0, eps = self.diffusion.split(self.target, output, x, t)
        for gradient in self.gradients:
            x_0, eps = self._climbed(x, t, x_0, eps, gradient(x, t, x_0))
        if self.clip_x_0 is not None:
            x_0 = self._clipped(x_0, self.clip_x_0)
            a, s = (float(part[0]) for part in self.diffusion.coefficients(t))
            eps = (x - a * x_0) / s
        return x_0, eps

    def _mixed(self, x: Tensor, t: Tensor) -> Tensor:
        """Classifier-free guidance on the output, which is linear in eps for a fixed x_t."""
        import torch

        if self.weight == 1.0:
            return self.network(x, t, self.condition)
        if self.null is None:
            raise ValueError(f"guidance {self.weight} needs `null`, the empty prompt's condition")
        if self.weight == 0.0:
            return self.network(x, t, self.null)
        if isinstance(self.null, torch.Tensor):
            both: Any = torch.cat([self.null, self.condition])
        else:
            both = self.null.joined(self.condition)
        without, with_prompt = self.network(x.repeat(2, 1, 1, 1), t.repeat(2), both).chunk(2)
        mixed: Tensor = without + self.weight * (with_prompt - without)
        if not self.rescale:
            return mixed
        spread, own = (one.flatten(1).std(1).view(-1, 1, 1, 1) for one in (with_prompt, mixed))
        return self.rescale * mixed * (spread / own) + (1 - self.rescale) * mixed

    def _clipped(self, x_0: Tensor, bound: float) -> Tensor:
        if self.threshold is None:
            return x_0.clamp(-bound, bound)
        sizes = x_0.abs().flatten(1).quantile(self.threshold, dim=1).clamp(min=bound)
        largest = sizes.view(-1, 1, 1, 1)
        return x_0.clamp(-largest, largest) / largest * bound

    def _climbed(
        self, x: Tensor, t: Tensor, x_0: Tensor, eps: Tensor, slope: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Classifier guidance: eps - s grad, and the x_0 that corresponds to it."""
        a, s = (float(part[0]) for part in self.diffusion.coefficients(t))
        if a < _BLIND:
            return x_0, eps
        return x_0 + (s**2 / a) * slope, eps - s * slope


def classifier_gradient(
    classifier: Callable[[Tensor, Tensor], Tensor], labels: Tensor, weight: float
) -> Gradient:
    """grad_x log p(label | x_t) of a classifier that was trained on noised images.

    `classifier(x, t)` returns (N, classes) logits, `labels` is (N,) int64.
    """
    import torch

    def gradient(x: Tensor, t: Tensor, x_0: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            chosen = classifier(x, t).float().log_softmax(-1).gather(1, labels[:, None])
            (slope,) = torch.autograd.grad(chosen.sum(), x)
        return weight * slope

    return gradient


def clip_gradient(
    embed: Callable[[Tensor], Tensor], texts: Tensor, weight: float, network: Picture
) -> Gradient:
    """grad_x of the cosine between the predicted image and the texts (CLIP guidance, GLIDE 2.4).

    `embed` maps images (N, 3, H, W) in -1 … 1 to unit rows, `texts` is (N, D) unit rows,
    `network(x, t)` returns x_0. The model needs no training on noise, since it sees x_0.
    """
    import torch

    def gradient(x: Tensor, t: Tensor, x_0: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            cosine = (embed(network(x, t)) * texts).sum(-1)
            (slope,) = torch.autograd.grad(cosine.sum(), x)
        return weight * slope

    return gradient
