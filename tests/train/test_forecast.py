"""What `frenchcat train --plan` tells, against what autograd keeps and a step computes."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from frenchcat.cli import app
from frenchcat.curate.config import resolve
from frenchcat.curate.errors import UserError
from frenchcat.train.forecast import forecast
from frenchcat.train.run import make_parts
from frenchcat.train.settings import TrainSettings
from frenchcat.train.start import with_start
from frenchcat.train.text import Condition
from tests.train.pipelines import pixart, sd3, sdxl, stable_diffusion

MAKERS = {"sd": stable_diffusion, "sdxl": sdxl, "pixart": pixart, "sd3": sd3}


def chosen(**more: Any) -> TrainSettings:
    base: dict[str, Any] = {
        "data": {"size": 16, "batch": 6},
        "model": {"channels": [8, 16], "head_dim": 8},
        "run": {"device": "cpu", "precision": "fp32"},
    }
    merged = {name: base.get(name, {}) | more.get(name, {}) for name in base.keys() | more.keys()}
    return with_start(resolve(TrainSettings, merged))


def kept_by_autograd(settings: TrainSettings, pictures: int) -> tuple[int, float]:
    """Bytes of all storages but the weights' that a real forward pass keeps, and its FLOPs."""
    parts = make_parts(settings)
    own = {weight.untyped_storage().data_ptr() for weight in parts.unet.parameters()}
    found: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            found[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    if parts.family.pipeline:
        condition = parts.text(["a cat"] * pictures).sized(torch.ones(pictures, 6))
    else:  # whose captions are as wide as the longest of a batch
        states = torch.randn(pictures, 77, parts.unet.config.cross_attention_dim)
        condition = Condition(states, torch.ones(pictures, 77, dtype=torch.bool))
    x = torch.randn(pictures, *parts.shape)
    counter = FlopCounterMode(display=False)
    with counter, torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        answer = parts.family.answer(parts.unet.train(), x, torch.full((pictures,), 9), condition)
    del answer
    return sum(one.untyped_storage().nbytes() for one in found.values()), counter.get_total_flops()


@pytest.mark.parametrize("name", [*MAKERS, "ours"])
def test_it_tells_what_autograd_keeps_and_what_a_step_computes(tmp_path: Path, name: str) -> None:
    model = {} if name == "ours" else {"start": str(MAKERS[name](tmp_path / name))}
    settings = chosen(model=model, optimizer={"accumulate": 2})
    told = forecast(settings)
    kept, flops = kept_by_autograd(settings, 3)
    assert told.at_once == 3
    assert told.memory["activations of 3 images"] == kept
    assert told.flops["network"] == pytest.approx(6 / 3 * 3 * flops)
    parts = make_parts(settings)
    assert told.parameters == told.trained == sum(one.numel() for one in parts.unet.parameters())
    assert told.memory["weights"] == 4 * told.parameters
    assert told.shape == parts.shape
    assert told.peak_bytes >= kept + 20 * told.parameters
    assert ("autoencoder" in told.flops) == (name != "ours")


def test_recomputing_keeps_less_and_updates_train_less() -> None:
    plain = forecast(chosen())
    less = forecast(chosen(model={"checkpointing": True}))
    name = "activations of 6 images"
    assert less.memory[name] < plain.memory[name]
    assert less.flops["network"] == pytest.approx(4 / 3 * plain.flops["network"])
    pytest.importorskip("peft")
    updates = forecast(chosen(model={"lora": 2}))
    assert updates.trained < plain.trained / 10
    name = "gradients, moments, average"
    assert updates.memory[name] == 16 * updates.trained
    halves = forecast(chosen(), ranks=2)
    assert halves.memory["activations of 3 images"] < plain.memory["activations of 6 images"]
    with pytest.raises(UserError, match="6 does not divide into 4 ranks x 1 parts"):
        forecast(chosen(), ranks=4)


def test_it_is_an_option_and_trains_nothing(tmp_path: Path) -> None:
    out = tmp_path / "run"
    given = ["train", "train-demo", "--plan", "--set", f"run.out={out}", "--set", "run.device=cpu"]
    small = ["--set", "data.batch=2", "--set", "model.channels=[8,16]", "--set", "model.head_dim=8"]
    said = CliRunner().invoke(app, [*given, *small])
    assert said.exit_code == 0, said.output
    assert "GB at the peak" in said.stdout
    assert "TFLOP per step: network" in said.stdout
    assert "hours" in said.stdout
    told = json.loads(CliRunner().invoke(app, [*given, *small, "--json"]).stdout)
    assert told["peak_bytes"] > 0
    assert not out.exists()
