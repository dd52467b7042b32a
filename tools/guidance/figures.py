"""Plots of the toy. The same points give the same file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import torch
from matplotlib.figure import Figure
from torch import Tensor

from frenchcat.train.guidance import classifier_gradient
from tools.guidance.mixture import Mixture

if TYPE_CHECKING:
    from tools.guidance.toy import Classifier, Drawn

COLOURS = ("#2f6fde", "#c9c9c9", "#c9c9c9")  # the wanted class, the others
_AT = 500  # the time at which gradients are shown
_ARROWS = 40


def samples(mixture: Mixture, panels: Sequence[Drawn], path: Path) -> None:
    """Points under each guidance over the data's blobs."""
    figure = Figure(figsize=(12, 5.6), layout="constrained")
    for n, (axes, panel) in enumerate(zip(figure.subplots(2, 5).flat, panels, strict=True)):
        _blobs(axes, mixture)
        points = panel.points.numpy()
        axes.scatter(points[:, 0], points[:, 1], s=2, color="#d6452b", alpha=0.5, linewidths=0)
        axes.set_title(f"{'abcdefghij'[n]}  {panel.title}", fontsize=9)
        axes.set_xlabel(
            f"right {panel.right:.0%}, off {panel.off:.0%}, spread {panel.spread:.2f}", fontsize=8
        )
        _square(axes, 3.0)
    _save(figure, path)


def gradients(
    mixture: Mixture,
    classifiers: Mapping[str, Classifier],
    curves: Mapping[str, Sequence[Mapping[str, float]]],
    path: Path,
) -> None:
    """Arrows of each classifier at one noise, and accuracy and cosine by noise."""
    figure = Figure(figsize=(12, 6.4), layout="constrained")
    grid = figure.subplots(2, 3)
    line = torch.linspace(-2.6, 2.6, 15, dtype=torch.float64)
    plane = torch.cartesian_prod(line, line)
    x, t = plane[..., None, None], torch.full((len(plane),), _AT)
    for axes, (name, classifier) in zip(grid[0], classifiers.items(), strict=True):
        wanted = torch.zeros(len(plane), dtype=torch.int64)
        slope = classifier_gradient(classifier, wanted, 1.0)(x, t, x)[..., 0, 0]
        a, _ = (float(part) for part in mixture.diffusion.coefficients(t[:1]))
        _blobs(axes, mixture, a)
        axes.quiver(*plane.T.numpy(), *slope.T.numpy(), angles="xy", width=0.004, color="#d6452b")
        longest = float(slope.norm(dim=1).max())
        axes.set_title(f"gradient at t = {_AT}, {name}", fontsize=9)
        axes.set_xlabel(f"longest arrow {longest:.2g}", fontsize=8)
        _square(axes, 2.8)
    named = (
        ("accuracy", "accuracy"),
        ("cosine", "cosine with the exact gradient"),
        ("length", "length by the exact gradient's"),
    )
    for axes, (key, title) in zip(grid[1], named, strict=True):
        for name, rows in curves.items():
            axes.plot([row["t"] for row in rows], [row[key] for row in rows], label=name)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("timestep: more noise to the right", fontsize=8)
        axes.tick_params(labelsize=7)
        if key == "length":
            axes.set_yscale("log")
        else:
            axes.set_ylim(min(0.0, *axes.get_ylim()), 1.03)
    grid[1][0].legend(fontsize=8)
    _save(figure, path)


def shortcut(mixture: Mixture, start: Tensor, end: Tensor, path: Path) -> None:
    """Where points of the other class were moved until the classifier was sure of the first."""
    figure = Figure(figsize=(7.5, 3.4), layout="constrained")
    axes = figure.subplots()
    points, labels = mixture.draw(1500, seed=6)
    for label, colour in ((0, "#2f6fde"), (1, "#999999")):
        chosen = points[labels == label][..., 0, 0].numpy()
        axes.scatter(chosen[:, 0], chosen[:, 1], s=3, color=colour, alpha=0.5, linewidths=0)
    start, end = start[:_ARROWS], end[:_ARROWS]
    moved = (end - start).numpy()
    axes.set_ylim(float(end[:, 1].min()) - 0.1, 0.5)
    axes.quiver(
        *start.T.numpy(), *moved.T, angles="xy", scale_units="xy", scale=1, width=0.002,
        color="#d6452b",
    )  # fmt: skip
    axes.set_xlabel("what is shown", fontsize=9)
    axes.set_ylabel("stamp", fontsize=9)
    axes.set_title(
        "grey points, moved until the classifier is 99 % sure that they are blue", fontsize=9
    )
    _save(figure, path)


def _blobs(axes: Any, mixture: Mixture, scale: float = 1.0) -> None:
    from matplotlib.patches import Circle

    for mean, label in zip(mixture.means.tolist(), mixture.labels.tolist(), strict=True):
        middle = (scale * mean[0], scale * mean[1])
        radius = 3 * scale * float(mixture.spreads[0])
        axes.add_patch(Circle(middle, radius, facecolor=COLOURS[label], alpha=0.35, linewidth=0))


def _square(axes: Any, side: float) -> None:
    axes.set(xlim=(-side, side), ylim=(-side, side), aspect="equal", xticks=[], yticks=[])


def _save(figure: Figure, path: Path) -> None:
    matplotlib.rcParams["font.family"] = "DejaVu Sans"
    figure.savefig(path, dpi=110, metadata={"Software": None})
