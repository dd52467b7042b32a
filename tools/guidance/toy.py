"""Guidance in the plane, where every exact answer is known: the first figures of docs/guidance.md.

    python -m tools.guidance.toy             a minute; writes docs/pictures/guidance-*.png and .json

Reads nothing. Points are drawn by train/sampler.py under train/guidance.py, as pictures are. The
classifiers and the scores are exact (mixture.py) or learned from 600 points (learned.py).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from frenchcat.train.diffusion import Diffusion
from frenchcat.train.guidance import Gradient, Guided, classifier_gradient
from frenchcat.train.sampler import ddim, timesteps
from tools.guidance.learned import STEPS, learn
from tools.guidance.mixture import Mixture, hexagon, stamped

OUT = Path(__file__).resolve().parents[2] / "docs" / "pictures"
POINTS, SAMPLER_STEPS = 1500, 100
LABEL = 0
TIMES = tuple(range(50, 1000, 100))

Classifier = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Drawn:
    """Points under a guidance, and how good they are."""

    title: str
    points: Tensor  # (N, 2)
    right: float  # share that the exact classifier gives the wanted label
    off: float  # share further than three spreads from every blob; 1.1 % of true points
    spread: float  # around the nearest blob's middle, as a share of the data's own


def drawn(
    mixture: Mixture,
    title: str,
    *,
    free: float = 0.0,
    gradients: tuple[Gradient, ...] = (),
    points: int = POINTS,
) -> Drawn:
    """Points of LABEL: `free` is the weight of classifier-free guidance, 0 the bare model."""
    chance = torch.Generator().manual_seed(3)
    x = torch.randn(points, 2, 1, 1, generator=chance, dtype=torch.float64)
    wanted, none = torch.full((points,), LABEL), torch.full((points,), -1)
    predict = Guided(
        mixture.noise, mixture.diffusion, "eps", wanted, none, free, gradients=gradients
    )
    x = ddim(predict, mixture.diffusion, x, timesteps(len(mixture.diffusion), SAMPLER_STEPS))
    clean = torch.full((points,), -1)
    right = mixture.log_classes(x, clean).argmax(1) == LABEL
    plane = x[..., 0, 0]
    away = ((plane[:, None] - mixture.means) / mixture.spreads).norm(dim=-1)  # (N, K)
    near, which = away.min(1)
    own = away[torch.arange(points), which][near < 6]
    spread = float((own.square().mean() / 2).sqrt()) if len(own) else float("nan")
    return Drawn(
        title, plane, float(right.double().mean()), float((near > 3).double().mean()), spread
    )


def every_guidance(
    mixture: Mixture, noisy: Classifier, clean: Classifier, points: int
) -> list[Drawn]:
    """The panels of the first figure."""
    labels = torch.full((points,), LABEL)

    def by(classifier: Classifier, weight: float) -> tuple[Gradient, ...]:
        return (classifier_gradient(classifier, labels, weight),)

    exact = mixture.log_classes
    return [
        drawn(mixture, "no guidance", points=points),
        *[
            drawn(mixture, f"{name}, w = {w}", gradients=by(classifier, w), points=points)
            for name, classifier in (
                ("exact classifier", exact),
                ("classifier of noised points", noisy),
                ("classifier of clean points", clean),
            )
            for w in (1, 4)
        ],
        *[drawn(mixture, f"classifier-free, w = {w}", free=w, points=points) for w in (1, 2, 4)],
    ]


def by_time(mixture: Mixture, classifier: Classifier) -> list[dict[str, float]]:
    """At each noise: accuracy, and the mean cosine of the gradient with the exact one."""
    found = []
    for time in TIMES:
        points, labels = mixture.draw(2000, seed=4)
        chance = torch.Generator().manual_seed(time)
        t = torch.full((len(points),), time)
        noise = torch.randn(points.shape, generator=chance, dtype=torch.float64)
        x = mixture.diffusion.noised(points, t, noise)
        wanted = torch.full_like(labels, LABEL)
        ours, exact = (
            classifier_gradient(one, wanted, 1.0)(x, t, x)[..., 0, 0]
            for one in (classifier, mixture.log_classes)
        )
        lengths, theirs = ours.norm(dim=1), exact.norm(dim=1)
        known = (lengths > 1e-12) & (theirs > 1e-12)  # a sure classifier has no slope left
        cosine = ((ours * exact).sum(1) / (lengths * theirs))[known].mean()
        right = classifier(x, t).argmax(1) == labels
        row = {
            "t": time,
            "accuracy": right.double().mean(),
            "cosine": cosine,
            "length": (lengths / theirs)[known].median(),
        }
        found.append({name: float(value) for name, value in row.items()})
    return found


def fooled(mixture: Mixture, classifier: Classifier, points: int = 200) -> tuple[Tensor, Tensor]:
    """Points of the other class, moved along the classifier's slope until it is 99 % sure."""
    every, labels = mixture.draw(4 * points, seed=5)
    start = every[labels != LABEL][:points]
    t, wanted = torch.zeros(points, dtype=torch.int64), torch.full((points,), LABEL)
    slope_at = classifier_gradient(classifier, wanted, 1.0)
    x = start.clone()
    for _ in range(2000):
        sure = classifier(x, t).softmax(1)[:, LABEL] > 0.99
        if sure.all():
            break
        slope = slope_at(x, t, x)
        step = 0.01 * slope / slope.flatten(1).norm(dim=1).clamp(min=1e-9).view(-1, 1, 1, 1)
        x = torch.where(sure.view(-1, 1, 1, 1), x, x + step)
    return start[..., 0, 0], x[..., 0, 0]


def measured(out: Path, points: int = POINTS, steps: int = STEPS) -> dict[str, Any]:
    """Draw everything, write the figures and their numbers."""
    from tools.guidance import figures

    diffusion = Diffusion.make("cosine")
    mixture, stamps = hexagon(diffusion), stamped(diffusion)
    noisy, clean = learn(mixture, True, steps), learn(mixture, False, steps)
    panels = every_guidance(mixture, noisy, clean, points)
    curves = {
        "exact classifier": by_time(mixture, mixture.log_classes),
        "learned on noised points": by_time(mixture, noisy),
        "learned on clean points": by_time(mixture, clean),
    }
    start, end = fooled(stamps, learn(stamps, True, steps))
    moved = (end - start).abs().mean(0).tolist()
    out.mkdir(parents=True, exist_ok=True)
    figures.samples(mixture, panels, out / "guidance-toy.png")
    figures.gradients(mixture, {"exact": mixture.log_classes, "learned on noised points": noisy,
        "learned on clean points": clean}, curves, out / "guidance-gradients.png")  # fmt: skip
    figures.shortcut(stamps, start, end, out / "guidance-shortcut.png")
    told = {
        "points": points,
        "panels": [
            {"title": p.title, "right": p.right, "off": p.off, "spread": p.spread} for p in panels
        ],
        "by_time": curves,
        "fooled": {
            "moved_across": moved[0],
            "moved_upwards": moved[1],
            "shown_still_other": float((end[:, 0] > 0).double().mean()),
            "shown_other_before": float((start[:, 0] > 0).double().mean()),
        },
    }
    (out / "guidance-toy.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return told


def main() -> None:
    """Write the figures and print their numbers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=OUT)
    told = measured(parser.parse_args().out)
    for panel in told["panels"]:
        shares = f"right {panel['right']:.1%}, off {panel['off']:.1%}, spread {panel['spread']:.2f}"
        print(f"{panel['title']:36}{shares}")
    for name, rows in told["by_time"].items():
        for row in rows:
            print(f"{name:28}" + ", ".join(f"{key} {value:.3g}" for key, value in row.items()))
    print(told["fooled"])


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
