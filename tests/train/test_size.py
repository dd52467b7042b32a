"""Sizes without weights, against models that have them."""

import json
from pathlib import Path

import pytest

from frenchcat.curate.config import load_settings, resolve
from frenchcat.curate.errors import UserError
from frenchcat.train.run import make_parts
from frenchcat.train.settings import TrainSettings
from frenchcat.train.size import main, size_of


def test_the_count_is_that_of_a_model_with_weights() -> None:
    settings = load_settings(TrainSettings, "train-demo")
    unet = make_parts(settings).unet
    assert size_of(settings).parameters == sum(weight.numel() for weight in unet.parameters())


def test_a_tower_of_unknown_width_is_one_line() -> None:
    settings = load_settings(TrainSettings, "train-demo", ["text.model=nothing"])
    with pytest.raises(UserError, match=r"text\.model nothing .* such as ViT-L-14"):
        size_of(settings)


def test_x_is_of_the_autoencoder_that_is_there(tmp_path: Path) -> None:
    about = {"latent_channels": 16, "block_out_channels": [8, 8, 8]}
    (tmp_path / "config.json").write_text(json.dumps(about))
    values = {"data": {"size": 64}, "model": {"vae": str(tmp_path)}}
    assert size_of(resolve(TrainSettings, values)).shape == (16, 16, 16)
    gone = {"data": {"size": 64}, "model": {"vae": "nowhere"}}
    assert size_of(resolve(TrainSettings, gone)).shape == (4, 8, 8)


def test_it_is_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    main(["train-demo"])
    assert capsys.readouterr().out.startswith("train-demo: 6,392,835 parameters; x is 3 x 32 x 32")
    with pytest.raises(SystemExit, match="no settings file nowhere"):
        main(["nowhere"])


def test_what_training_holds_is_five_numbers_a_parameter() -> None:
    size = size_of(load_settings(TrainSettings, "train-demo"))
    kept = ("weight", "gradient", "first moment", "second moment", "average")
    assert size.state_bytes == len(kept) * 4 * size.parameters
    assert f"{size.state_bytes / 1e9:.2f} GB" in size.words()
