"""A checkpoint in diffusers, by parts and as a pipeline: the same picture for the same noise."""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from frenchcat.curate.config import resolve
from frenchcat.train.checkpoint import newest
from frenchcat.train.diffusion import Diffusion
from frenchcat.train.draw import SampleRequest, draw, noise_of
from frenchcat.train.export import main as mend
from frenchcat.train.export import scheduler_of, write_pipeline
from frenchcat.train.loop import train
from frenchcat.train.run import open_run
from frenchcat.train.settings import DiffusionSettings, TrainSettings
from tests.train.pipelines import tiny_vae
from tests.train.runs import settings, write_tars

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
    (ours,) = draw(parts, [SampleRequest(PROMPT, SEED)], steps=STEPS, guidance=1.0, sampler="ddim")
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


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where diffusers copies a pipeline's code to; else it is the user's own folder."""
    from diffusers.utils import dynamic_modules_utils

    monkeypatch.setattr(dynamic_modules_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path / "modules"


def pipeline(folder: Path, **more: Any) -> Any:
    opened: Any = diffusers.DiffusionPipeline
    made = opened.from_pretrained(folder, trust_remote_code=True, low_cpu_mem_usage=False, **more)
    made.set_progress_bar_config(disable=True)
    return made


@pytest.mark.parametrize(
    ("process", "guidance", "negative"),
    [
        ({"schedule": "cosine", "target": "v"}, 5.0, "a dog"),
        ({"schedule": "scaled_linear", "target": "eps"}, 1.0, ""),
        ({"schedule": "linear", "target": "x0", "zero_terminal": True}, 0.0, ""),
        ({"schedule": "flow", "target": "flow"}, 5.0, ""),
    ],
)
def test_the_pipeline_draws_what_sample_draws(
    tars: Path,
    tmp_path: Path,
    modules: Path,
    process: dict[str, Any],
    guidance: float,
    negative: str,
) -> None:
    few = {"steps": 1, "warmup": 0, "rate": 3e-3, "ema": 0.0}
    run = train(settings(tars, tmp_path / "run", diffusion=process, optimizer=few))
    parts, _, folder = open_run(run)
    wishes = [SampleRequest(PROMPT, SEED, negative), SampleRequest("cat 4", SEED + 1, negative)]
    ours = draw(parts, wishes, steps=STEPS, guidance=guidance, sampler="ddim")
    noise = torch.stack([noise_of(sample_request.seed, parts.shape) for sample_request in wishes])
    given = {"guidance_scale": guidance, "negative_prompt": negative, "latents": noise}
    drawn = pipeline(folder)(
        [sample_request.prompt for sample_request in wishes], num_inference_steps=STEPS, **given
    )
    for mine, theirs in zip(ours, drawn.images, strict=True):
        difference = np.abs(np.asarray(mine, np.float64) - np.asarray(theirs, np.float64))
        assert difference.max() <= 1  # one of 255 levels: float32 in another order
    assert np.asarray(ours[0]).std() > 1
    assert (modules / "diffusers_modules" / "local" / "pipeline.py").exists()


@pytest.fixture(scope="module")
def checkpoint(tars: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("one") / "run"
    folder = newest(train(settings(tars, out, optimizer={"steps": 1})))
    assert folder is not None
    return folder


def test_a_generator_names_the_noise(checkpoint: Path, modules: Path) -> None:
    pipe = pipeline(checkpoint)

    def drawn(seed: int, **more: Any) -> list[Any]:
        generator = torch.Generator().manual_seed(seed)
        found = pipe(PROMPT, num_inference_steps=2, generator=generator, **more).images
        return [np.asarray(picture) for picture in found]

    first, second = drawn(1, num_images_per_prompt=2)
    assert first.shape == (16, 16, 3)
    assert (first != second).any()
    assert (drawn(1, num_images_per_prompt=2)[1] == second).all()
    assert (drawn(2)[0] != drawn(1)[0]).any()


def test_the_folder_is_enough_and_its_code_has_to_be_trusted(
    checkpoint: Path, tmp_path: Path, modules: Path
) -> None:
    copied = Path(shutil.copytree(checkpoint, tmp_path / "copied"))
    for name in ("state.json", "state.safetensors"):  # of the run, not of the model
        (copied / name).unlink()
    pipe = pipeline(copied)
    assert type(pipe).__name__ == "FrenchcatPipeline"
    assert (pipe.config.text_model, pipe.vae, pipe.config.flow_end) == ("mini", None, None)
    opened: Any = diffusers.DiffusionPipeline
    with pytest.raises(ValueError, match="trust_remote_code"):
        opened.from_pretrained(copied)


def test_latents_are_decoded_by_the_autoencoder_of_the_run(
    tars: Path, tmp_path: Path, modules: Path
) -> None:
    torch.manual_seed(0)
    vae = tiny_vae()
    vae.save_pretrained(tmp_path / "vae")
    model = {"vae": str(tmp_path / "vae")}
    run = train(settings(tars, tmp_path / "run", model=model, optimizer={"steps": 1}))
    parts, _, folder = open_run(run)
    (ours,) = draw(parts, [SampleRequest(PROMPT, SEED)], steps=STEPS, guidance=3.0, sampler="ddim")
    noise = noise_of(SEED, parts.shape)[None]
    pipe = pipeline(folder)
    (theirs,) = pipe(PROMPT, num_inference_steps=STEPS, latents=noise).images
    difference = np.abs(np.asarray(ours, np.float64) - np.asarray(theirs, np.float64))
    assert difference.max() <= 1
    shutil.move(tmp_path / "vae", tmp_path / "elsewhere")
    moved = pipeline(folder, vae=type(vae).from_pretrained(tmp_path / "elsewhere"))
    assert (
        np.asarray(moved(PROMPT, num_inference_steps=STEPS, latents=noise).images[0])
        == np.asarray(theirs)
    ).all()


def test_without_frenchcat_it_says_what_is_missing(
    checkpoint: Path, modules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline(checkpoint)
    monkeypatch.setitem(sys.modules, "frenchcat.train.text", None)  # as where it cannot be imported
    with pytest.raises(ImportError, match="frenchcat is not installed here"):
        pipeline(checkpoint)


@pytest.mark.parametrize(
    ("process", "end"),
    [
        ({"schedule": "flow", "target": "flow", "zero_terminal": True}, 1.0),
        ({"schedule": "flow", "target": "flow", "steps": 100}, 0.995),
        ({"schedule": "cosine", "target": "v"}, None),
    ],
)
def test_the_index_knows_where_a_flow_ends(
    tmp_path: Path, process: dict[str, Any], end: float | None
) -> None:
    chosen = resolve(TrainSettings, {"diffusion": process})
    write_pipeline(tmp_path, chosen, scheduler_of(chosen.diffusion))
    assert json.loads((tmp_path / "model_index.json").read_text())["flow_end"] == end


@pytest.mark.parametrize("process", [{"schedule": "flow"}, {"target": "flow"}])
def test_what_diffusers_has_no_word_for_is_no_pipeline(
    tmp_path: Path, process: dict[str, Any]
) -> None:
    chosen = resolve(TrainSettings, {"diffusion": process})
    write_pipeline(tmp_path, chosen, scheduler_of(chosen.diffusion))
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_from_before_pipelines_still_draws(checkpoint: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(checkpoint.parents[1], tmp_path / "run"))
    (folder,) = (run / "checkpoints").iterdir()
    for name in ("model_index.json", "pipeline.py"):
        (folder / name).unlink()
    parts, state, opened = open_run(run)
    assert (state.step, opened) == (1, folder)
    assert draw(parts, [SampleRequest(PROMPT)], steps=1)[0].size == (16, 16)


def test_the_folder_holds_all_parts(checkpoint: Path) -> None:
    for name in ("unet/config.json", "scheduler/scheduler_config.json", "pipeline.py"):
        assert (checkpoint / name).exists()


@pytest.fixture
def former(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run's checkpoint whose class imports our modules by their former names, as it did then."""
    run = Path(shutil.copytree(checkpoint.parents[1], tmp_path / "run"))
    (folder,) = (run / "checkpoints").iterdir()
    code = (folder / "pipeline.py").read_text()
    for name in ("curate.config", "train.settings", "train.text"):
        assert f"        from frenchcat.{name} import " in code
        code = code.replace(f"from frenchcat.{name} import", f"from {name} import")
    (folder / "pipeline.py").write_text(code)
    for name in ("curate", "train"):  # where frenchcat is installed there are none
        monkeypatch.setitem(sys.modules, name, None)
    return folder


def test_an_old_checkpoint_draws_in_diffusers_once_its_run_was_opened(
    former: Path, checkpoint: Path, modules: Path
) -> None:
    with pytest.raises(ImportError, match=r"(No module named .|import of )curate"):
        pipeline(former)
    parts, _, opened = open_run(former.parents[1])
    assert opened == former
    (ours,) = draw(parts, [SampleRequest(PROMPT, SEED)], steps=2, guidance=5.0, sampler="ddim")
    assert (former / "pipeline.py").read_bytes() == (checkpoint / "pipeline.py").read_bytes()
    noise = noise_of(SEED, parts.shape)[None]
    given = {"guidance_scale": 5.0, "latents": noise, "num_inference_steps": 2}
    (theirs,) = pipeline(former)(PROMPT, **given).images
    difference = np.abs(np.asarray(ours, np.float64) - np.asarray(theirs, np.float64))
    assert difference.max() <= 1


def test_every_checkpoint_of_an_opened_run_is_mended(former: Path) -> None:
    other = Path(shutil.copytree(former, former.with_name("step-00000009")))
    open_run(former.parents[1], former)
    for folder in (former, other):
        assert "from train." not in (folder / "pipeline.py").read_text()


def test_an_old_checkpoint_that_cannot_be_written_draws_with_sample(
    former: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (former / "pipeline.py").read_bytes()

    def read_only(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", read_only)
        parts, _, _ = open_run(former.parents[1])
        with pytest.raises(SystemExit, match=r"error: .*pipeline\.py cannot be brought up to date"):
            mend([str(former)])
    assert draw(parts, [SampleRequest(PROMPT)], steps=1)[0].size == (16, 16)
    assert (former / "pipeline.py").read_bytes() == before


def test_a_command_mends_a_folder_that_was_handed_on(
    former: Path, capsys: pytest.CaptureFixture[str], modules: Path
) -> None:
    for name in ("state.json", "state.safetensors"):
        (former / name).unlink()
    kept = "# a change of one's own: from train.text import x\n"
    (former / "pipeline.py").write_text((former / "pipeline.py").read_text() + kept)
    mend([str(former)])
    mend([str(former)])
    shown = f"{former / 'pipeline.py'}: "
    assert capsys.readouterr().out == f"{shown}repaired\n{shown}up to date\n"
    assert (former / "pipeline.py").read_text().endswith(kept)
    assert sorted(path.name for path in former.iterdir()) == [
        "model_index.json",
        "pipeline.py",
        "scheduler",
        "unet",
    ]
    assert len(pipeline(former)(PROMPT, num_inference_steps=1).images) == 1


def test_todays_checkpoint_is_left_as_it_is(checkpoint: Path) -> None:
    before = (checkpoint / "pipeline.py").stat()
    open_run(checkpoint.parents[1])
    after = (checkpoint / "pipeline.py").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_prompts_are_drawn_one_after_another_each_as_often_as_asked(
    checkpoint: Path, modules: Path
) -> None:
    pipe = pipeline(checkpoint)
    noise = torch.stack([noise_of(n, (3, 16, 16)) for n in range(4)])
    prompts = ["cat 1", "cat 1", "cat 9", "cat 9"]
    wanted = pipe(prompts, num_inference_steps=1, latents=noise, output_type="latent").images
    given = {"num_inference_steps": 1, "latents": noise, "output_type": "latent"}
    (found,) = pipe(["cat 1", "cat 9"], num_images_per_prompt=2, return_dict=False, **given)
    torch.testing.assert_close(found, wanted)
    assert not torch.equal(found[:2], pipe(["cat 9"] * 2, **(given | {"latents": noise[:2]}))[0])


def test_the_index_names_the_text_tower_and_the_autoencoder(tmp_path: Path) -> None:
    text = {"model": "ViT-B-32", "pretrained": "/models/b32.safetensors"}
    chosen = resolve(TrainSettings, {"text": text, "model": {"vae": "models/vae"}})
    write_pipeline(tmp_path, chosen, scheduler_of(chosen.diffusion))
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert (index["text_model"], index["text_pretrained"]) == tuple(text.values())
    assert index["vae_path"] == str(Path("models/vae").resolve())  # found from any folder
