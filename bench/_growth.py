"""How a cost grows: the slope of cost against rows, both as logarithms, and a picture of it.

A slope of 1 is linear, 2 quadratic; ten times the rows cost 10 ** slope times as much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

Points = Sequence[tuple[int, float]]
"""(rows, cost)."""


def slope(points: Points) -> float:
    """The slope of the straight line through the logarithms that fits best."""
    rows, costs = np.log(np.array(points, float)).T
    return float(np.polyfit(rows, costs, 1)[0])


def draw(path: Path, title: str, unit: str, series: Mapping[str, Points]) -> None:
    """Write an SVG with a line per series; its legend names the slopes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    matplotlib.rcParams["svg.hashsalt"] = title  # the same figures give the same bytes
    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    for name, points in series.items():
        rows, costs = zip(*points, strict=True)
        axes.loglog(rows, costs, marker="o", label=f"{name}: slope {slope(points):.2f}")
    axes.set(title=title, xlabel="rows", ylabel=unit)
    axes.grid(which="both", alpha=0.3)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})
    pyplot.close(figure)
