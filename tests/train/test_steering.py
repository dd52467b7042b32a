"""CLIP as a guide: it sees what the encoder sees, and its gradient raises the cosine."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from frenchcat.curate.clip.model import Clip
from frenchcat.curate.config import resolve
from frenchcat.curate.errors import UserError
from frenchcat.train.draw import Wish, draw
from frenchcat.train.model import Codec
from frenchcat.train.run import Parts, make_parts
from frenchcat.train.settings import TextSettings, TrainSettings
from frenchcat.train.steering import clip_guide, clip_of, picture_embedding
from tests.train.embedded_run import noise_picture
from tests.train.runs import values


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
    pictures = [noise_picture(seed, 16).resize((64, 64)) for seed in range(3)]
    side = size or clip.preprocess.height
    pictures = [picture.resize((side, side)) for picture in pictures]
    ours = picture_embedding(clip)(x_0(pictures)).detach().numpy()
    assert float((ours * clip.encode_pictures(pictures)).sum(1).min()) > least


def test_it_steers_to_the_prompts(clip: Clip, parts: Parts) -> None:
    wishes = [Wish("a red apple", 0), Wish("the flag of France", 1)]
    texts = clip.encode_texts([wish.prompt for wish in wishes])

    def cosines(weight: float) -> np.ndarray:
        pictures = draw(parts, wishes, steps=8, guidance=1.0, guides=[clip_guide(clip, weight)])
        return (clip.encode_pictures(pictures) * texts).sum(1)

    assert (cosines(300.0) > cosines(0.0) + 0.05).all()


def test_a_weight_of_nought_changes_nothing(clip: Clip, parts: Parts) -> None:
    plain, steered = (
        draw(parts, [Wish("a cat")], steps=3, guides=guides)[0]
        for guides in ((), [clip_guide(clip, 0.0)])
    )
    assert np.array_equal(np.asarray(plain), np.asarray(steered))


def test_latents_are_refused(clip: Clip, parts: Parts) -> None:
    latent = Parts(parts.settings, parts.unet, parts.text, Codec(), parts.diffusion)
    latent.codec.vae = object()
    condition = parts.text(["a cat"])
    with pytest.raises(UserError, match="draws latents"):
        clip_guide(clip, 1.0)(latent, ["a cat"], condition)
