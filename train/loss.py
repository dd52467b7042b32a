"""What a training step minimizes: a batch on the device, and the loss of each part of it.

Every number of a batch (noise, times, left-out captions) was decided by the loader, so that the
same batch gives the same loss on any number of ranks and in any number of parts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from frenchcat.train.loader import Loaded, noise_of
from frenchcat.train.permutation import key_of
from frenchcat.train.settings import TrainSettings
from frenchcat.train.stored import with_null
from frenchcat.train.weights import TrainableWeights

if TYPE_CHECKING:
    from torch import Tensor


class BatchLoss(ABC):
    """The loss of a network: `prepared` once per batch, `of` once per part of it."""

    def __init__(self, settings: TrainSettings, parts: Any, weights: TrainableWeights) -> None:
        self.settings, self.parts, self.weights = settings, parts, weights
        self.device = weights.device

    @abstractmethod
    def prepared(self, loaded: Loaded) -> dict[str, Any]:
        """What the loss needs of a batch, on the device; `x_t` is what the network sees."""

    @abstractmethod
    def of(self, batch: dict[str, Any], chosen: slice) -> Tensor:
        """The mean loss over some of a prepared batch's samples, with its graph."""

    def x_0(self, loaded: Loaded) -> Tensor:
        """(B, C, H, W) float32: the images without noise, encoded now or read."""
        if loaded.latents is not None:
            return loaded.latents.to(self.device).float()
        encoded: Tensor = self.parts.codec.encode(loaded.pixels.to(self.device))
        return encoded


class DiffusionLoss(BatchLoss):
    """The weighted squared error of what a denoising network predicts."""

    def prepared(self, loaded: Loaded) -> dict[str, Any]:
        """x_t, t, what to predict, weights, condition."""
        process = self.settings.diffusion
        diffusion, layout = self.parts.diffusion, self.weights.layout
        x_0 = self.x_0(loaded)
        noise = noise_of(loaded.noise_seeds, x_0.shape[1:]).to(self.device)
        if process.noise_offset:
            seeds = [key_of(seed, "offset") >> 1 for seed in loaded.noise_seeds]
            offset = noise_of(seeds, (x_0.shape[1], 1, 1)).to(self.device)
            noise = noise + process.noise_offset * offset
        t = loaded.times.to(self.device)
        weight = None
        if process.loss == "velocity":
            weight = diffusion.velocity_weight(process.target, t).float()
        elif isinstance(process.min_snr, float) and process.min_snr:
            weight = diffusion.min_snr_weight(process.target, t, process.min_snr).float()
        return {
            "x_t": diffusion.noised(x_0, t, noise).contiguous(memory_format=layout),
            "t": t,
            "target": diffusion.target(process.target, x_0, noise, t),
            "weight": weight,
            "condition": self._conditions(loaded),
        }

    def of(self, batch: dict[str, Any], chosen: slice) -> Tensor:
        """The mean over samples of the weighted squared error."""
        condition = batch["condition"].part(chosen.start, chosen.stop)
        with self.weights.autocast():
            output = self._output(batch["x_t"][chosen], batch["t"][chosen], condition)
        error = (output.float() - batch["target"][chosen]).square().flatten(1).mean(1)
        if batch["weight"] is not None:
            error = error * batch["weight"][chosen]
        mean: Tensor = error.mean()
        return mean

    def _output(self, x_t: Tensor, t: Tensor, condition: Any) -> Tensor:
        module = self.weights.module
        if self.settings.model.lora_text:  # the module encodes the captions as well
            answer: Tensor = module(x_t, t, condition)
            return answer
        found: Tensor = self.parts.family.answer(module, x_t, t, condition)
        return found

    def _conditions(self, loaded: Loaded) -> Any:
        """What the network is given beside x_t: captions, encoded unless that is trained."""
        if self.settings.model.lora_text:
            from frenchcat.train.text_updates import Captions

            return Captions(loaded.captions, loaded.sizes)
        if loaded.condition is None:
            condition = self.parts.text(loaded.captions)
        else:
            condition = with_null(loaded.condition, loaded.captions, self.parts.text)
        if loaded.vectors is not None:
            condition = condition.with_images(loaded.vectors)
        return condition.to(self.device).sized(loaded.sizes)
