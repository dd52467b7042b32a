"""Drawing inside a mask: what lies outside is the picture's own, and the rest fits to it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from frenchcat.curate.config import resolve
from frenchcat.curate.errors import UserError
from frenchcat.drawing_files import draw_to_files
from frenchcat.train.draw import SampleRequest, draw
from frenchcat.train.inpaint import known_of
from frenchcat.train.run import Parts, make_parts
from frenchcat.train.sampler import SAMPLERS
from frenchcat.train.settings import TrainSettings
from tests.train.pipelines import tiny_vae

WANTED = [SampleRequest("a cat", 3)]


@pytest.fixture(scope="module")
def parts() -> Parts:
    values = {"data": {"size": 16}, "model": {"channels": [8, 16], "head_dim": 8}}
    return make_parts(resolve(TrainSettings, values))


@pytest.fixture(scope="module")
def latent(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    folder = tmp_path_factory.mktemp("vae")
    tiny_vae().save_pretrained(folder)
    model = {"channels": [8, 16], "head_dim": 8, "vae": str(folder)}
    return make_parts(resolve(TrainSettings, {"data": {"size": 16}, "model": model}))


def picture(size: tuple[int, int] = (16, 16)) -> Image.Image:
    chance = np.random.default_rng(0)
    return Image.fromarray(chance.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def mask(white: slice = slice(8, 16), size: tuple[int, int] = (16, 16)) -> Image.Image:
    """White in some columns."""
    found = np.zeros((size[1], size[0]), np.uint8)
    found[:, white] = 255
    return Image.fromarray(found)


def drawn(parts: Parts, **how: Any) -> np.ndarray:
    return np.asarray(draw(parts, WANTED, steps=3, **how)[0], int)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_outside_the_mask_the_picture_is_its_own(parts: Parts, sampler: str) -> None:
    found = drawn(parts, start=picture(), mask=mask(), sampler=sampler)
    assert np.array_equal(found[:, :8], np.asarray(picture())[:, :8])
    assert (found[:, 8:] != np.asarray(picture())[:, 8:]).mean() > 0.5


def test_in_latents_it_is_the_pictures_own_to_the_bit(latent: Parts) -> None:
    odd = mask(slice(7, 16))  # cuts through a latent of two pixels
    found = drawn(latent, start=picture(), mask=odd)
    assert np.array_equal(found[:, :7], np.asarray(picture())[:, :7])
    assert (found[:, 7:] != np.asarray(picture())[:, 7:]).mean() > 0.5
    known = known_of(picture(), odd, (16, 16), latent.codec, torch.zeros(1))
    assert known.drawn[0, 0, 0].tolist() == [False] * 3 + [True] * 5


def test_a_white_mask_draws_as_without_the_picture(parts: Parts) -> None:
    whole = drawn(parts, start=picture(), mask=mask(slice(0, 16)))
    noise = draw(parts, WANTED, steps=3, start=picture())[0]  # at strength 1, noised wholly
    assert np.abs(whole - np.asarray(noise, int)).max() <= 1


def test_what_is_drawn_depends_on_what_is_known(parts: Parts) -> None:
    other = Image.new("RGB", (16, 16), "red")
    one, two = (drawn(parts, start=start, mask=mask()) for start in (picture(), other))
    assert (one[:, 8:] != two[:, 8:]).any()


def test_each_step_has_the_known_picture_as_it_should_be_noised(parts: Parts) -> None:
    known = known_of(picture(), mask(), (16, 16), parts.codec, torch.zeros(1))
    x, t = torch.randn(1, 3, 16, 16), torch.tensor([400])
    guess = torch.rand(1, 3, 16, 16), torch.randn(1, 3, 16, 16)
    x_0, eps = known.within(lambda x, t: guess, parts.diffusion)(x, t)
    a, s = (float(one) for one in parts.diffusion.coefficients(t))
    torch.testing.assert_close(x_0[..., :8], known.x_0[..., :8])
    torch.testing.assert_close((a * x_0 + s * eps)[..., :8], x[..., :8])
    assert torch.equal(x_0[..., 8:], guess[0][..., 8:])
    assert torch.equal(eps[..., 8:], guess[1][..., 8:])


def test_a_mask_is_cut_as_its_picture_is(parts: Parts) -> None:
    wide, white = picture((32, 16)), mask(slice(0, 16), (32, 16))
    found = drawn(parts, start=wide, mask=white)
    middle = np.asarray(wide)[:, 8:24]
    assert np.array_equal(found[:, 8:], middle[:, 8:])
    assert (found[:, :8] != middle[:, :8]).mean() > 0.5


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (mask(size=(8, 8)), r"the mask has 8 x 8 pixels, and the image 16 x 16; give a mask of"),
        (mask(slice(0, 0)), "the mask is black everywhere"),
    ],
)
def test_a_mask_that_does_not_fit_is_one_line(parts: Parts, given: Image.Image, match: str) -> None:
    with pytest.raises(UserError, match=match):
        drawn(parts, start=picture(), mask=given)


def test_a_mask_without_an_image_is_one_line(parts: Parts, tmp_path: Path) -> None:
    mask().save(tmp_path / "mask.png")
    opened: Any = (parts, None, tmp_path)
    with pytest.raises(
        UserError, match=r"mask\.png says where an image is drawn anew; add --image"
    ):
        draw_to_files(
            tmp_path,
            ["a cat"],
            tmp_path / "out",
            number=1,
            mask=tmp_path / "mask.png",
            opened=opened,
        )
