"""A network that is told images' CLIP vectors: its steps, variations, mixtures with texts."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DiffusionPipeline
from PIL import Image
from typer.testing import CliRunner

import frenchcat
from frenchcat.cli import app
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import ModelMismatch, NotFound, UserError
from frenchcat.curate.manifest import StageEntry
from frenchcat.curate.markers import record_entry
from frenchcat.curate.remove import RemovalQuery, matches, remove
from frenchcat.curate.select import Choice, select
from frenchcat.train.draw import SampleRequest, draw, noise_of
from frenchcat.train.image_vectors import mixed, vector_of
from frenchcat.train.loader import Batches
from frenchcat.train.loader import noise_of as noises_of
from frenchcat.train.loop import train
from frenchcat.train.run import make_parts, open_run
from frenchcat.train.settings import TrainSettings
from frenchcat.train.stored import Stored, VectorStore
from tests.train.embedded_run import make_dataset, mini
from tests.train.runs import settings, steps_of, write_tars

TOLD = {"image_vector": True, "pooled": True}
KEY, OTHER = "000000003", "000000030"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    made = make_dataset(tmp_path_factory.mktemp("colours") / "dataset", mini())
    select(made, "some", Choice(where="key < '000000030'"))
    return made


def chosen(dataset: Dataset, out: Path, **more: Any) -> TrainSettings:
    data = {"tars": None, "dataset": dataset.root, "selection": "some"}
    model = TOLD | more.pop("model", {})
    few = {"steps": 2, "warmup": 0, "rate": 1e-2, "ema": 0.0, "shape": "constant"}
    return settings(out, out, data=data, model=model, optimizer=few, **more)


@pytest.fixture(scope="module")
def run(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(chosen(dataset, tmp_path_factory.mktemp("told") / "run"))


def test_a_step_is_told_the_vectors_of_its_images(dataset: Dataset, run: Path) -> None:
    made = chosen(dataset, run)
    stored = Stored(vectors=VectorStore(dataset.root, 5))
    loaded = Batches(run / "rows", made, stored=stored)[0, 0]
    _, vectors = frenchcat.open(dataset.root).vectors(loaded.keys)
    assert loaded.vectors is not None
    left_out = loaded.vectors.eq(0).all(1)
    assert 0 < int(left_out.sum()) < len(loaded.keys)
    assert np.array_equal(loaded.vectors[~left_out], vectors[~left_out.numpy()])
    parts = make_parts(made)  # as the first step found them
    words = parts.text(loaded.captions)
    assert words.pooled is not None
    width = vectors.shape[1]
    x_0, t = loaded.pixels / 127.5 - 1, loaded.times
    noise = noises_of(loaded.noise_seeds, x_0.shape[1:])
    x_t = parts.diffusion.noised(x_0, t, noise)
    with torch.no_grad():
        output = parts.unet(
            x_t,
            t,
            encoder_hidden_states=words.states,
            encoder_attention_mask=words.mask,
            class_labels=torch.cat([words.pooled[:, :width], loaded.vectors * width**0.5], 1),
        ).sample
    error = (output - parts.diffusion.target("v", x_0, noise, t)).square().flatten(1).mean(1)
    weight = parts.diffusion.min_snr_weight("v", t, 5.0)
    expected = float((error * weight).mean())
    assert steps_of(run)[0]["loss"] == pytest.approx(expected, rel=1e-5)


def test_half_of_the_vectors_are_left_out_whatever_becomes_of_the_captions(
    dataset: Dataset, run: Path
) -> None:
    made = chosen(dataset, run, text={"dropout": 0.5})
    batches = Batches(run / "rows", made, stored=Stored(vectors=VectorStore(dataset.root, 5)))
    found = [batches[epoch, k] for epoch in range(8) for k in (0, 1)]
    image = torch.cat([one.vectors.ne(0).any(1) for one in found if one.vectors is not None])
    text = torch.tensor([bool(caption) for one in found for caption in one.captions])
    shares = [float((image & text).float().mean()), float((image & ~text).float().mean())]
    assert shares == pytest.approx([0.25, 0.25], abs=0.1)


def drawn(run: Path, wanted: str | None, prompt: str = "", **more: Any) -> Any:
    parts, _, _ = open_run(run)
    image = None if wanted is None else vector_of(wanted, parts)
    (found,) = draw(parts, [SampleRequest(prompt, 5)], steps=4, image=image, **more)
    return np.asarray(found, np.float64)


def test_a_variation_follows_from_the_image_s_vector_alone(
    dataset: Dataset, run: Path, tmp_path: Path
) -> None:
    image = tmp_path / "one.png"
    image.write_bytes(frenchcat.open(dataset.root).picture_bytes(KEY))
    of_key, of_file = drawn(run, KEY), drawn(run, str(image))
    assert np.abs(of_key - of_file).max() <= 2  # the stored vector is float16
    for other in (drawn(run, OTHER), drawn(run, None)):
        assert np.abs(of_key - other).max() > 2
    from_prompt = drawn(run, KEY, "a house")
    assert np.abs(of_key - from_prompt).max() > 2
    # All the way to the prompt's vector nothing is left of the image's.
    ends = [drawn(run, wanted, "a house", mix=1.0) for wanted in (KEY, OTHER)]
    assert np.array_equal(*ends)
    assert np.abs(from_prompt - drawn(run, KEY, "a house", mix=0.5)).max() > 0


def test_a_mixture_lies_on_the_arc_between_image_and_text() -> None:
    image, text = torch.tensor([1.0, 0.0]), torch.tensor([[0.6, 0.8], [1.0, 0.0]])
    angle = math.acos(0.6)
    for weight in (0.0, 0.25, 1.0):
        found = mixed(image, text, weight)
        expected = [math.cos(weight * angle), math.sin(weight * angle)]
        assert found[0].tolist() == pytest.approx(expected, abs=1e-6)
        assert found[1].tolist() == pytest.approx([1.0, 0.0], abs=1e-6)


def test_diffusers_draws_the_same(dataset: Dataset, run: Path) -> None:
    """Told of no image by a prompt, and of an image by what a caller puts behind its embedding."""
    parts, _, folder = open_run(run)
    pipe = DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)
    pipe.set_progress_bar_config(disable=True)
    spacing = {"timestep_spacing": "trailing", "set_alpha_to_one": True}
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, **spacing)
    vector = vector_of(KEY, parts)
    states, mask, pooled = pipe.encode_prompt("a house")
    told = pooled.clone()
    told[:, len(vector) :] = torch.from_numpy(vector) * len(vector) ** 0.5
    for embedding, image in ((pooled, None), (told, vector)):
        null = dict(zip(("embeds", "mask", "pooled"), pipe.encode_prompt(""), strict=True))
        theirs = pipe(
            prompt_embeds=states,
            prompt_attention_mask=mask,
            pooled_prompt_embeds=embedding,
            negative_prompt_embeds=null["embeds"],
            negative_prompt_attention_mask=null["mask"],
            negative_pooled_prompt_embeds=null["pooled"],
            latents=noise_of(5, (3, 16, 16))[None],
            num_inference_steps=4,
        ).images[0]
        request = [SampleRequest("a house", 5)]
        (ours,) = draw(parts, request, steps=4, sampler="ddim", image=image)
        assert np.abs(np.asarray(theirs, int) - np.asarray(ours, int)).max() <= 1


def test_the_command_line(dataset: Dataset, run: Path, tmp_path: Path) -> None:
    given = ["sample", str(run), "--vary", KEY, "--json", "-n", "1", "--steps", "2"]
    ended = CliRunner().invoke(app, [*given, "--out", str(tmp_path / "key")])
    assert ended.exit_code == 0, ended.output
    (receipt,) = (tmp_path / "key").glob("*.json")
    made = json.loads(receipt.read_text())["made"]
    assert (made["prompt"], made["vary"], made["mix"]) == ("", KEY, 0.0)
    file = tmp_path / "red.png"
    Image.new("RGB", (20, 20), "red").save(file)
    given[1:3] = [str(run), "a house", "--vary"]
    given[4] = str(file)
    ended = CliRunner().invoke(app, [*given, "--mix", "0.4", "--out", str(tmp_path / "file")])
    assert ended.exit_code == 0, ended.output
    (receipt,) = (tmp_path / "file").glob("*.json")
    made = json.loads(receipt.read_text())["made"]
    assert (made["prompt"], made["vary"], made["mix"]) == ("a house", "red.png", 0.4)
    assert len(made["vary_sha256"]) == 64


def sampled(run: Path, out: Path, prompt: str = "", **more: Any) -> None:
    frenchcat.sample(run, prompt, out, number=1, steps=1, **more)


def test_what_cannot_be_varied_is_refused(dataset: Dataset, run: Path, tmp_path: Path) -> None:
    for wanted in ("000009999", "nowhere.png"):
        with pytest.raises(NotFound, match=f"{wanted} is neither an image file nor a key"):
            sampled(run, tmp_path, vary=wanted)
    with pytest.raises(UserError, match=r"--mix 0\.5 mixes the prompt with an image; add --vary"):
        sampled(run, tmp_path, "a house", mix=0.5)
    with pytest.raises(UserError, match=r"mix 0\.5 moves an image towards a prompt"):
        sampled(run, tmp_path, vary=KEY, mix=0.5)
    with pytest.raises(UserError, match=r"mix is 1\.5; give 0"):
        sampled(run, tmp_path, "a house", vary=KEY, mix=1.5)
    plain = train(chosen(dataset, tmp_path / "plain", model={"image_vector": False}))
    with pytest.raises(UserError, match="not trained on images' vectors"):
        sampled(plain, tmp_path, vary=KEY)
    with dataset.lock():
        query = RemovalQuery("url", frenchcat.open(dataset.root).rows(["url"])["url"][35].as_py())
        gone = matches(dataset, query)
        remove(dataset, query, gone)
    with pytest.raises(NotFound, match=gone[0].key):
        sampled(run, tmp_path, vary=gone[0].key)


def test_settings_that_cannot_be_told_images_are_refused(
    dataset: Dataset, run: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"model\.pooled, which is false"):
        train(chosen(dataset, tmp_path / "run", model={"pooled": False}))
    tars = write_tars(tmp_path / "tars", 1)
    with pytest.raises(UserError, match=r"data\.tars have none"):
        train(settings(tars, tmp_path / "run", model=TOLD))
    with pytest.raises(UserError, match=r"model\.image_vector is for networks of our own"):
        train(chosen(dataset, tmp_path / "run", model={"start": str(_unet(run))}))
    entry = dataset.manifest().entry("embed")
    other = StageEntry(settings={**(entry.settings or {}), "weights": "0" * 64})
    with dataset.lock():
        record_entry(dataset, "embed", other)
    try:
        with pytest.raises(ModelMismatch, match=r"set text\.model"):
            train(chosen(dataset, tmp_path / "run"))
    finally:
        with dataset.lock():
            record_entry(dataset, "embed", entry)


def _unet(run: Path) -> Path:
    return open_run(run)[2] / "unet"
