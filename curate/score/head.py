"""A user's own head: linear layers on CLIP image vectors that give one number per image.

Reads a safetensors file whose 2-D ``….weight`` tensors are the layers, in the natural order of
their names, with ``….bias`` beside them, and optionally ``….mean`` and ``….variance``, by which
vectors are normalised first. That covers what LAION published, saved as safetensors:

- aesthetic predictor v1: one layer (``weight``, ``bias``);
- improved aesthetic predictor: ``layers.0 .2 .4 .6 .7``, no activation between them;
- NSFW heads: ``layers.0 .3 .6 .9 .12 .15 .16`` with relu, or ``norm``, ``linear_1`` … ``linear_4``;
- watermark or any other head of that form.

Where names are places in a sequence and two layers follow one another (15, 16), nothing lies
between them, so no activation is put there. Dropout does nothing here. Cost: a few matrix products.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.errors import UserError
from frenchcat.curate.score.kinds import Column, Columns
from frenchcat.curate.score.settings import HeadSettings

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Head:
    """The score of one head; loads its file when it is used."""

    name: str
    head: HeadSettings
    digest: str  # SHA-256 of the file
    version: int = 1

    def settings(self) -> Mapping[str, Any]:
        """What it computes; where the file lies does not matter."""
        return {
            "weights": self.digest,
            "activation": self.head.activation,
            "output": self.head.output,
        }

    @property
    def columns(self) -> tuple[Column, ...]:
        """One float."""
        return (Column(self.name, "float32"),)

    def of_vectors(self, pictures: Array, texts: Array) -> Columns:
        """The head on (N, D) image vectors."""
        return {self.name: read_layers(self.head)(pictures)}


@dataclass(frozen=True)
class Layers:
    """A head's arrays, checked to fit each other."""

    weights: tuple[Array, ...]  # each (out, in)
    biases: tuple[Array, ...]
    activated: tuple[bool, ...]  # whether relu follows the layer
    mean: Array | None
    variance: Array | None
    output: str

    @property
    def dimension(self) -> int:
        """Of the vectors it takes."""
        return int(self.weights[0].shape[1])

    def __call__(self, vectors: Array) -> Array:
        """(N, D) -> (N,) float32."""
        rows: NDArray[Any] = vectors
        if self.mean is not None and self.variance is not None:
            rows = (rows - self.mean) / np.sqrt(self.variance)
        for weight, bias, relu in zip(self.weights, self.biases, self.activated, strict=True):
            rows = rows @ weight.T + bias
            rows = np.maximum(rows, 0) if relu else rows
        if rows.shape[1] == 2:
            return sigmoid(rows[:, 1] - rows[:, 0])  # softmax over two
        return sigmoid(rows[:, 0]) if self.output == "sigmoid" else rows[:, 0]


def sigmoid(values: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    result: Array = np.exp(-np.logaddexp(0, -values.astype(np.float64))).astype(np.float32)
    return result


def make_head(head: HeadSettings, dimension: int, model: str) -> Head:
    """The score of a user's head for vectors of `dimension` made by `model`.

    Raises `UserError` for a file that is missing or no head, for vectors of another shape (naming
    both) or of another model.
    """
    from frenchcat.curate.dataset import file_sha256

    layers = read_layers(head)
    if layers.dimension != dimension:
        raise UserError(
            f"head {head.name} ({head.file}) takes vectors of {layers.dimension} numbers, those of "
            f"{model} have {dimension}; give a head trained on {model}"
        )
    if head.model not in (None, model):
        raise UserError(
            f"head {head.name} is for vectors of {head.model}, but this dataset's are of {model}; "
            "embed with that model or give another head"
        )
    return Head(head.name, head, file_sha256(head.file))


def read_layers(head: HeadSettings) -> Layers:
    """A head's file. Raises `UserError` where it is missing, broken or no chain of layers."""
    tensors = _tensors(head)
    names = [name for name, array in tensors.items() if name.endswith("weight") and array.ndim == 2]
    names.sort(key=_natural)
    if not names:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in tensors.items()) or "nothing"
        raise UserError(
            f"head {head.name}: {head.file} contains no linear layer; it contains {shapes}"
        )
    weights = [tensors[name] for name in names]
    zeros = [np.zeros(len(weight), np.float32) for weight in weights]
    found = [tensors.get(f"{name[:-6]}bias", zero) for name, zero in zip(names, zeros, strict=True)]
    _check_chain(head, names, weights, found)
    between = [not _adjacent(name, after) for name, after in pairwise(names)]
    activated = (*(head.activation == "relu" and free for free in between), False)
    mean, variance = (_ending(tensors, ending) for ending in ("mean", "variance"))
    for array in (mean, variance):
        if array is not None and array.shape != (weights[0].shape[1],):
            raise UserError(
                f"head {head.name}: its normalisation has shape {array.shape}, its first layer "
                f"takes {weights[0].shape[1]} numbers; both must be the same"
            )
    return Layers(tuple(weights), tuple(found), activated, mean, variance, head.output)


def _tensors(head: HeadSettings) -> dict[str, Array]:
    from pathlib import Path

    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if not Path(head.file).is_file():
        raise UserError(f"head {head.name}: there is no file {head.file}; give a safetensors file")
    try:
        loaded = load_file(head.file)
    except (SafetensorError, KeyError, ValueError) as error:  # KeyError: bfloat16
        raise UserError(
            f"head {head.name}: {head.file} is not a safetensors file of floats ({error}); "
            "save it with safetensors.torch.save_file(model.float().state_dict(), FILE)"
        ) from None
    return {name: np.asarray(array, np.float32) for name, array in loaded.items()}


def _check_chain(
    head: HeadSettings, names: list[str], weights: list[Array], biases: list[Array]
) -> None:
    for name, weight, bias in zip(names, weights, biases, strict=True):
        if bias.shape != weight.shape[:1]:
            raise UserError(
                f"head {head.name}: {name} has shape {weight.shape}, its bias {bias.shape}; "
                f"a bias of shape ({weight.shape[0]},) fits"
            )
    for place, (before, after) in enumerate(pairwise(weights)):
        if after.shape[1] != before.shape[0]:
            raise UserError(
                f"head {head.name}: {names[place]} has shape {before.shape} and "
                f"{names[place + 1]} {after.shape}; the latter must take {before.shape[0]} numbers"
            )
    if weights[-1].shape[0] not in (1, 2):
        raise UserError(
            f"head {head.name}: {names[-1]} has shape {weights[-1].shape}; "
            "the last layer must give 1 number, or 2 (no, yes)"
        )


def _natural(name: str) -> list[tuple[int, int, str]]:
    """A key that puts layers.2 before layers.10."""
    parts = re.split(r"(\d+)", name)
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts]


def _adjacent(name: str, after: str) -> bool:
    """Whether two layers stand side by side in a sequence: layers.15 and layers.16."""
    places = [re.search(r"(?:^|\.)(\d+)\.weight$", each) for each in (name, after)]
    if places[0] is None or places[1] is None:
        return False
    return int(places[1][1]) - int(places[0][1]) == 1


def _ending(tensors: Mapping[str, Array], ending: str) -> Array | None:
    found = next((tensors[name] for name in tensors if name.endswith(ending)), None)
    return None if found is None else found.reshape(-1)
