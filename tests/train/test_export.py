"""A checkpoint's unet/ and scheduler/ in diffusers: the same picture for the same noise."""

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from curate.config import resolve
from tests.train.runs import settings, write_tars
from train.checkpoint import newest
from train.diffusion import Diffusion
from train.draw import Wish, draw, noise_of
from train.export import scheduler_of
from train.loop import train
from train.run import open_run
from train.settings import DiffusionSettings

# diffusers' DDIM steps back by 1000 // steps; where that has a rest, it asks at other times than
# those that it stepped to, so that only divisors of 1000 compare.
STEPS, PROMPT, SEED = 8, "cat 3", 5


@pytest.fixture(scope="module")
def tars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tars(tmp_path_factory.mktemp("tars"))


@pytest.mark.parametrize(
    "process",
    [
        {"schedule": "cosine", "target": "v"},
        {"schedule": "scaled_linear", "target": "eps"},
        {"schedule": "linear", "target": "x0", "zero_terminal": True},
    ],
)
def test_diffusers_own_loop_draws_the_same_picture(
    tars: Path, tmp_path: Path, process: dict[str, Any]
) -> None:
    run = train(settings(tars, tmp_path / "run", diffusion=process, optimizer={"steps": 1}))
    parts, _, folder = open_run(run)
    (ours,) = draw(parts, [Wish(PROMPT, SEED)], steps=STEPS, guidance=1.0, sampler="ddim")
    theirs = _their_loop(folder, parts)
    difference = np.abs(np.asarray(ours, np.float64) - np.asarray(theirs, np.float64))
    assert difference.max() <= 1  # one of 255 levels: float32 in another order


def _their_loop(folder: Path, parts: Any) -> Image.Image:
    """DDIM as diffusers' documentation has it, with nothing of ours but the text tower."""
    unet_class: Any = diffusers.UNet2DConditionModel
    unet = unet_class.from_pretrained(folder / "unet", low_cpu_mem_usage=False).eval()
    scheduler_class: Any = diffusers.DDIMScheduler
    scheduler = scheduler_class.from_pretrained(folder / "scheduler")
    scheduler.set_timesteps(STEPS)
    condition = parts.text(["", PROMPT]).part(1, 2)
    x = noise_of(SEED, parts.shape)[None] * scheduler.init_noise_sigma
    with torch.no_grad():
        for t in scheduler.timesteps:
            output = unet(
                scheduler.scale_model_input(x, t),
                t,
                encoder_hidden_states=condition.states,
                encoder_attention_mask=condition.mask,
            ).sample
            x = scheduler.step(output, t, x, use_clipped_model_output=True).prev_sample
    pixels = ((x[0].clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "cosine"])
@pytest.mark.parametrize("steps", [100, 1000])
@pytest.mark.parametrize("zero_terminal", [False, True])
def test_the_schedule_is_the_same_to_rounding(
    schedule: str, steps: int, zero_terminal: bool
) -> None:
    chosen = {"schedule": schedule, "steps": steps, "zero_terminal": zero_terminal, "target": "v"}
    theirs = scheduler_of(resolve(DiffusionSettings, chosen))
    ours = Diffusion.make(schedule, steps, zero_terminal=zero_terminal)  # type: ignore[arg-type]
    torch.testing.assert_close(ours.a.float() ** 2, theirs.alphas_cumprod, atol=2e-5, rtol=1e-3)


def test_a_flow_is_exported_as_diffusers_flow() -> None:
    chosen = resolve(DiffusionSettings, {"schedule": "flow", "target": "flow", "steps": 100})
    theirs = scheduler_of(chosen)
    assert isinstance(theirs, diffusers.FlowMatchEulerDiscreteScheduler)
    assert theirs.config["num_train_timesteps"] == 100


def test_the_folder_holds_both(tars: Path, tmp_path: Path) -> None:
    run = train(settings(tars, tmp_path / "run", optimizer={"steps": 1}))
    folder = newest(run)
    assert folder is not None
    assert (folder / "unet" / "config.json").exists()
    assert (folder / "scheduler" / "scheduler_config.json").exists()
