"""What the model sees of a picture: mirrored half of the time, cut or padded, never squeezed."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from frenchcat.curate.config import resolve
from frenchcat.train.layout import buckets_of
from frenchcat.train.pictures import edges_of, fitted, shapes_of
from frenchcat.train.randomness import SampleRandomness
from frenchcat.train.settings import DataSettings


def places(width: int, height: int) -> Image.Image:
    """Each pixel tells its place: red across, green down, blue 99."""
    pixels = np.full((height, width, 3), 99, np.uint8)
    pixels[..., 0], pixels[..., 1] = np.arange(width), np.arange(height)[:, None]
    return Image.fromarray(pixels)


def data(**values: object) -> DataSettings:
    return resolve(DataSettings, {"flip": False, "size": 16} | values)


def many(picture: Image.Image, chosen: DataSettings, times: int = 300) -> list[NDArray[np.uint8]]:
    return [fitted(picture, (16, 16), chosen, SampleRandomness(0, 0, str(n))) for n in range(times)]


def test_half_are_mirrored_left_to_right() -> None:
    picture = places(16, 16)
    plain = np.asarray(picture)
    found = many(picture, data(flip=True))
    mirrored = [bool((one == plain[:, ::-1]).all()) for one in found]
    assert all(m or (one == plain).all() for m, one in zip(mirrored, found, strict=True))
    assert np.mean(mirrored) == pytest.approx(0.5, abs=0.1)
    epochs = [
        fitted(picture, (16, 16), data(flip=True), SampleRandomness(0, n, "a")) for n in range(300)
    ]
    assert np.mean([(one == plain).all() for one in epochs]) == pytest.approx(0.5, abs=0.1)
    assert all((one == plain).all() for one in many(picture, data(), 50))


def test_the_center_is_the_middle_at_its_own_proportions() -> None:
    wide, high = places(48, 16), places(16, 48)
    assert (
        fitted(wide, (16, 16), data(), SampleRandomness(0, 0, "a")) == np.asarray(wide)[:, 16:32]
    ).all()
    assert (
        fitted(high, (16, 16), data(), SampleRandomness(0, 0, "a")) == np.asarray(high)[16:32]
    ).all()
    twice = np.asarray(places(96, 32), float)[:, 32:64].reshape(16, 2, 16, 2, 3).mean((1, 3))
    halved = fitted(places(96, 32), (16, 16), data(), SampleRandomness(0, 0, "a"))
    assert np.abs(halved - twice).max() <= 1


def test_random_crops_lie_anywhere_at_their_own_proportions() -> None:
    for picture, axis in ((places(48, 16), 0), (places(16, 48), 1)):
        found = np.array(many(picture, data(crop="random")), float)
        along = found[..., axis] if axis == 0 else found[..., 1].swapaxes(1, 2)
        steps = np.diff(along, axis=2)
        assert np.abs(steps.mean((1, 2)) - 1).max() < 0.1
        first = along[:, 0, 0]
        assert first.min() <= 2
        assert first.max() >= 30
        assert first.mean() == pytest.approx(16, abs=2.5)
        assert first.std() == pytest.approx(32 / 12**0.5, abs=1.5)


@pytest.mark.parametrize(("width", "height"), [(48, 16), (16, 48)])
def test_padding_keeps_the_whole_picture_on_white(width: int, height: int) -> None:
    found = fitted(places(width, height), (16, 16), data(crop="pad"), SampleRandomness(0, 0, "a"))
    if height > width:
        found = found.swapaxes(0, 1)[..., [1, 0, 2]]
    white = (found == 255).all((1, 2))
    assert white[:5].all()
    assert white[-5:].all()
    assert not white[7:9].any()
    assert found[8, 0, 0] <= 3
    assert found[8, -1, 0] >= 44
    assert (found[8, :, 2] == 99).all()


@examples(max_examples=40)
@example([0.5, 2.0], 1.1)  # nearer to 2 by ratio, to .5 by difference
@example([0.5, 2.0], 0.9)
@given(
    st.lists(st.sampled_from([0.4, 0.5, 0.75, 1.0, 1.33, 1.5, 2.0, 3.0]), min_size=1, unique=True),
    st.floats(0.1, 8),
)
def test_a_picture_goes_to_the_bucket_of_the_nearest_aspect(
    aspects: list[float], aspect: float
) -> None:
    apart = np.abs(np.log(sorted(aspects)) - np.log(aspect))
    buckets = buckets_of(np.array([aspect]), edges_of(aspects))
    chosen = 0 if buckets is None else int(buckets[0])
    assert apart[chosen] == pytest.approx(apart.min(), abs=1e-9)


def test_buckets_have_their_aspects_and_about_one_area() -> None:
    aspects = (2.0, 0.5, 1.0, 0.75)
    shapes = shapes_of(data(size=256, aspects=aspects))
    for (width, height), aspect in zip(shapes, sorted(aspects), strict=True):
        assert width % 8 == height % 8 == 0
        assert width / height == pytest.approx(aspect, rel=0.05)
        assert width * height == pytest.approx(256 * 256, rel=0.05)
    assert shapes_of(data(size=8)) == [(8, 8)]
