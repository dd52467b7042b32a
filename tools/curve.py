"""A run's loss over its steps, in training and on held-out pictures, as a picture.

    python -m tools.curve RUN FILE.png

Reads RUN/log.jsonl and RUN/held_out.jsonl. A training loss is the mean of the 50 steps before it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

WINDOW = 50  # steps


def main() -> None:
    """Read, draw, save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("file", type=Path)
    given = parser.parse_args()
    curve(given.run).savefig(given.file, dpi=100, metadata={"Software": None})


def curve(run: Path) -> Figure:
    """Both losses by step."""
    matplotlib.use("agg")
    steps, losses = _columns(run / "log.jsonl")
    smooth = np.convolve(losses, np.ones(WINDOW) / WINDOW, "valid")
    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    axes.plot(steps[len(steps) - len(smooth) :], smooth, label=f"trained on (mean of {WINDOW})")
    axes.plot(*_columns(run / "held_out.jsonl"), "o-", label="held out")
    axes.set(xlabel="step", ylabel="loss", yscale="log")
    axes.legend()
    return figure


def _columns(path: Path) -> tuple[Any, Any]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return np.array([row["step"] for row in rows]), np.array([row["loss"] for row in rows])


if __name__ == "__main__":
    main()
