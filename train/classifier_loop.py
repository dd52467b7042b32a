"""Training a noise-aware classifier: the loop of loop.py with labels instead of captions.

Reads a selection with labels (`frenchcat select --label`) and writes the same kind of run folder.
The plan, the noise by name, resuming and logs are those of a diffusion model; the loss is the
cross-entropy. Each checkpoint reports the accuracy on held-out images by timestep. Cost: the
classifier's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from frenchcat.curate.config import as_dict, changed
from frenchcat.curate.errors import UserError
from frenchcat.train import checkpoint
from frenchcat.train.classifier import Classifier, save_classifier
from frenchcat.train.diffusion import Diffusion
from frenchcat.train.held_out import HeldOut, HeldOutLoss, held_out_groups, held_out_times
from frenchcat.train.loader import Loaded, noise_of
from frenchcat.train.loss import BatchLoss
from frenchcat.train.model import Codec
from frenchcat.train.run import order_of
from frenchcat.train.settings import TrainSettings
from frenchcat.train.trainer import Trainer
from frenchcat.train.weights import TrainableWeights

DRAWS = 4  # of noise per held-out image: there are few images


@dataclass
class ClassifierParts:
    """Turns images into what a classifier sees."""

    settings: TrainSettings
    codec: Codec
    diffusion: Diffusion
    text: None = None  # a label is not a sentence
    family: None = None  # a classifier is not part of a pipeline

    def to(self, device: Any) -> ClassifierParts:
        """The same, its autoencoder on a device."""
        self.codec.to(device)
        return self


class ClassifierLoss(BatchLoss):
    """The cross-entropy of labels, whose places in `classes` are what the network learns."""

    def __init__(
        self,
        settings: TrainSettings,
        parts: ClassifierParts,
        weights: TrainableWeights,
        classes: list[str],
    ) -> None:
        super().__init__(settings, parts, weights)
        self.classes = classes

    def prepared(self, loaded: Loaded) -> dict[str, Any]:
        """x_t, t, and the labels' places."""
        x_0 = self.x_0(loaded)
        noise = noise_of(loaded.noise_seeds, x_0.shape[1:]).to(self.device)
        t = loaded.times.to(self.device)
        x_t = self.parts.diffusion.noised(x_0, t, noise)
        labels = self.numbers(loaded.captions)
        return {"x_t": x_t.contiguous(memory_format=self.weights.layout), "t": t, "labels": labels}

    def of(self, batch: dict[str, Any], chosen: slice) -> Tensor:
        """The mean cross-entropy over samples."""
        with self.weights.autocast():
            logits = self.weights.module(batch["x_t"][chosen], batch["t"][chosen])
        return cross_entropy(logits.float(), batch["labels"][chosen])

    def numbers(self, labels: list[str]) -> Tensor:
        """(N,) int64: each label's place in the classes."""
        places = {label: n for n, label in enumerate(self.classes)}
        return torch.tensor([places[label] for label in labels], device=self.device)


class ClassifierTrainer(Trainer):
    """The training of a classifier."""

    parts: Any  # ClassifierParts
    loss: ClassifierLoss
    classes: list[str]

    def __init__(self, settings: TrainSettings, *others: Any) -> None:
        if settings.run.shard_model:
            raise UserError("run.shard_model is for diffusion models; leave it off")
        # Labels are never left out; captions sometimes are, for classifier-free guidance.
        super().__init__(changed(settings, text=changed(settings.text, dropout=0.0)), *others)

    def _make_parts(self) -> Any:
        process = self.settings.diffusion
        diffusion = Diffusion.make(
            process.schedule, process.steps, zero_terminal=process.zero_terminal
        )
        model = self.settings.model
        return ClassifierParts(self.settings, Codec.load(model.vae, model.patch), diffusion)

    def _network(self) -> Classifier:
        self.classes = self.rows.captions()
        torch.manual_seed(self.settings.run.seed)
        return self._new()

    def _new(self) -> Classifier:
        return Classifier(self.settings.classifier, self.parts.codec.channels, len(self.classes))

    def _make_loss(self) -> ClassifierLoss:
        return ClassifierLoss(self.settings, self.parts, self.weights, self.classes)

    def _identity(self, digest: str) -> dict[str, Any]:
        diffusion = as_dict(self.settings.diffusion)
        return {
            "selection": digest,
            "seed": self.settings.run.seed,
            "classifier": as_dict(self.settings.classifier),
            "diffusion": {n: diffusion[n] for n in ("schedule", "steps", "zero_terminal")},
            "data": order_of(self.settings),
        }

    def _sample_grid(self) -> None:
        """A classifier draws nothing."""

    def save(self) -> None:
        """Write a checkpoint of this step, with its accuracy on held-out images."""
        tensors = self.weights.tensors(self.optimizer)
        if self.ranks.first:
            averaged = {n: tensors[f"averaged.{n}"] for n in self.weights.names}
            network = self._new()
            network.load_state_dict(averaged, strict=True)
            losses, accuracy = self._held_out(network.to(self.device).eval())
            self._check_finite(tensors, losses)
            state = self._state(losses)

            def export(folder: Path) -> None:
                channels = self.parts.codec.channels
                save_classifier(folder, averaged, self.classes, channels, accuracy)

            checkpoint.publish(self.folder, state, tensors, export)
            checkpoint.prune(self.folder, self.settings.run.keep)
            self.log.held_out(self.step, losses)
        self.ranks.barrier()

    def _held_out(self, network: Classifier) -> tuple[HeldOutLoss | None, dict[str, Any] | None]:
        """Cross-entropy and accuracy by timestep; None without held-out images."""
        losses: dict[int, float] = {}
        accuracy: dict[int, float] = {}
        data, codec = self.settings.data, self.parts.codec
        draws = [
            group
            for draw in range(DRAWS)
            for group in held_out_groups(data, codec, self.rows, self.device, draw)
        ]
        if not draws:
            return None, None
        wanted = torch.cat([self.loss.numbers(draw.captions) for draw in draws])
        labels = wanted[: len(wanted) // DRAWS]
        for time in held_out_times(self.settings.diffusion.steps):
            with torch.no_grad():
                logits = torch.cat([self._logits(network, draw, time) for draw in draws])
            losses[time] = float(cross_entropy(logits, wanted))
            accuracy[time] = float((logits.argmax(-1) == wanted).float().mean())
        largest = int(labels.bincount().max()) / len(labels)
        told = {
            "images": len(labels),
            "draws": DRAWS,
            "largest_class": largest,
            "by_time": accuracy,
        }
        return HeldOutLoss(losses), told

    def _logits(self, network: Classifier, still: HeldOut, time: int) -> Tensor:
        t = torch.full((len(still.x_0),), time, device=self.device)
        found: Tensor = network(self.parts.diffusion.noised(still.x_0, t, still.noise), t)
        return found
