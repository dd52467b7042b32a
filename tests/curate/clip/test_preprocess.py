"""Pixel for pixel what open_clip's own preprocessing gives."""

import numpy as np
import pytest
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torchvision.transforms import Compose, Normalize, ToTensor

from frenchcat.curate.clip.preprocess import Preprocess
from tests.sample.pictures import random_pictures

SIZES = [(64, 64), (640, 64), (65, 641), (63, 64), (5, 200), (333, 500), (20, 30), (99, 98)]


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [64, 63, (48, 80), (80, 48)])
def test_same_pixels_as_open_clip(
    mode: str, interpolation: str, size: int | tuple[int, int]
) -> None:
    settings = PreprocessCfg(size=size, resize_mode=mode, interpolation=interpolation, fill_color=7)
    whole = image_transform_v2(settings, is_train=False)
    theirs = Compose([s for s in whole.transforms if not isinstance(s, (ToTensor, Normalize))])
    ours = Preprocess.of(settings)
    for shape in SIZES:
        picture = random_pictures(1, seed=sum(shape))[0].resize(shape)
        np.testing.assert_array_equal(np.asarray(ours(picture)), np.asarray(theirs(picture)))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK", "I;16", "LA"])
def test_every_mode_becomes_rgb_first(mode: str) -> None:
    picture = random_pictures(1)[0].resize((90, 70))
    picture = picture.convert("I").convert(mode) if mode == "I;16" else picture.convert(mode)
    preprocess = Preprocess(64, 64, "shortest", "bicubic")
    assert preprocess(picture).mode == "RGB"
    expected = preprocess(picture.convert("RGB"))
    np.testing.assert_array_equal(np.asarray(preprocess(picture)), np.asarray(expected))


def test_a_picture_too_thin_to_shrink_keeps_a_pixel() -> None:
    """open_clip raises there."""
    assert Preprocess(64, 64, "longest", "bicubic")(Image.new("RGB", (1, 200))).size == (64, 64)


def test_borders_are_filled() -> None:
    white = Image.new("RGB", (100, 50), (255, 255, 255))
    pixels = np.asarray(Preprocess(64, 64, "longest", "bicubic", fill=9)(white))
    assert (pixels[:16] == 9).all()
    assert (pixels[16:48] == 255).all()
    assert (pixels[48:] == 9).all()
