"""Every preset: strict settings that load; its model can be built, and is as large as said."""

import re
from pathlib import Path

import pytest

from frenchcat.curate.config import PRESETS, load_settings
from frenchcat.curate.errors import UserError
from frenchcat.pipeline import BuildSettings
from frenchcat.train.settings import TrainSettings
from frenchcat.train.size import LATENT, size_of

NAMES = sorted(path.stem for path in PRESETS.glob("*.toml"))
OF_TRAINING = [name for name in NAMES if name.startswith(("train-", "classifier-"))]
DRAWING = [name for name in NAMES if name.startswith("train-")]


def told(name: str) -> str:
    """The comments at the head of a preset."""
    return (PRESETS / f"{name}.toml").read_text(encoding="utf-8").partition("\n[")[0]


@pytest.mark.parametrize("name", NAMES)
def test_it_loads(name: str) -> None:
    load_settings(TrainSettings if name in OF_TRAINING else BuildSettings, name)


@pytest.mark.parametrize("name", NAMES)
def test_a_key_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    text = (PRESETS / f"{name}.toml").read_text(encoding="utf-8")
    (tmp_path / "own.toml").write_text(f"surprise = 1\n{text}", encoding="utf-8")
    with pytest.raises(UserError, match="surprise"):
        load_settings(
            TrainSettings if name in OF_TRAINING else BuildSettings, tmp_path / "own.toml"
        )


def test_those_that_were_promised_are_there() -> None:
    promised = {"train-demo", "train-clipart-64", "train-sd-256", "train-sd-256-ddp"}
    promised |= {"train-artist"}
    assert promised <= set(NAMES)


@pytest.mark.parametrize("name", DRAWING)
def test_its_unet_is_built_and_counted(name: str) -> None:
    settings = load_settings(TrainSettings, name)
    size = size_of(settings)
    latent = settings.model.vae is not None
    patch = settings.model.patch
    channels, shrinks = LATENT if latent else (3 * patch**2, patch)
    side = settings.data.size // shrinks
    assert size.shape == (channels, side, side)
    said = re.search(r"counts ([\d,]+) parameters", told(name))
    assert said is None or int(said[1].replace(",", "")) == size.parameters
    assert said is not None or name == "train-demo"


def test_a_batch_divides_among_the_ranks_that_its_command_names() -> None:
    settings = load_settings(TrainSettings, "train-sd-256-ddp")
    ranks = int(re.search(r"--nproc-per-node (\d+)", told("train-sd-256-ddp"))[1])  # type: ignore[index]
    at_a_time, rest = divmod(settings.data.batch, ranks * settings.optimizer.accumulate)
    assert (at_a_time, rest) == (64, 0)
    assert "= 64 images at a time" in told("train-sd-256-ddp")


def test_the_memory_of_its_state_is_as_told() -> None:
    for name in ("train-sd-256", "train-sd-256-ddp"):
        size = size_of(load_settings(TrainSettings, name))
        assert f"{size.state_bytes / 1e9:.1f} GB" in told(name)


def test_both_sd_presets_train_one_model() -> None:
    one, many = (load_settings(TrainSettings, n) for n in ("train-sd-256", "train-sd-256-ddp"))
    assert (one.model, one.diffusion, one.text) == (many.model, many.diffusion, many.text)
