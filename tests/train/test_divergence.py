"""A training whose numbers are none any more stops, says where, and keeps what was good."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

import frenchcat
from frenchcat.curate.errors import Diverged, UserError
from frenchcat.train import checkpoint
from frenchcat.train.loop import train
from frenchcat.train.model import Codec
from frenchcat.train.text import Condition, TextEncoder
from tests.train.runs import settings, steps_of, write_tars


@pytest.fixture(scope="module")
def tars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tars(tmp_path_factory.mktemp("tars"), 1)


FEW = {"batch": 4}


def test_a_loss_that_is_no_number_stops_and_names_the_batch(
    tars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    often = {"checkpoint_every": 1, "held_out": 2, "keep": 1}
    few = {"steps": 2, "warmup": 0}
    train(settings(tars, run, data=FEW, optimizer=few, run=often))
    before = checkpoint.load_tensors(checkpoint.newest(run) or run)
    encode = Codec.encode

    def sick(self: Codec, pixels: torch.Tensor) -> torch.Tensor:
        x = encode(self, pixels)
        if len(x) == 4:  # not the held-out ones
            x[1] = torch.inf  # a sample whose latents overflow
        return x

    monkeypatch.setattr(Codec, "encode", sick)
    more = settings(tars, run, data=FEW, optimizer=few | {"steps": 4}, run=often)
    with pytest.raises(Diverged) as caught:
        train(more)
    said = str(caught.value)
    assert "stopped at step 3: the loss is nan" in said
    assert "batch 2 of epoch 0 (not finite before the model sees them: 0000000" in said
    assert f"{run / 'checkpoints' / 'step-00000002'} is the last good checkpoint" in said
    assert "\n" not in said
    assert [path.name for path in checkpoint.steps(run)] == ["step-00000002"]
    after = checkpoint.load_tensors(checkpoint.newest(run) or run)
    assert all(torch.equal(before[name], after[name]) for name in before)
    monkeypatch.undo()
    train(more)  # mended: it goes on
    assert [line["step"] for line in steps_of(run)] == [1, 2, 3, 4]


def test_weights_that_are_no_numbers_are_never_saved(tars: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    wild = {"steps": 4, "warmup": 0, "rate": 1e38, "clip": 1e30}
    with pytest.raises(Diverged, match=r"(at|after) step [1-4]\b.*there is no checkpoint yet"):
        train(settings(tars, run, data=FEW, optimizer=wild, run={"checkpoint_every": 1}))
    assert checkpoint.steps(run) == []


def test_weights_that_are_no_numbers_are_found_without_a_held_out_image(
    tars: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    wild = {"steps": 1, "warmup": 0, "rate": 1e38, "clip": 1e30}
    said = r"after step 1: \d+ tensors such as \S+ are not finite any more, and nothing was saved"
    with pytest.raises(Diverged, match=said):
        train(settings(tars, run, data=FEW, optimizer=wild, run={"held_out": 0}))
    assert checkpoint.steps(run) == []


def test_a_held_out_loss_that_is_not_finite_is_never_saved(
    tars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    encode = Codec.encode

    def sick(self: Codec, pixels: torch.Tensor) -> torch.Tensor:
        x = encode(self, pixels)
        return x if len(x) == 4 else x * torch.nan  # the held-out ones

    monkeypatch.setattr(Codec, "encode", sick)
    few = {"steps": 1, "warmup": 0}
    with pytest.raises(Diverged, match="after step 1: the held-out loss is not finite"):
        train(settings(tars, run, data=FEW, optimizer=few, run={"held_out": 2}))
    assert checkpoint.steps(run) == []


def test_a_gradient_that_is_not_finite_stops_before_the_weights_move(
    tars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = torch.nn.utils.clip_grad_norm_

    def infinite(parameters: list[torch.nn.Parameter], most: float) -> torch.Tensor:
        parameters[0].grad.fill_(torch.inf)  # type: ignore[union-attr]
        return clip(parameters, most)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", infinite)
    with pytest.raises(Diverged, match=r"at step 1: the loss is [\d.]+ and the gradient's norm in"):
        train(settings(tars, tmp_path / "run", data=FEW, optimizer={"steps": 1, "warmup": 0}))


def test_a_caption_whose_states_are_not_finite_is_named(
    tars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = TextEncoder.__call__

    def sick(self: TextEncoder, captions: list[str]) -> Condition:
        found = encode(self, captions)
        found.states[[n for n, caption in enumerate(captions) if caption == "cat 7"]] = torch.nan
        return found

    monkeypatch.setattr(TextEncoder, "__call__", sick)
    more = {"data": {"batch": 12}, "text": {"dropout": 0.0}, "run": {"held_out": 0}}
    with pytest.raises(Diverged, match=r"not finite before the model sees them: 000000007\)"):
        train(settings(tars, tmp_path / "run", optimizer={"steps": 3, "warmup": 0}, **more))


@pytest.fixture(scope="module")
def sick_run(tars: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose checkpoint holds a weight that is not finite, as other tools may have left it."""
    run = tmp_path_factory.mktemp("sick") / "run"
    train(settings(tars, run, data=FEW, optimizer={"steps": 1, "warmup": 0}))
    (path,) = run.rglob("diffusion_pytorch_model.safetensors")
    weights = load_file(path)
    weights["conv_in.weight"][0] = torch.nan
    save_file(weights, path, {"format": "pt"})
    return run


def test_weights_that_are_not_finite_draw_nothing_and_start_nothing(
    sick_run: Path, tars: Path, tmp_path: Path
) -> None:
    said = r"unet does not load: 1 of its \d+ tensors are not finite, such as conv_in\.weight"
    with pytest.raises(UserError, match=said):
        frenchcat.sample(sick_run, "a cat", tmp_path / "drawn")
    with pytest.raises(UserError, match=said):
        train(settings(tars, tmp_path / "run", model={"start": str(sick_run)}))
    assert not (tmp_path / "drawn").exists()


def test_a_drawing_that_is_not_finite_is_not_drawn_black(
    tars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The network answers with an infinity where it is asked for one prompt."""
    once = {"steps": 1, "warmup": 0}
    run = train(settings(tars, tmp_path / "run", data=FEW, optimizer=once))
    forward = UNet2DConditionModel.forward

    def sick(self: Any, x: torch.Tensor, *given: Any, **more: Any) -> tuple[torch.Tensor]:
        found = forward(self, x, *given, **more)[0].clone()
        if not torch.is_grad_enabled():  # it trains
            found[-1] = torch.nan
        return (found,)

    monkeypatch.setattr(UNet2DConditionModel, "forward", sick)
    with pytest.raises(Diverged, match=r"drawing of 'a dog' is not finite \(1 of 2 are not\)"):
        frenchcat.sample(run, ["a cat", "a dog"], tmp_path / "drawn", number=1, steps=2)
    assert not (tmp_path / "drawn").exists()
    # A grid on the way is left out with a line, and the training goes on.
    grids = {"sample_every": 1, "prompts": ["a cat"], "held_out": 0}
    train(settings(tars, tmp_path / "other", data=FEW, optimizer=once, run=grids))
    assert "no sample grid at step 1: the drawing of 'a cat' is not" in capsys.readouterr().err
    assert len(checkpoint.steps(tmp_path / "other")) == 1
