"""A training that starts from SDXL, PixArt or SD3: the mathematics of diffusers' own scripts.

Each of `losses` is written as diffusers' script for that family has it, over parts that plain
diffusers opened; each of `draws` is a pipeline of plain diffusers at work.
"""

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from frenchcat.curate.config import changed
from frenchcat.curate.errors import UserError
from frenchcat.train import checkpoint
from frenchcat.train.draw import SampleRequest, draw, noise_of
from frenchcat.train.layout import rows_of_tars
from frenchcat.train.loader import Batches, Loaded
from frenchcat.train.loader import noise_of as noise_of_seeds
from frenchcat.train.loop import train
from frenchcat.train.lora import unmerge
from frenchcat.train.pictures import fitted, plain_sizes, shapes_of, sizes_of
from frenchcat.train.randomness import SampleRandomness
from frenchcat.train.reader import Reader
from frenchcat.train.run import open_run
from frenchcat.train.settings import TrainSettings
from frenchcat.train.start import with_start
from tests.train.pipelines import pixart, sd3, sdxl, tiny_vae
from tests.train.runs import settings, steps_of, write_tars

FEW: dict[str, Any] = {"steps": 2, "warmup": 0, "rate": 1e-3, "ema": 0.0, "shape": "constant"}
NAMES = ("sdxl", "pixart-alpha", "pixart-sigma", "sd3")


@pytest.fixture(scope="module")
def tars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tars(tmp_path_factory.mktemp("tars"), 1)


@pytest.fixture(scope="module")
def started(tars: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """A family's name -> (its pipeline's folder, the run that started from it)."""
    made: dict[str, tuple[Path, Path]] = {}

    def of(name: str) -> tuple[Path, Path]:
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            start = MAKERS[name](folder / "start")
            made[name] = start, train(chosen(tars, folder / "run", start))
        return made[name]

    return of


MAKERS: dict[str, Callable[[Path], Path]] = {
    "sdxl": sdxl,
    "pixart-alpha": lambda folder: pixart(folder, told_sizes=True),
    "pixart-sigma": lambda folder: pixart(folder, "Sigma"),
    "sd3": sd3,
}


def chosen(tars: Path, out: Path, start: Path, **more: Any) -> TrainSettings:
    model = {"start": str(start)} | more.pop("model", {})
    few = FEW | more.pop("optimizer", {})
    data = {"batch": 4, "crop": "random"} | more.pop("data", {})
    more["diffusion"] = {"min_snr": 0} | more.pop("diffusion", {})
    return settings(tars, out, data=data, model=model, optimizer=few, **more)


def opened(folder: Path) -> Any:
    """A pipeline as plain diffusers opens it."""
    pipeline: Any = diffusers.DiffusionPipeline
    index = json.loads((folder / "model_index.json").read_text())
    missing = [name for name, found in index.items() if found == [None, None]]
    given: dict[str, Any] = dict.fromkeys(missing)  # diffusers wants them named
    pipe = pipeline.from_pretrained(folder, low_cpu_mem_usage=False, **given)
    pipe.set_progress_bar_config(disable=True)
    return pipe


# -- the loss ----------------------------------------------------------------------------------


def latents_of(pipe: Any, loaded: Loaded) -> tuple[Tensor, Tensor]:
    config = pipe.vae.config
    latents = pipe.vae.encode(loaded.pixels / 127.5 - 1).latent_dist.mode()
    latents = (latents - (config.shift_factor or 0.0)) * config.scaling_factor
    return latents, noise_of_seeds(loaded.noise_seeds, latents.shape[1:])


def added(pipe: Any, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
    ddpm: Any = diffusers.DDPMScheduler
    noised: Tensor = ddpm.from_config(pipe.scheduler.config).add_noise(latents, noise, timesteps)
    return noised


def sdxl_loss(pipe: Any, loaded: Loaded) -> Tensor:
    """train_text_to_image_sdxl.py; a dropped caption is what the pipeline draws without one."""
    latents, noise = latents_of(pipe, loaded)
    states, pooled = [], []
    for caption in loaded.captions:
        # without a negative prompt, the pipeline's second and fourth are those of no caption
        found = pipe.encode_prompt(caption or "any", do_classifier_free_guidance=True)
        states.append(found[0] if caption else found[1])
        pooled.append(found[2] if caption else found[3])
    added_cond = {"time_ids": loaded.sizes, "text_embeds": torch.cat(pooled)}
    noisy = added(pipe, latents, noise, loaded.times)
    pred = pipe.unet(
        noisy, loaded.times, torch.cat(states), added_cond_kwargs=added_cond, return_dict=False
    )[0]
    return torch.nn.functional.mse_loss(pred.float(), noise.float())


def pixart_loss(pipe: Any, loaded: Loaded) -> Tensor:
    """train_pixart_alpha_lora.py's loop."""
    latents, noise = latents_of(pipe, loaded)
    states, mask, _, _ = pipe.encode_prompt(loaded.captions, False, clean_caption=False)
    added_cond: dict[str, Any] = {"resolution": None, "aspect_ratio": None}
    if pipe.transformer.config.sample_size == 128:
        added_cond["resolution"] = torch.tensor([[16.0, 16.0]]).repeat(len(latents), 1)
        added_cond["aspect_ratio"] = torch.tensor([[1.0]]).repeat(len(latents), 1)
    pred = pipe.transformer(
        added(pipe, latents, noise, loaded.times),
        encoder_hidden_states=states,
        encoder_attention_mask=mask,
        timestep=loaded.times,
        added_cond_kwargs=added_cond,
    ).sample.chunk(2, 1)[0]
    return torch.nn.functional.mse_loss(pred.float(), noise.float())


def sd3_loss(pipe: Any, loaded: Loaded) -> Tensor:
    """train_dreambooth_sd3.py without its weighting (weighting_scheme none, u at hand)."""
    model_input, noise = latents_of(pipe, loaded)
    flow: Any = diffusers.FlowMatchEulerDiscreteScheduler
    scheduler = flow.from_config(pipe.scheduler.config)
    indices = len(scheduler.timesteps) - 1 - loaded.times  # theirs fall
    timesteps = scheduler.timesteps[indices]
    sigmas = scheduler.sigmas[indices].view(-1, 1, 1, 1)
    noisy = (1.0 - sigmas) * model_input + sigmas * noise
    states, _, pooled, _ = pipe.encode_prompt(
        loaded.captions, None, None, do_classifier_free_guidance=False
    )
    pred = pipe.transformer(
        hidden_states=noisy,
        timestep=timesteps,
        encoder_hidden_states=states,
        pooled_projections=pooled,
        return_dict=False,
    )[0]
    return ((pred.float() - (noise - model_input).float()) ** 2).mean()


LOSSES = {"sdxl": sdxl_loss, "sd3": sd3_loss, "pixart-alpha": pixart_loss}
LOSSES["pixart-sigma"] = pixart_loss


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_is_that_of_diffusers_script(
    tars: Path, started: Callable[[str], Any], name: str
) -> None:
    start, run = started(name)
    loaded = Batches(run / "rows", chosen(tars, run, start))[0, 0]
    with torch.no_grad():
        expected = float(LOSSES[name](opened(start), loaded))
    assert steps_of(run)[0]["loss"] == pytest.approx(expected, abs=1e-5)


# -- the picture -------------------------------------------------------------------------------


def theirs(
    folder: Path, steps: int = 4, lora: Path | None = None, adapter: Path | None = None
) -> np.ndarray:
    """What plain diffusers draws of a folder; its DDIM or flow over the times that we ask at."""
    pipe = opened(folder)
    if lora is not None:
        pipe.load_lora_weights(lora)
    if adapter is not None:
        peft = pytest.importorskip("peft")
        pipe.transformer = peft.PeftModel.from_pretrained(
            pipe.transformer, adapter
        ).base_model.model
    given: dict[str, Any] = {
        "latents": noise_of(5, (4, 8, 8))[None],
        "guidance_scale": 4.0,
        "height": 16,
        "width": 16,
        "num_inference_steps": steps,
    }
    if "StableDiffusion3" in type(pipe).__name__:
        given["sigmas"] = [1 - n / steps for n in range(steps)]
    else:
        ddim: Any = diffusers.DDIMScheduler
        spacing = {"timestep_spacing": "trailing", "set_alpha_to_one": True, "clip_sample": False}
        pipe.scheduler = ddim.from_config(pipe.scheduler.config, **spacing)
    if "PixArt" in type(pipe).__name__:
        given |= {"clean_caption": False, "use_resolution_binning": False}
    return np.asarray(pipe("cat 3", **given).images[0], np.float64)


def ours(run: Path, lora_scale: float | None = None) -> np.ndarray:
    parts, state, folder = open_run(run)
    if lora_scale is not None:
        unmerge(parts, state, folder, lora_scale)
    (drawn,) = draw(parts, [SampleRequest("cat 3", 5)], steps=4, guidance=4.0, sampler="ddim")
    return np.asarray(drawn, np.float64)


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_opens_in_diffusers_and_draws_the_same(
    started: Callable[[str], Any], name: str
) -> None:
    start, run = started(name)
    folder = checkpoint.newest(run)
    assert folder is not None
    assert not list(folder.glob("*.py"))
    found = theirs(folder)
    assert np.abs(found - ours(run)).max() <= 1
    assert np.abs(found - theirs(start)).max() > 1  # it was trained


# -- what is told of sizes, and what does not fit --------------------------------------------------


@pytest.mark.parametrize(("name", "mirrored"), [("cat", False), ("car", True)])
def test_sdxl_hears_of_sizes_and_cuts_as_they_are(
    tars: Path, tmp_path: Path, name: str, mirrored: bool
) -> None:
    made = chosen(tars, tmp_path / "run", tmp_path, data={"size": 16, "flip": True})
    chance = SampleRandomness(0, 0, name, 0)
    place, flipped = chance.uniform("crop"), chance.uniform("flip") < 0.5
    assert flipped == mirrored
    picture = Image.fromarray(np.arange(40 * 20 * 3, dtype=np.uint8).reshape(20, 40, 3))
    found = sizes_of(picture.size, (16, 16), made.data, chance)
    scaled = picture.resize((32, 16), Image.Resampling.BOX)
    left = round(place * 16)
    expected = 16 - left if flipped else left
    assert found == (20, 40, 0, expected, 16, 16)
    if flipped:
        scaled = scaled.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    cut = np.asarray(scaled.crop((expected, 0, expected + 16, 16)), int)
    near = np.asarray(fitted(picture, (16, 16), made.data, chance), int)
    others = [
        np.abs(np.asarray(scaled.crop((at, 0, at + 16, 16)), int) - near).mean() for at in range(17)
    ]
    assert np.abs(cut - near).mean() <= min(others) + 1
    padded = changed(made.data, crop="pad")
    assert sizes_of(picture.size, (16, 16), padded, chance) == (20, 40, 0, 0, 16, 16)
    assert plain_sizes((40, 20)) == (20, 40, 0, 0, 20, 40)


def test_a_picture_that_was_decoded_smaller_keeps_its_size(tmp_path: Path) -> None:
    large = io.BytesIO()
    Image.new("RGB", (400, 300), "red").save(large, "JPEG")
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        for name, data in (("a.jpg", large.getvalue()), ("a.txt", b"a cat")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    rows_of_tars([str(tmp_path / "0.tar")], tmp_path / "rows", 0, [], None, ())
    (sample,) = Reader(tmp_path / "rows", (32, 32)).sound(np.array([0]))
    assert sample.picture.size == (50, 38)
    assert sample.size == (400, 300)


@pytest.mark.parametrize(
    ("name", "size", "match"),
    [
        ("sd3", 64, r"positions for 32 pixels a side at most"),
        ("sd3", 16, r"StableDiffusion3Pipeline is trained with a FlowMatchEulerDiscrete"),
        ("sdxl", 16, r"takes 4 channels, and its latents have 3"),
    ],
)
def test_what_does_not_fit_is_one_line(
    tars: Path, started: Callable[[str], Any], tmp_path: Path, name: str, size: int, match: str
) -> None:
    start = Path(shutil.copytree(started(name)[0], tmp_path / "start"))
    if "trained with" in match:
        about = json.loads((start / "scheduler" / "scheduler_config.json").read_text())
        about["use_dynamic_shifting"] = True
        (start / "scheduler" / "scheduler_config.json").write_text(json.dumps(about))
    if "channels" in match:
        shutil.rmtree(start / "vae")
        tiny_vae(latent_channels=3).save_pretrained(start / "vae")
    with pytest.raises(UserError, match=match) as caught:
        train(chosen(tars, tmp_path / "run", start, data={"size": size}))
    assert "\n" not in str(caught.value)


def test_sides_are_multiples_of_a_patch_and_it_is_said(
    started: Callable[[str], Any], tars: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start, run = started("sd3")
    tall = {"aspects": [0.6], "size": 16, "multiple": 2}
    found = with_start(chosen(tars, tmp_path, start, data=tall))
    assert found.data.multiple == 4  # latents of 2 pixels, patches of 2 latents
    assert shapes_of(found.data) == [(12, 20)]
    assert "data.multiple is 4" in capsys.readouterr().err
    parts, _, _ = open_run(run)
    with pytest.raises(UserError, match=r"18 x 16 pixels do not divide .* multiples of 4"):
        draw(parts, [SampleRequest("a cat")], steps=1, size=(18, 16))


def test_t5_may_be_left_out(tars: Path, tmp_path: Path) -> None:
    start = sd3(tmp_path / "start", with_t5=False)
    run = train(chosen(tars, tmp_path / "run", start, optimizer={"steps": 1}))
    folder = checkpoint.newest(run)
    assert folder is not None
    assert np.abs(theirs(folder) - ours(run)).max() <= 1


def test_a_killed_run_goes_on_and_is_a_start_itself(
    tars: Path, started: Callable[[str], Any], tmp_path: Path
) -> None:
    start, run = started("sd3")
    more = {"steps": 3}
    train(chosen(tars, tmp_path / "whole", start, optimizer=more))
    parted = Path(shutil.copytree(run, tmp_path / "parted"))
    train(chosen(tars, parted, start, optimizer=more))
    assert [line["loss"] for line in steps_of(parted)] == pytest.approx(
        [line["loss"] for line in steps_of(tmp_path / "whole")]
    )
    folder = checkpoint.newest(run)
    assert folder is not None
    again = train(chosen(tars, tmp_path / "again", run, optimizer={"steps": 1}))
    loaded = Batches(again / "rows", chosen(tars, again, folder))[0, 0]
    with torch.no_grad():
        expected = float(sd3_loss(opened(folder), loaded))
    assert steps_of(again)[0]["loss"] == pytest.approx(expected, abs=1e-5)


# -- LoRA --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sdxl", "sd3", "pixart-sigma"])
def test_updates_of_low_rank_load_in_diffusers(
    tars: Path, started: Callable[[str], Any], tmp_path: Path, name: str
) -> None:
    pytest.importorskip("peft")
    start, _ = started(name)
    model = {"lora": 2, "lora_alpha": 4}
    run = train(chosen(tars, tmp_path / "run", start, model=model, optimizer={"rate": 0.05}))
    folder = checkpoint.newest(run)
    assert folder is not None
    merged = theirs(folder)
    assert np.abs(merged - ours(run)).max() <= 1
    assert np.abs(merged - theirs(start)).max() > 1
    if name == "pixart-sigma":  # its pipeline loads none; peft puts them into its transformer
        loaded = theirs(start, adapter=folder / "lora")
    else:
        loaded = theirs(start, lora=folder / "lora")
    assert np.abs(merged - loaded).max() <= 1
    assert np.abs(ours(run, 1.0) - merged).max() <= 1  # unmerged
    assert np.abs(ours(run, 0.0) - theirs(start)).max() <= 1


@pytest.mark.parametrize("name", ["sdxl", "sd3"])
def test_updates_of_text_encoders_load_in_diffusers(
    tars: Path, started: Callable[[str], Any], tmp_path: Path, name: str
) -> None:
    pytest.importorskip("peft")
    start, _ = started(name)
    model = {"lora": 2, "lora_text": True}
    text = {"dropout": 0.5}
    fast = {"rate": 0.05}
    run = train(chosen(tars, tmp_path / "run", start, model=model, text=text, optimizer=fast))
    folder = checkpoint.newest(run)
    assert folder is not None
    before, after = opened(start), opened(folder)
    for encoder in ("text_encoder", "text_encoder_2"):
        changes = zip(
            getattr(before, encoder).parameters(), getattr(after, encoder).parameters(), strict=True
        )
        assert any(not torch.equal(one, other) for one, other in changes)
    merged = theirs(folder)
    assert np.abs(merged - ours(run)).max() <= 1
    assert np.abs(merged - theirs(start, lora=folder / "lora")).max() <= 1
    assert np.abs(ours(run, 1.0) - merged).max() <= 1
    assert np.abs(ours(run, 0.0) - theirs(start)).max() <= 1
    state = checkpoint.load_tensors(folder)
    assert any(".encoders.text_encoder_2." in name for name in state)
    longer = fast | {"steps": 3}
    whole = train(chosen(tars, tmp_path / "whole", start, model=model, text=text, optimizer=longer))
    train(chosen(tars, run, start, model=model, text=text, optimizer=longer))
    assert [line["loss"] for line in steps_of(run)] == pytest.approx(
        [line["loss"] for line in steps_of(whole)]
    )


def test_text_encoders_that_cannot_be_trained_are_one_line(
    tars: Path, started: Callable[[str], Any], tmp_path: Path
) -> None:
    pytest.importorskip("peft")
    model = {"lora": 2, "lora_text": True}
    for start, given, match in (
        (started("pixart-sigma")[0], model, "has none that diffusers could load updates for"),
        (
            started("sdxl")[0],
            {"lora_text": True},
            r"model\.lora_text is for the updates of model\.lora",
        ),
    ):
        with pytest.raises(UserError, match=match):
            train(chosen(tars, tmp_path / "run", start, model=given))
