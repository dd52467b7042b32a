"""The smallest runs that are real: a two-level U-Net on tars of 16-pixel pictures."""

import json
from pathlib import Path
from typing import Any

from frenchcat.curate.config import resolve
from frenchcat.train.settings import TrainSettings
from tests.train.tars import write_tar


def write_tars(folder: Path, shards: int = 2, per_shard: int = 20) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(shards):
        first = shard * per_shard
        write_tar(folder / f"{shard:05d}.tar", range(first, first + per_shard))
    return folder


def values(tars: Path, out: Path, **more: dict[str, Any]) -> dict[str, Any]:
    """The settings of a quick run; `more` goes over them, section by section."""
    base: dict[str, dict[str, Any]] = {
        "data": {"tars": str(tars), "batch": 12, "size": 16, "workers": 0},
        "model": {"channels": [8, 16], "head_dim": 8},
        "optimizer": {"steps": 6, "warmup": 2, "ema": 0.9},
        "run": {
            "out": str(out),
            "device": "cpu",
            "precision": "fp32",
            "held_out": 4,
            "checkpoint_every": 3,
            "sample_every": 100,
            "sample_steps": 2,
            "prompts": [],
        },
    }
    return {name: section | more.get(name, {}) for name, section in base.items()} | {
        name: section for name, section in more.items() if name not in base
    }


def settings(tars: Path, out: Path, **more: dict[str, Any]) -> TrainSettings:
    return resolve(TrainSettings, values(tars, out, **more))


def steps_of(out: Path) -> list[dict[str, Any]]:
    """The run's log without its times."""
    lines = (out / "log.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if not k.endswith("_sec")} for line in lines]
