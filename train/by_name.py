"""Training by a settings file or a preset: the settings are checked before torch is imported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from frenchcat.curate.config import Overrides, as_overrides, load_settings
from frenchcat.train.settings import TrainSettings

if TYPE_CHECKING:
    from frenchcat.train.step_report import Watch


def train_by_name(
    config: str | Path | None = None,
    *,
    set: Overrides = (),
    watch: Watch | None = None,
    other_run: bool = False,
) -> Path:
    """Train by a TOML file or a preset with overrides; returns the run's folder. See `loop.train`.

    Example: ``frenchcat.train("train-demo", set={"data.dataset": "data/mine", "run.out": "run"})``
    """
    settings = load_settings(TrainSettings, config, as_overrides(set))
    from frenchcat.train.loop import train  # with torch, which takes seconds

    return train(settings, watch, other_run=other_run)
