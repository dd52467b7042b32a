"""A JPEG shrunk while it is decoded, beside the full decode and the same resizing."""

import functools
import io
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from bench._photographs import natural, phone_exif
from frenchcat.curate.download.pictures import ImageProcessor, ResizeSettings, StoredImage, Unfit
from frenchcat.curate.image.shrunk import shrunk_jpeg
from tests.sample import arithmetic_jpeg
from tests.sample.profiles import wide

WIDTH, HEIGHT = 1101, 827  # no multiple of 8, nor of each other


@functools.cache
def photograph() -> NDArray[np.uint8]:
    return np.clip(natural(WIDTH, HEIGHT, 0), 0, 255).astype(np.uint8)


@functools.cache
def saved(mode: str = "RGB", turn: int = 0, **how: Any) -> bytes:
    if turn:
        how["exif"] = phone_exif(turn)
    out = io.BytesIO()
    Image.fromarray(photograph()).convert(mode).save(out, "JPEG", **{"quality": 90, **how})
    return out.getvalue()


def stored(body: bytes, margin: float | None = 4.0, **settings: Any) -> StoredImage:
    return ImageProcessor(ResizeSettings(**settings), decode_margin=margin)(body, "jpeg")


def psnr(first: StoredImage, second: StoredImage) -> float:
    ours, other = (np.asarray(Image.open(io.BytesIO(one.data)), float) for one in (first, second))
    assert ours.shape == other.shape
    return float(10 * np.log10(255**2 / ((ours - other) ** 2).mean()))


def decoded(body: bytes, side: int = 60) -> NDArray[np.uint8] | None:
    found = shrunk_jpeg(body, lambda w, h: (side, round(h * side / w)), 4, 10**8)
    return None if found is None else found.pixels


LOSSLESS = {"encode_format": "png", "encode_quality": 1}


@pytest.mark.parametrize("size", [137, 68, 34, 30])  # at 1/2, 1/4, 1/8, 1/8
def test_it_is_the_full_decode_within_forty_decibels(size: int) -> None:
    for subsampling in ("4:2:0", "4:4:4"):
        body = saved(subsampling=subsampling)
        exact = [stored(body, margin, image_size=size, **LOSSLESS) for margin in (4.0, None)]
        assert 45 < psnr(*exact) < 100, "the second was decoded whole"
        # A JPEG of quality 95 is 42 dB from its own pixels, with contrast at every scale.
        assert psnr(*(stored(body, margin, image_size=size) for margin in (4.0, None))) > 39


def test_without_a_margin_each_byte_is_as_it_was() -> None:
    reference = cv2.imdecode(np.frombuffer(saved(), np.uint8), cv2.IMREAD_UNCHANGED)
    small = cv2.resize(reference, (60, 45), interpolation=cv2.INTER_AREA)
    for margin in (None, 20.0):
        got = stored(saved(), margin, image_size=60, **LOSSLESS)
        assert np.array_equal(cv2.imdecode(np.frombuffer(got.data, np.uint8), -1), small)


@pytest.mark.filterwarnings("ignore:value is deprecated:DeprecationWarning")
@pytest.mark.parametrize("mode", ["keep_ratio", "keep_ratio_largest", "border", "center_crop"])
def test_sizes_padding_and_cutting_are_the_resizers(mode: str) -> None:
    bodies = [saved(), saved(turn=6), saved("L")]
    for body in bodies:
        for size, bigger in ((33, True), (64, False)):
            how = {"resize_mode": mode, "image_size": size, "resize_only_if_bigger": bigger}
            ours, whole = (stored(body, margin, **how, **LOSSLESS) for margin in (4.0, None))
            assert 40 < psnr(ours, whole) < 100
            same = replace(whole, data=ours.data, stored_sha256=ours.stored_sha256)
            assert ours == same, "its sizes, EXIF and digest are of the file"


@pytest.mark.parametrize("turn", range(2, 9))
def test_a_turned_one_is_stored_upright(turn: int) -> None:
    body = saved(turn=turn)
    found = shrunk_jpeg(body, lambda w, h: (w // 20, h // 20), 4, 10**8)
    assert found is not None
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(body)))
    assert (found.original_width, found.original_height) == upright.size
    small = upright.resize(found.pixels.shape[1::-1], Image.Resampling.BOX)
    assert np.abs(found.pixels.astype(int) - np.asarray(small)).mean() < 2


def test_colours_of_a_profile_and_of_print_become_srgb() -> None:
    for body in (saved(icc_profile=wide()), saved("CMYK")):
        how = {"image_size": 60, **LOSSLESS}
        assert psnr(*(stored(body, margin, **how) for margin in (4.0, None))) > 42
    plain, wider = (decoded(saved(icc_profile=profile)) for profile in (None, wide()))
    assert plain is not None
    assert wider is not None
    assert np.abs(plain.astype(int) - wider).max() > 10


def test_a_grey_one_stays_grey() -> None:
    found = decoded(saved("L"))
    assert found is not None
    assert found.ndim == 2
    assert Image.open(io.BytesIO(stored(saved("L"), image_size=60).data)).mode == "L"


def test_what_cannot_be_shrunk_is_left_to_the_full_decode() -> None:
    assert decoded(saved()) is not None
    assert decoded(saved(), side=WIDTH // 7) is None, "1/2 would be less than 4 times as large"
    assert shrunk_jpeg(saved(), lambda *_: None, 4, 10**8) is None
    assert shrunk_jpeg(saved(), lambda w, h: (60, 45), 4, WIDTH * HEIGHT - 1) is None
    for body in (saved()[:-5000], saved()[:300], b"\xff\xd8\xff", b""):
        assert decoded(body) is None


def test_the_limits_count_for_the_file_and_not_for_what_is_decoded() -> None:
    body = saved()
    for settings in ({"min_image_size": HEIGHT}, {"max_aspect_ratio": WIDTH / HEIGHT}):
        how = {"image_size": 60, **LOSSLESS, **settings}
        assert 40 < psnr(*(stored(body, margin, **how) for margin in (4.0, None))) < 100
    for settings in ({"min_image_size": HEIGHT + 1}, {"max_aspect_ratio": 1.33}):
        with pytest.raises(Unfit, match=r"too_small|aspect_ratio"):
            stored(body, image_size=60, **settings)


def test_interpolations_that_pick_single_pixels_decode_the_whole() -> None:
    for name in ("nearest", "linear"):
        how = {"downscale_interpolation": name, "image_size": 60}
        assert stored(saved(), 4.0, **how) == stored(saved(), None, **how)


def test_progressive_arithmetic_and_cut_ones() -> None:
    for body in (saved(), saved(progressive=True)):
        assert stored(body, image_size=60).data == stored(saved(), image_size=60).data
    coded = stored(arithmetic_jpeg.BODY, image_size=16, **LOSSLESS)
    expected = cv2.resize(arithmetic_jpeg.seen(), (16, 12), interpolation=cv2.INTER_AREA)
    assert np.abs(np.asarray(Image.open(io.BytesIO(coded.data)), int) - expected).max() <= 3
    for body in (saved(), saved(progressive=True), saved("CMYK"), saved(turn=6)):
        with pytest.raises(Unfit, match="cut_short: the jpeg has no end"):
            stored(body[: len(body) // 2], image_size=60)


def test_twelve_bits_are_named() -> None:
    body = bytearray(saved())
    at = body.index(b"\xff\xc0")
    body[at + 1], body[at + 4] = 0xC1, 12  # an extended frame, ITU T.81 table B.2
    with pytest.raises(Unfit, match="undecodable: a jpeg of 12 bits is not read; save it in 8"):
        stored(bytes(body), image_size=60)
