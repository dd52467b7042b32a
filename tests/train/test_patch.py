"""Patches, pooled captions and the velocity loss: against closed forms, and diffusers' own loop."""

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from frenchcat.curate.clip import ClipSettings
from frenchcat.curate.clip.model import load_clip
from frenchcat.curate.errors import UserError
from frenchcat.train.draw import SampleRequest, draw, noise_of
from frenchcat.train.held_out import held_out
from frenchcat.train.loader import Batches
from frenchcat.train.loader import noise_of as noises_of
from frenchcat.train.loop import train
from frenchcat.train.model import Codec, make_unet, unet_output
from frenchcat.train.rows import open_rows
from frenchcat.train.run import make_parts, open_run
from frenchcat.train.settings import ModelSettings, TextSettings, TrainSettings
from frenchcat.train.size import size_of
from frenchcat.train.steering import clip_guide, clip_of
from frenchcat.train.text import TextEncoder, variants_of
from tests.train.runs import settings, steps_of, write_tars

JIT = {"schedule": "flow", "target": "x0", "loss": "velocity", "min_snr": 0.0}
JIT |= {"zero_terminal": True, "times": "logit_normal", "times_mean": 0.8, "times_spread": 0.8}
PATCHES = {"patch": 4, "pooled": True}
STEPS, PROMPT, SEED = 8, "cat 3", 5


@pytest.fixture(scope="module")
def tars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tars(tmp_path_factory.mktemp("tars"), 1)


@pytest.fixture(scope="module")
def run(tars: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("patches") / "run"
    return train(settings(tars, out, diffusion=JIT, model=PATCHES, optimizer={"steps": 1}))


@pytest.fixture(scope="module")
def text() -> TextEncoder:
    return TextEncoder(TextSettings())


@pytest.mark.parametrize("patch", [1, 2, 4, 8])
def test_a_patch_holds_the_pixels_of_a_square(patch: int) -> None:
    pixels = torch.randint(0, 256, (2, 3, 16, 24), generator=torch.Generator().manual_seed(0))
    codec = Codec(patch=patch)
    x = codec.encode(pixels.to(torch.uint8))
    assert x.shape == (2, 3 * patch**2, 16 // patch, 24 // patch)
    assert (codec.channels, codec.shrinks) == (3 * patch**2, patch)
    for row, column in ((0, 0), (1, 2)):
        square = pixels[
            :, :, row * patch : (row + 1) * patch, column * patch : (column + 1) * patch
        ]
        expected = (square / 127.5 - 1).flatten(1)
        torch.testing.assert_close(x[:, :, row, column], expected)
    assert torch.equal(codec.decode(x), pixels.to(torch.uint8))


@pytest.mark.parametrize("patch", [2, 4])
def test_the_map_to_patches_is_orthonormal(patch: int) -> None:
    """As a matrix: its transpose is its inverse, so that white noise stays white."""
    count = 3 * 8 * 8
    rows = torch.eye(count).view(count, 3, 8, 8)
    codec = Codec(patch=patch)
    shape = (count, codec.channels, 8 // patch, 8 // patch)
    back = codec.pixels(torch.eye(count).view(shape)).flatten(1)
    assert torch.equal(back @ back.T, torch.eye(count))
    assert codec.pixels(torch.zeros(shape)).shape == rows.shape


def test_a_caption_has_the_embedding_of_its_clip_model(text: TextEncoder) -> None:
    captions = ["a cat", "une maison au bord de la mer", ""]
    condition = text(captions)
    assert condition.pooled is not None
    width = text.pooled_width
    assert condition.pooled.shape == (3, width)
    torch.testing.assert_close(condition.pooled.square().mean(1), torch.ones(3))
    clip = load_clip(ClipSettings(model="mini", precision="fp32"))
    theirs = torch.from_numpy(np.asarray(clip.encode_texts(captions)))
    torch.testing.assert_close(condition.pooled / width**0.5, theirs, atol=2e-3, rtol=0)
    both = condition.part(0, 1).joined(condition.part(2, 3)).to("cpu")
    assert both.pooled is not None
    assert torch.equal(both.pooled, condition.pooled[[0, 2]])


def test_the_embedding_joins_the_time(text: TextEncoder) -> None:
    """No level attends: what is told of the caption comes by its embedding alone."""
    torch.manual_seed(0)
    chosen = ModelSettings(channels=(8, 16), head_dim=8, attention_from=2, pooled=True)
    unet = make_unet(chosen, 8, text.width, 3, text.pooled_width).eval()
    unet.mid_block.attentions = torch.nn.ModuleList([_Through()])
    x, t = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(1)), torch.tensor([9])
    both = text(["a cat", "a dog"])
    with torch.no_grad():
        cat, dog = (unet_output(unet, x, t, both.part(n, n + 1)) for n in (0, 1))
        time = unet.time_embedding(unet.time_proj(t))
        joined = time + unet.class_embedding(both.pooled[:1])
        unet.time_embedding.register_forward_hook(lambda *_: joined - unet_told(unet, both))
        by_hand = unet_output(unet, x, t, both.part(1, 2))
    assert not torch.allclose(cat, dog, atol=1e-6)
    torch.testing.assert_close(by_hand, cat, atol=1e-5, rtol=1e-4)


def unet_told(unet: Any, both: Any) -> torch.Tensor:
    told: torch.Tensor = unet.class_embedding(both.pooled[1:])
    return told


class _Through(torch.nn.Module):
    """In the place of the middle's attention, which attends whatever the levels do."""

    def forward(self, x: torch.Tensor, **_: Any) -> tuple[torch.Tensor]:
        return (x,)


def test_a_step_learns_by_the_velocity(tars: Path, run: Path) -> None:
    """The logged loss of the first step, by the paper's formula on the same batch."""
    chosen = settings(tars, run, diffusion=JIT, model=PATCHES, optimizer={"steps": 1})
    parts, loaded = make_parts(chosen), Batches(run / "rows", chosen)[0, 0]
    picture = torch.nn.functional.pixel_unshuffle(loaded.pixels / 127.5 - 1, 4)
    noise = noises_of(loaded.noise_seeds, picture.shape[1:])
    t = 1 - (loaded.times + 1).view(-1, 1, 1, 1) / 1000
    z = t * picture + (1 - t) * noise
    with torch.no_grad():
        answer = unet_output(parts.unet.train(), z, loaded.times, parts.text(loaded.captions))
    expected = ((answer - picture) / (1 - t).clamp(min=0.05)).square().mean()
    assert steps_of(run)[0]["loss"] == pytest.approx(float(expected), rel=1e-4)


def test_diffusers_own_loop_draws_the_same_picture(run: Path) -> None:
    """With nothing of ours but the text tower; its scheduler steps by velocities."""
    parts, _, folder = open_run(run)
    assert parts.shape == (48, 4, 4)
    (ours,) = draw(parts, [SampleRequest(PROMPT, SEED)], steps=STEPS, guidance=1.0, sampler="ddim")
    unet_class: Any = diffusers.UNet2DConditionModel
    unet = unet_class.from_pretrained(folder / "unet", low_cpu_mem_usage=False).eval()
    scheduler_class: Any = diffusers.FlowMatchEulerDiscreteScheduler
    scheduler = scheduler_class.from_pretrained(folder / "scheduler")
    times = [int(1000 - n * 1000 / STEPS + 0.5) - 1 for n in range(STEPS)]
    scheduler.set_timesteps(sigmas=[(t + 1) / 1000 for t in times], timesteps=times)
    words = parts.text([PROMPT])
    x = noise_of(SEED, parts.shape)[None]
    with torch.no_grad():
        for t in scheduler.timesteps:
            told = {"encoder_hidden_states": words.states, "class_labels": words.pooled}
            picture = unet(x, t, encoder_attention_mask=words.mask, **told).sample.clamp(-1, 1)
            velocity = (x - picture) / ((float(t) + 1) / 1000)
            x = scheduler.step(velocity, t, x).prev_sample
    pixels = torch.nn.functional.pixel_shuffle(x, 4)[0]
    theirs = ((pixels.clamp(-1, 1) + 1) * 127.5).round().permute(1, 2, 0).numpy()
    assert np.abs(np.asarray(ours, np.float64) - theirs).max() <= 1
    assert theirs.std() > 1


def test_the_pipeline_draws_what_sample_draws(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers.utils import dynamic_modules_utils

    monkeypatch.setattr(dynamic_modules_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    parts, _, folder = open_run(run)
    opened: Any = diffusers.DiffusionPipeline
    pipe = opened.from_pretrained(folder, trust_remote_code=True, low_cpu_mem_usage=False)
    pipe.set_progress_bar_config(disable=True)
    noise = noise_of(SEED, parts.shape)[None]
    given = {"guidance_scale": 4.0, "negative_prompt": "a dog", "latents": noise}
    (theirs,) = pipe(PROMPT, num_inference_steps=STEPS, **given).images
    wanted = [SampleRequest(PROMPT, SEED, "a dog")]
    (ours,) = draw(parts, wanted, steps=STEPS, guidance=4.0, sampler="ddim")
    assert theirs.size == (16, 16)
    assert np.abs(np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)).max() <= 1
    names = ("prompt_embeds", "prompt_attention_mask", "pooled_prompt_embeds")
    encoded = dict(zip(names, pipe.encode_prompt(PROMPT), strict=True))
    (again,) = pipe(num_inference_steps=STEPS, **encoded, **given).images
    assert again.tobytes() == theirs.tobytes()
    with pytest.raises(ValueError, match="needs pooled_prompt_embeds"):
        pipe(prompt_embeds=encoded["prompt_embeds"])
    sized = {"num_inference_steps": 1, "height": 24, "width": 32}
    assert pipe(PROMPT, **sized).images[0].size == (32, 24)


def test_clip_guidance_and_a_start_see_pixels(run: Path) -> None:
    parts, _, _ = open_run(run)
    guide = clip_guide(clip_of(parts.settings.text), 30.0)
    wanted = [SampleRequest(PROMPT, SEED)]
    plain, steered = (draw(parts, wanted, steps=2, guides=g)[0] for g in ((), (guide,)))
    assert plain.size == steered.size == (16, 16)
    assert plain.tobytes() != steered.tobytes()
    start = Image.new("RGB", (16, 16), (250, 40, 10))
    (near,) = draw(parts, wanted, steps=1000, start=start, strength=0.001)
    assert np.asarray(near).shape == (16, 16, 3)


def test_the_size_is_that_of_the_network(tars: Path, tmp_path: Path) -> None:
    chosen = settings(tars, tmp_path, model=PATCHES)
    counted = size_of(chosen)
    assert counted.shape == (48, 4, 4)
    assert counted.parameters == sum(p.numel() for p in make_parts(chosen).unet.parameters())


@pytest.mark.parametrize(
    ("section", "values", "said"),
    [
        ("model", {"patch": 4, "vae": "sd-vae"}, "model.patch 4 is for pixels"),
        ("data", {"size": 20}, r"data\.size 20 is not a multiple of model\.patch 8; give 16"),
        ("diffusion", {"loss": "velocity"}, r"min_snr is 5; set min_snr = 0"),
        ("diffusion", {"times_mean": 0.8}, "need times = logit_normal, but times is uniform"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    tars: Path, tmp_path: Path, section: str, values: dict[str, Any], said: str
) -> None:
    model = {"patch": 8, "channels": [8]}
    chosen = settings(tars, tmp_path, **({"model": model} | {section: values}))
    with pytest.raises(UserError, match=said):
        make_parts(chosen)


def test_one_of_a_captions_variants_is_drawn_each_time(run: Path) -> None:
    """Of `cat 7` parted at its blank: both words in turn, the first where nothing is drawn."""
    chosen: TrainSettings = settings(
        Path("unread"), run, text={"separator": " ", "dropout": 0.0}, data={"batch": 12}
    )
    batches = Batches(run / "rows", chosen)
    seen = [batches[epoch, 0].captions for epoch in range(6)]
    words = [word for batch in seen for word in batch]
    assert 15 < words.count("cat") < 57
    assert all(word == "cat" or word.isdecimal() for word in words)
    assert seen == [batches[epoch, 0].captions for epoch in range(6)]
    pipe = TextSettings(separator="|")
    assert variants_of("red apple | pomme rouge || ", pipe) == ["red apple", "pomme rouge"]
    assert variants_of("", pipe) == [""]
    assert variants_of("a|b", TextSettings()) == ["a|b"]


def test_held_out_pictures_have_the_first_variant(run: Path) -> None:
    rows = open_rows(run / "rows")
    assert rows is not None
    chosen = settings(Path("unread"), run)
    still = held_out(
        chosen.data, Codec(), rows, torch.device("cpu"), text=TextSettings(separator=" ")
    )
    assert still is not None
    assert set(still.captions) == {"cat"}


def test_checkpoints_are_due_by_the_clock_too(tars: Path, tmp_path: Path) -> None:
    """After no minutes each step is due; without minutes the last one alone."""
    few = {"optimizer": {"steps": 3, "warmup": 1}}
    names = {}
    for minutes in (None, 0.0):
        spaced = {"checkpoint_every": 100, "checkpoint_minutes": minutes, "keep": 9}
        run = train(settings(tars, tmp_path / str(minutes), run=spaced, **few))
        names[minutes] = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert names[None] == ["step-00000003"]
    assert names[0.0] == [f"step-{step:08d}" for step in (1, 2, 3)]
