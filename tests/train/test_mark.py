"""The invisible mark: found after what happens to images on the way, and in no image without it."""

import io
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from PIL import Image, ImageDraw

from frenchcat.curate.errors import UserError
from frenchcat.train.mark import ANYWHERE, AT_PLACE, find_mark, marked


@cache
def scene(number: int, width: int = 192, height: int = 144) -> Image.Image:
    """Shapes with hard edges on noise whose power falls with the square of the frequency."""
    rng = np.random.default_rng(number)
    rows, columns = np.fft.fftfreq(height)[:, None, None], np.fft.fftfreq(width)[None, :, None]
    spectrum = np.fft.fft2(rng.standard_normal((height, width, 3)), axes=(0, 1))
    spectrum /= np.hypot(rows, columns) + 1 / width
    noise = np.fft.ifft2(spectrum, axes=(0, 1)).real
    picture = Image.fromarray(np.uint8((128 + 45 * noise / noise.std()).clip(0, 255)))
    draw = ImageDraw.Draw(picture)
    for _ in range(6):
        x, y = rng.integers(0, width), rng.integers(0, height)
        draw.ellipse((x, y, x + width // 4, y + height // 5), tuple(rng.integers(0, 256, 3)))
    return picture


def coded(picture: Image.Image, kind: str, quality: int) -> Image.Image:
    out = io.BytesIO()
    picture.save(out, kind, quality=quality)
    return Image.open(out).convert("RGB")


def smaller(picture: Image.Image) -> Image.Image:
    return picture.resize((picture.width // 2, picture.height // 2))


def larger(picture: Image.Image) -> Image.Image:
    return picture.resize((picture.width * 3 // 2, picture.height * 3 // 2))


def cropped(picture: Image.Image) -> Image.Image:
    left, top = picture.width // 7, picture.height // 5
    return picture.crop((left, top, left + picture.width * 2 // 3, top + picture.height * 2 // 3))


def screenshot(picture: Image.Image) -> Image.Image:
    """Shown at 1.25 times its size on a grey page, and saved as JPEG."""
    page = Image.new("RGB", (picture.width * 2, picture.height * 7 // 4), (240, 240, 242))
    shown = picture.resize((picture.width * 5 // 4, picture.height * 5 // 4))
    page.paste(shown, (picture.width // 3, picture.height // 4))
    return coded(page, "JPEG", 85)


@pytest.mark.parametrize(
    ("happened", "whole"),
    [
        (lambda picture: picture, True),
        (lambda picture: coded(picture, "JPEG", 75), True),
        (lambda picture: coded(picture, "WEBP", 75), True),
        (smaller, True),
        (larger, True),
        (cropped, False),
        (screenshot, False),
        (lambda picture: coded(smaller(cropped(picture)), "JPEG", 90), False),
    ],
)
def test_the_mark_survives_and_the_image_looks_the_same(
    happened: Callable[[Image.Image], Image.Image], whole: bool
) -> None:
    plain = scene(1, 320, 240)
    made = marked(plain)
    changed = np.asarray(made, np.float64) - np.asarray(plain, np.float64)
    assert made.size == plain.size
    assert np.sqrt((changed**2).mean()) < 5
    found = find_mark(happened(made))
    assert (found.found, found.whole) == (True, whole)
    assert found.score >= found.limit == (AT_PLACE if whole else ANYWHERE)


def test_the_scale_tells_how_much_was_cropped() -> None:
    found = find_mark(cropped(marked(scene(2, 320, 240))))
    assert found.scale == pytest.approx(1.5, abs=0.02)


@pytest.mark.parametrize("size", [(64, 64), (96, 64), (48, 80), (600, 520)])
def test_images_of_every_size_are_marked(size: tuple[int, int]) -> None:
    found = find_mark(marked(scene(3, *size)))
    assert found.whole
    assert found.score > 7


def odd(name: str) -> Image.Image:
    rows, columns = np.mgrid[:160, :160]
    rng = np.random.default_rng(0)
    values = {
        "flat": np.full((160, 160), 200),
        "stripes": columns // 4 % 2 * 255,
        "checks": (columns // 8 + rows // 8) % 2 * 255,
        "noise": rng.integers(0, 256, (160, 160)),
        "repeated noise": np.tile(rng.integers(0, 256, (32, 32)), (5, 5)),
        "a strip": rng.integers(0, 256, (20, 2000)),
        "a pixel": np.zeros((1, 1)),
    }[name]
    return Image.fromarray(np.uint8(values))


@pytest.mark.parametrize(
    "picture",
    [
        scene(4),
        screenshot(scene(5, 96, 96)),
        marked(scene(6)).transpose(Image.Transpose.FLIP_LEFT_RIGHT),  # as the docs say
        *map(odd, ["flat", "stripes", "checks", "noise", "repeated noise", "a strip", "a pixel"]),
    ],
)
def test_no_mark_is_found_where_none_is(picture: Image.Image) -> None:
    found = find_mark(picture)
    assert not found.found
    assert found.score < 6.5  # limits stand well above


def test_an_image_that_is_too_small_is_one_line() -> None:
    with pytest.raises(UserError, match=r"47x90 pixels are too few.*--mark") as caught:
        marked(Image.new("RGB", (47, 90)))
    assert "\n" not in str(caught.value)
