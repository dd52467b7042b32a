"""A run in the latents of an autoencoder: it trains, goes on, and draws pictures of full size."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL

from frenchcat.train.draw import SampleRequest, draw
from frenchcat.train.loop import train
from frenchcat.train.model import Codec
from frenchcat.train.run import open_run
from tests.train.runs import settings, steps_of, write_tars


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights; halves a side twice."""
    torch.manual_seed(0)
    kind: Any = AutoencoderKL
    made = kind(
        block_out_channels=(8, 8, 8),
        down_block_types=["DownEncoderBlock2D"] * 3,
        up_block_types=["UpDecoderBlock2D"] * 3,
        norm_num_groups=4,
    )
    folder = tmp_path_factory.mktemp("vae")
    made.save_pretrained(folder)
    return folder


def test_it_trains_and_draws(autoencoder: Path, tmp_path: Path) -> None:
    tars = write_tars(tmp_path / "tars", 1)
    model = {"channels": [8, 16], "head_dim": 8, "vae": str(autoencoder)}
    run = {"prompts": ["a cat"], "sample_every": 2}
    out = train(
        settings(
            tars,
            tmp_path / "run",
            data={"size": 32},
            model=model,
            optimizer={"steps": 2},
            run=run,
        )
    )
    assert [line["step"] for line in steps_of(out)] == [1, 2]
    assert (out / "samples" / "step-00000002.png").exists()
    parts, state, _ = open_run(out)
    assert state.held_out_loss is not None
    assert parts.shape == (4, 8, 8)
    (picture,) = draw(parts, [SampleRequest("a cat")], steps=2)
    assert picture.size == (32, 32)


def test_latents_are_the_posterior_s_mode_scaled(autoencoder: Path) -> None:
    codec = Codec.load(str(autoencoder))
    pixels = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    with torch.no_grad():
        expected = codec.vae.encode(pixels / 127.5 - 1).latent_dist.mean * 0.18215
    torch.testing.assert_close(codec.encode(pixels), expected)
    with torch.no_grad():
        drawn = codec.vae.decode(expected / 0.18215).sample
    whole = ((drawn.clamp(-1, 1) + 1) * 127.5).round().byte()
    torch.testing.assert_close(codec.decode(expected), whole, atol=1, rtol=0)
