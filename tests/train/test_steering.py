"""CLIP as a guide: it sees what the encoder sees, and its gradient raises the cosine."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from frenchcat.curate.clip.model import Clip
from frenchcat.curate.config import resolve
from frenchcat.curate.errors import UserError
from frenchcat.train.classifier import Classifier, TrainedClassifier
from frenchcat.train.draw import SampleRequest, draw, noise_of
from frenchcat.train.guidance import Guided
from frenchcat.train.model import Codec, network_of
from frenchcat.train.run import Parts, make_parts
from frenchcat.train.sampler import sample, timesteps
from frenchcat.train.settings import ClassifierSettings, TextSettings, TrainSettings
from frenchcat.train.steering import classifier_guide, clip_guide, clip_of, image_embedding
from tests.sample.pictures import noise
from tests.train.runs import settings, values


@pytest.fixture(scope="module")
def clip() -> Clip:
    return clip_of(TextSettings())


@pytest.fixture(scope="module")
def parts() -> Parts:
    """Untrained: its answers are arbitrary, and differentiable."""
    return make_parts(resolve(TrainSettings, values(Path("nowhere"), Path("nowhere"))))


def x_0(pictures: list[Image.Image]) -> torch.Tensor:
    pixels = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures]))
    return pixels.permute(0, 3, 1, 2) / 127.5 - 1


@pytest.mark.parametrize(("size", "least"), [(None, 0.9999), (32, 0.99)])
def test_the_differentiable_encoder_is_the_encoder(
    clip: Clip, size: int | None, least: float
) -> None:
    pictures = [noise(seed, 16).resize((64, 64)) for seed in range(3)]
    side = size or clip.preprocess.height
    pictures = [picture.resize((side, side)) for picture in pictures]
    ours = image_embedding(clip)(x_0(pictures)).detach().numpy()
    assert float((ours * clip.encode_images(pictures)).sum(1).min()) > least


def test_it_steers_to_the_prompts(clip: Clip, parts: Parts) -> None:
    prompts = ["a red apple", "the flag of France", "a yellow sun", "a green tree"]
    requests = [SampleRequest(prompt, n) for n, prompt in enumerate(prompts)]
    texts = clip.encode_texts(prompts)

    def cosines(weight: float) -> np.ndarray:
        pictures = draw(parts, requests, steps=8, guidance=1.0, guides=[clip_guide(clip, weight)])
        return (clip.encode_images(pictures) * texts).sum(1)

    # How far one prompt gets depends on a processor's rounding: the weights are untrained.
    gain = cosines(100.0) - cosines(0.0)
    assert gain.min() > 0.01
    assert gain.mean() > 0.05


def test_a_weight_of_nought_changes_nothing(clip: Clip, parts: Parts) -> None:
    plain, steered = (
        draw(parts, [SampleRequest("a cat")], steps=3, guides=guides)[0]
        for guides in ((), [clip_guide(clip, 0.0)])
    )
    assert np.array_equal(np.asarray(plain), np.asarray(steered))


def test_latents_are_refused(clip: Clip, parts: Parts) -> None:
    latent = Parts(parts.settings, parts.unet, parts.text, Codec(), parts.diffusion)
    latent.codec.vae = object()
    condition = parts.text(["a cat"])
    with pytest.raises(UserError, match="draws latents"):
        clip_guide(clip, 1.0)(latent, ["a cat"], condition)


FITS: dict[str, dict[str, Any]] = {
    "data.size": {"data": {"size": 32}},
    "diffusion.schedule": {"diffusion": {"schedule": "linear"}},
    "diffusion.steps": {"diffusion": {"steps": 500}},
    "diffusion.zero_terminal": {"diffusion": {"zero_terminal": True}},
    "model.vae": {"model": {"vae": "elsewhere"}},
}


@pytest.mark.parametrize("name", [None, *FITS])
def test_a_classifier_steers_what_it_was_trained_for_and_nothing_else(
    parts: Parts, name: str | None
) -> None:
    """Towards the label that was asked for; another noise, size or space is refused."""
    nowhere, more = Path("nowhere"), FITS.get(name or "", {})
    changed = settings(nowhere, nowhere, **more)
    classes = ("cold", "warm", "hot")

    def network(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))  # each class likes a colour

    trained = TrainedClassifier(nowhere, changed, 1, "0" * 64, classes, network)
    guide, condition = classifier_guide(trained, "hot", 2.0), parts.text(["a cat", "a dog"])
    if name is not None:
        with pytest.raises(UserError, match=name):
            guide(parts, ["a cat", "a dog"], condition)
        return
    x = torch.zeros(2, 3, 16, 16)
    slope = guide(parts, ["a cat", "a dog"], condition)(x, torch.tensor([5, 5]), x).sum((2, 3))
    closed = 2.0 * (torch.tensor([0.0, 0.0, 1.0]) - 1 / 3)
    torch.testing.assert_close(slope, closed.expand(2, 3))
    with pytest.raises(UserError, match="known: cold, warm, hot"):
        classifier_guide(trained, "tepid", 2.0)


def test_a_classifier_is_told_the_time() -> None:
    torch.manual_seed(0)
    network = Classifier(ClassifierSettings(channels=(8, 16)), 3, 2)
    x = torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        early, late = (network(x, torch.tensor([t])) for t in (10, 900))
    assert not torch.allclose(early, late, atol=1e-4)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
def test_a_drawing_is_the_samplers_under_guidance(parts: Parts, sampler: str) -> None:
    """Put together by hand; the noise on the way is another at each step, and not the start's."""
    drawn: list[torch.Tensor] = []

    def fresh(n: int) -> torch.Tensor:
        drawn.append(noise_of(5, parts.shape, n + 1)[None])
        return drawn[-1]

    condition = parts.text(["a dog", "a cat"])
    predict = Guided(
        network_of(parts.unet),
        parts.diffusion,
        parts.settings.diffusion.target,
        condition.part(1, 2),
        condition.part(0, 1),
        9.0,
        clip_x_0=1.0,
    )
    start = noise_of(5, parts.shape)[None]
    times = timesteps(len(parts.diffusion), 4)
    by_hand = parts.codec.decode(sample(sampler, predict, parts.diffusion, start, times, fresh))
    (picture,) = draw(
        parts, [SampleRequest("a cat", 5, "a dog")], steps=4, guidance=9.0, sampler=sampler
    )
    apart = by_hand[0].permute(1, 2, 0).float() - torch.from_numpy(np.array(picture)).float()
    assert float(apart.abs().max()) <= 1
    noises = [start, *drawn]
    assert len({float(noise.sum()) for noise in noises}) == len(noises)
