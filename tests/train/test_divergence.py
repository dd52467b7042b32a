"""A training whose numbers are none any more stops, says where, and keeps what was good."""

from pathlib import Path

import pytest
import torch

from frenchcat.curate.errors import Diverged
from frenchcat.train import checkpoint
from frenchcat.train.loop import train
from frenchcat.train.model import Codec
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
