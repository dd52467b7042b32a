"""A training that starts from Stable Diffusion: diffusers' mathematics and folders."""

import json
import shutil
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
import transformers
from typer.testing import CliRunner

import frenchcat
from frenchcat.cli import app
from frenchcat.curate.errors import UserError
from frenchcat.train import checkpoint
from frenchcat.train.draw import SampleRequest, draw, noise_of
from frenchcat.train.families.stable_diffusion import StableDiffusion
from frenchcat.train.loader import Batches
from frenchcat.train.loader import noise_of as noise_of_seeds
from frenchcat.train.loop import train
from frenchcat.train.lora import unmerge
from frenchcat.train.pipeline_text import PipelineText
from frenchcat.train.run import open_run
from frenchcat.train.settings import TrainSettings
from frenchcat.train.start import with_start
from tests.train.pipelines import POSITIONS, stable_diffusion
from tests.train.runs import settings, steps_of, write_tars

FEW: dict[str, Any] = {"steps": 2, "warmup": 0, "rate": 1e-3, "ema": 0.0, "shape": "constant"}


@pytest.fixture(scope="module")
def tars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tars(tmp_path_factory.mktemp("tars"), 1)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stable_diffusion(tmp_path_factory.mktemp("sd"))


def chosen(tars: Path, out: Path, start: Path, **more: Any) -> TrainSettings:
    model = {"start": str(start)} | more.pop("model", {})
    diffusion = {"min_snr": 0} | more.pop("diffusion", {})
    few = FEW | more.pop("optimizer", {})
    data = {"batch": 4}
    return settings(tars, out, data=data, model=model, diffusion=diffusion, optimizer=few, **more)


@pytest.fixture(scope="module")
def run(tars: Path, pipeline: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(chosen(tars, tmp_path_factory.mktemp("run") / "run", pipeline))


def loss_of(folder: Path, made: TrainSettings, rows: Path) -> float:
    """As diffusers' train_text_to_image.py has it, of the first batch."""
    loaded = Batches(rows, made)[0, 0]
    vae_class, unet_class, ddpm = (
        diffusers.AutoencoderKL,
        diffusers.UNet2DConditionModel,
        diffusers.DDPMScheduler,
    )
    quiet: dict[str, Any] = {"low_cpu_mem_usage": False}
    vae: Any = vae_class.from_pretrained(folder, subfolder="vae", **quiet)
    unet: Any = unet_class.from_pretrained(folder, subfolder="unet", **quiet)
    noise_scheduler: Any = ddpm.from_pretrained(folder, subfolder="scheduler")
    text: Any = transformers.CLIPTextModel.from_pretrained(folder / "text_encoder")
    tokenizer: Any = transformers.CLIPTokenizer.from_pretrained(folder / "tokenizer")
    with torch.no_grad():
        latents = vae.encode(loaded.pixels / 127.5 - 1).latent_dist.mode()
        latents = latents * vae.config.scaling_factor
        noise = noise_of_seeds(loaded.noise_seeds, latents.shape[1:])
        timesteps = loaded.times
        noisy_latents = noise_scheduler.add_noise(latents, noise, timesteps)
        tokens = tokenizer(
            loaded.captions,
            max_length=tokenizer.model_max_length,
            padding="max_length",
            truncation=True,
            return_tensors="pt",
        )
        states = text(tokens.input_ids, return_dict=False)[0]
        if noise_scheduler.config.prediction_type == "epsilon":
            target = noise
        else:
            target = noise_scheduler.get_velocity(latents, noise, timesteps)
        pred = unet(noisy_latents, timesteps, states, return_dict=False)[0]
        return float(torch.nn.functional.mse_loss(pred.float(), target.float()))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_loss_is_that_of_diffusers_script(
    tars: Path, run: Path, pipeline: Path, tmp_path: Path, prediction: str
) -> None:
    folder, done = pipeline, run
    if prediction != "epsilon":
        folder = stable_diffusion(tmp_path / "v", prediction)
        done = train(chosen(tars, tmp_path / "run", folder, optimizer={"steps": 1}))
    expected = loss_of(folder, chosen(tars, done, folder), done / "rows")
    assert steps_of(done)[0]["loss"] == pytest.approx(expected, abs=1e-5)


def theirs(folder: Path, **more: Any) -> np.ndarray:
    """What diffusers draws of a folder, without a line of ours."""
    opened: Any = diffusers.StableDiffusionPipeline
    pipe = opened.from_pretrained(folder, low_cpu_mem_usage=False)
    pipe.set_progress_bar_config(disable=True)
    if "lora" in more:
        pipe.load_lora_weights(more["lora"])
    ddim: Any = diffusers.DDIMScheduler
    spacing = {"timestep_spacing": "trailing", "set_alpha_to_one": True}
    pipe.scheduler = ddim.from_config(pipe.scheduler.config, **spacing)
    noise = noise_of(5, (4, 8, 8))[None]
    given = {"num_inference_steps": 8, "guidance_scale": 4.0, "height": 16, "width": 16}
    found = pipe("cat 3", latents=noise, negative_prompt="a dog", **given).images[0]
    return np.asarray(found, np.float64)


def ours(run: Path, lora_scale: float | None = None) -> np.ndarray:
    parts, state, folder = open_run(run)
    if lora_scale is not None:
        unmerge(parts, state, folder, lora_scale)
    wanted = [SampleRequest("cat 3", 5, "a dog")]
    (drawn,) = draw(parts, wanted, steps=8, guidance=4.0, sampler="ddim")
    return np.asarray(drawn, np.float64)


def test_a_checkpoint_opens_in_diffusers_without_our_code_and_draws_the_same(
    run: Path, pipeline: Path
) -> None:
    folder = checkpoint.newest(run)
    assert folder is not None
    assert not (folder / "pipeline.py").exists()
    assert np.abs(theirs(folder) - ours(run)).max() <= 1
    assert np.abs(theirs(folder) - theirs(pipeline)).max() > 1  # it was trained


def test_it_goes_on_and_is_a_start_itself(
    tars: Path, run: Path, pipeline: Path, tmp_path: Path
) -> None:
    whole = train(chosen(tars, tmp_path / "whole", pipeline, optimizer={"steps": 4}))
    parted = train(chosen(tars, tmp_path / "parted", pipeline))
    train(chosen(tars, parted, pipeline, optimizer={"steps": 4}))
    assert steps_of(whole) == steps_of(parted)
    folder = checkpoint.newest(run)
    assert folder is not None
    again = train(chosen(tars, tmp_path / "again", folder, optimizer={"steps": 1}))
    assert steps_of(again)[0]["loss"] == pytest.approx(
        loss_of(folder, chosen(tars, again, folder), again / "rows"), abs=1e-5
    )
    other = stable_diffusion(tmp_path / "other", "v_prediction")
    with pytest.raises(UserError, match="was trained with another"):
        train(chosen(tars, parted, other, optimizer={"steps": 5}))


def test_what_the_start_decides_is_said(
    tars: Path, pipeline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = Path(shutil.copytree(pipeline, tmp_path / "start"))
    with_start(chosen(tars, tmp_path / "run", start, diffusion={"target": "v", "min_snr": 0}))
    said = capsys.readouterr().err
    assert f"of model.start {start}: " in said
    assert "diffusion.target is eps" in said
    assert "diffusion.schedule is scaled_linear" in said


def test_captions_are_cut_where_the_encoder_ends(pipeline: Path) -> None:
    text = PipelineText(StableDiffusion.open(pipeline), "")
    fits, long = "a" * (POSITIONS - 2), "a" * (POSITIONS - 1)
    assert text([fits, long]).states.shape == (2, POSITIONS, 16)
    assert text.too_long([fits, long]) == [long]


def test_a_run_of_ours_and_a_unet_are_starts(tars: Path, tmp_path: Path) -> None:
    few = {"steps": 1, "warmup": 0}
    first = train(settings(tars, tmp_path / "first", data={"batch": 4}, optimizer=few))
    folder = checkpoint.newest(first)
    assert folder is not None
    assert with_start(settings(tars, tmp_path, model={"start": str(first)})).model.start == str(
        folder
    )
    for n, start in enumerate((folder, folder / "unet")):
        model = {"start": str(start)} | ({"channels": [8, 16], "head_dim": 8} if n else {})
        out = tmp_path / str(n)
        done = train(
            settings(tars, out, data={"batch": 4}, model=model, optimizer=few | {"rate": 1e-9})
        )
        before, after = (
            checkpoint.load_tensors(checkpoint.newest(one) or one) for one in (first, done)
        )
        weight = "averaged.conv_in.weight"
        torch.testing.assert_close(before[weight], after[weight], atol=1e-6, rtol=1e-5)
        parts, _, _ = open_run(done)
        assert draw(parts, [SampleRequest("a cat")], steps=1)[0].size == (16, 16)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("KandinskyPipeline", "is a KandinskyPipeline; those that can be trained"),
        ("FluxPipeline", "is a FluxPipeline"),
    ],
)
def test_pipelines_that_are_not_trained_yet_are_refused(
    tars: Path, tmp_path: Path, name: str, match: str
) -> None:
    (tmp_path / "model_index.json").write_text(f'{{"_class_name": "{name}"}}')
    with pytest.raises(UserError, match=match):
        train(chosen(tars, tmp_path / "run", tmp_path))


def test_folders_that_nothing_starts_from_are_one_line(
    tars: Path, pipeline: Path, tmp_path: Path
) -> None:
    for start, match in (
        (tmp_path / "none", "is not a folder"),
        (tmp_path, "has neither model_index.json nor a U-Net's"),
        (pipeline / "vae", "is of the class AutoencoderKL"),
        (pipeline / "unet", "attends to states 16 wide"),
    ):
        with pytest.raises(UserError, match=match) as caught:
            train(chosen(tars, tmp_path / "run", start))
        assert "\n" not in str(caught.value)


# -- LoRA --------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [pytest.param(None, marks=pytest.mark.slow), 8.0])
def test_updates_of_low_rank_load_in_diffusers_and_are_merged_when_drawn(
    tars: Path, pipeline: Path, tmp_path: Path, alpha: float | None
) -> None:
    pytest.importorskip("peft")
    model = {"lora": 2} | ({} if alpha is None else {"lora_alpha": alpha})
    fast = {"rate": 0.05, "steps": 3}
    done = train(chosen(tars, tmp_path / "run", pipeline, model=model, optimizer=fast))
    folder = checkpoint.newest(done)
    assert folder is not None
    merged, loaded = theirs(folder), theirs(pipeline, lora=folder / "lora")
    assert np.abs(merged - ours(done)).max() <= 1
    assert np.abs(merged - loaded).max() <= 1
    assert np.abs(merged - theirs(pipeline)).max() > 1
    assert np.abs(ours(done, 1.0) - merged).max() <= 1  # unmerged
    assert np.abs(ours(done, 0.0) - theirs(pipeline)).max() <= 1
    assert np.abs(ours(done, 2.0) - merged).max() > 1
    state = checkpoint.load_tensors(folder)
    assert all(".lora_" in name for name in state)
    again = train(
        chosen(tars, tmp_path / "two", pipeline, model=model, optimizer=fast | {"steps": 2})
    )
    train(chosen(tars, again, pipeline, model=model, optimizer=fast))
    assert [line["loss"] for line in steps_of(again)] == pytest.approx(
        [line["loss"] for line in steps_of(done)]
    )


def test_updates_are_scaled_when_drawing_and_a_run_without_any_says_so(
    tars: Path, run: Path, pipeline: Path, tmp_path: Path
) -> None:
    pytest.importorskip("peft")
    model, fast = {"lora": 2}, {"rate": 0.05, "steps": 1}
    done = train(chosen(tars, tmp_path / "run", pipeline, model=model, optimizer=fast))
    asked = ["sample", str(done), "cat 3", "-n", "1", "--steps", "1", "--out", str(tmp_path)]
    shown = CliRunner().invoke(app, [*asked, "--lora-scale", "0.5"], catch_exceptions=False)
    told = json.loads(Path(shown.stdout.split()[0]).with_suffix(".json").read_text())
    assert told["made"]["lora_scale"] == 0.5
    with pytest.raises(UserError, match="has no updates of low rank, which --lora-scale scales"):
        ours(run, 1.0)
    with pytest.raises(UserError, match="--lora-scale is nan"):
        frenchcat.sample(done, "cat 3", tmp_path, lora_scale=float("nan"))


def test_updates_without_peft_are_one_line(
    tars: Path, pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match=r"model\.lora needs peft.*pip install 'frenchcat\[lora\]'"):
        train(chosen(tars, tmp_path / "run", pipeline, model={"lora": 2}))
