"""One fetched file -> the stored picture: as img2dataset has it, and as Pillow where it errs."""

import hashlib
import io
import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from frenchcat.curate.download.pictures import ImageProcessor, ResizeSettings, StoredImage, Unfit
from frenchcat.curate.download.upstream import img2dataset_module
from frenchcat.curate.image.plugins import register
from frenchcat.curate.image.sniff import sniff
from tests.curate.download.loopback import jpeg
from tests.curate.download.site import picture
from tests.sample.odd_images import people_have

PLAIN = ResizeSettings(resize_mode="no", encode_format="png", encode_quality=1)


def pixels(data: bytes) -> "np.ndarray[Any, Any]":
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def stored(body: bytes, kind: str, **settings: Any) -> StoredImage:
    return ImageProcessor(ResizeSettings(**settings) if settings else PLAIN)(body, kind)


@pytest.mark.parametrize(
    "settings",
    [
        {"resize_mode": mode, "image_size": size, "resize_only_if_bigger": bigger}
        for mode in ("no", "border", "keep_ratio", "keep_ratio_largest", "center_crop")
        for size, bigger in ((48, True), (80, False))
    ]
    + [
        {"encode_format": "png", "encode_quality": 3, "downscale_interpolation": "nearest"},
        {"encode_format": "webp", "encode_quality": 40, "upscale_interpolation": "cubic"},
        {"skip_reencode": True},
    ],
)
@pytest.mark.filterwarnings("ignore:value is deprecated:DeprecationWarning")
def test_a_plain_picture_is_stored_as_img2dataset_stores_it(settings: dict[str, Any]) -> None:
    named = ResizeSettings(**settings)
    names = set(ResizeSettings.__dataclass_fields__) - {"max_aspect_ratio"}
    reference = img2dataset_module("resizer").Resizer(**{n: getattr(named, n) for n in names})
    for body in (jpeg(1), jpeg(2, 40, 90)):
        expected = reference(io.BytesIO(body))
        got = ImageProcessor(named)(body, "jpeg")
        sizes = (got.width, got.height, got.original_width, got.original_height)
        assert (got.data, *sizes, None) == expected


def test_a_file_that_needs_no_resizing_keeps_its_bytes_where_that_is_asked_for() -> None:
    assert stored(jpeg(1), "jpeg", skip_reencode=True).data == jpeg(1)
    assert stored(jpeg(1), "jpeg").data != jpeg(1)
    assert stored(jpeg(1), "jpeg", skip_reencode=True, image_size=32).data != jpeg(1)


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_picture_that_exif_turns_is_stored_turned(turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = turn, "Maker"
    out = io.BytesIO()
    image = Image.open(io.BytesIO(jpeg(3, 64, 24)))
    image.save(out, "JPEG", quality=95, exif=exif)
    got = stored(out.getvalue(), "jpeg")
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(out.getvalue())))
    assert (got.original_width, got.original_height) == expected.size
    difference = pixels(got.data) - np.asarray(expected.convert("RGB")).astype(int)
    assert np.abs(difference).max() <= 2  # two decoders
    assert json.loads(got.exif)["Image Make"] == "Maker"


@pytest.mark.parametrize("mode", ["I;16", "RGB"])
def test_sixteen_bits_become_eight_by_scaling_and_not_by_clipping(mode: str) -> None:
    import cv2

    ramp = np.linspace(0, 65535, 64 * 32).astype(np.uint16).reshape(32, 64)
    deep = ramp if mode == "I;16" else np.dstack([ramp, ramp[::-1], ramp[:, ::-1]])
    for kind in ("png", "tiff"):
        body = bytes(cv2.imencode(f".{kind}", deep)[1].tobytes())
        got = cv2.imdecode(np.frombuffer(stored(body, kind).data, np.uint8), cv2.IMREAD_UNCHANGED)
        assert got.dtype == np.uint8
        wide, seen = (np.dstack([a] * 3) if a.ndim == 2 else a for a in (deep, got.astype(int)))
        assert np.abs(seen - wide / 257).max() <= 1


def with_chunks(body: bytes) -> bytes:
    """The same PNG with texts and a profile in front of its pixels."""
    info, out = PngImagePlugin.PngInfo(), io.BytesIO()
    info.add_text("Comment", "x" * 5000)
    image = Image.open(io.BytesIO(body))
    image.save(out, "PNG", pnginfo=info, icc_profile=b"no profile at all")
    return out.getvalue()


def test_both_digests_are_of_the_bytes_that_they_name() -> None:
    for body, kind in ((jpeg(1), "jpeg"), (with_chunks(picture(kind="PNG")), "png")):
        got = stored(body, kind, image_size=32)
        assert got.sha256 == hashlib.sha256(body).hexdigest()
        assert got.stored_sha256 == hashlib.sha256(got.data).hexdigest() != got.sha256


def palette() -> bytes:
    out = io.BytesIO()
    image = Image.open(io.BytesIO(jpeg(1))).quantize(16)
    image.save(out, "PNG", transparency=3)
    return out.getvalue()


@pytest.mark.parametrize("body", [picture(kind="PNG"), palette()], ids=["rgb", "palette"])
def test_what_a_png_carries_besides_its_pixels_changes_nothing(body: bytes) -> None:
    for sent in (body, with_chunks(body)):
        image = Image.open(io.BytesIO(body)).convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        expected = np.asarray(Image.alpha_composite(white, image).convert("RGB")).astype(int)
        assert np.abs(pixels(stored(sent, "png").data) - expected).max() <= 1


@pytest.mark.parametrize(
    ("body", "kind", "settings", "reason"),
    [
        (jpeg(1)[:-400], "jpeg", {}, "cut_short"),
        (picture(kind="PNG")[:-12], "png", {}, "cut_short"),
        (picture(kind="PNG")[:-30], "png", {}, "cut_short"),
        (b"\xff\xd8\xff\xe0" + bytes(60) + b"\xff\xd9", "jpeg", {}, "undecodable"),
        (b"II*\0\x08\0\0\0" + bytes(60), "tiff", {}, "undecodable"),
        (jpeg(1, 96, 64), "jpeg", {"min_image_size": 65}, "too_small"),
        (jpeg(1, 64, 96), "jpeg", {"min_image_size": 65}, "too_small"),
        (jpeg(1, 96, 64), "jpeg", {"max_aspect_ratio": 1.4}, "aspect_ratio"),
        (jpeg(1, 64, 96), "jpeg", {"max_aspect_ratio": 1.4}, "aspect_ratio"),
        (jpeg(1, 96, 64), "jpeg", {"min_image_size": 64, "max_aspect_ratio": 1.5}, None),
    ],
)
def test_what_is_not_stored_has_its_reason(
    body: bytes, kind: str, settings: dict[str, Any], reason: str | None
) -> None:
    process = ImageProcessor(ResizeSettings(**settings))
    if reason is None:
        process(body, kind)
        return
    with pytest.raises(Unfit) as caught:
        process(body, kind)
    assert str(caught.value).split(":")[0] == reason


def test_a_broken_exif_block_costs_the_exif_and_not_the_picture() -> None:
    broken = (
        jpeg(1)[:2] + b"\xff\xe1\x00\x20Exif\0\0MM\0*\xff\xff\xff\xff" + bytes(16) + jpeg(1)[2:]
    )
    assert stored(broken, "jpeg").exif == "{}"


@pytest.mark.parametrize("name", list(people_have()))
def test_every_kind_of_file_is_stored_as_people_see_it(name: str) -> None:
    body, seen = people_have()[name]
    got = stored(body, sniff(body))
    assert (got.original_width, got.original_height) == (got.width, got.height) == seen.size
    assert np.abs(pixels(got.data) - np.asarray(seen, int)).mean() < 4
    assert got.original_bytes == len(body)
    small = stored(body, sniff(body), image_size=60, skip_reencode=True)
    assert (small.width, small.height) == (60, 40)
    assert Image.open(io.BytesIO(small.data)).format == "JPEG"


def test_a_file_whose_bytes_are_not_what_is_seen_is_encoded_anew_all_the_same() -> None:
    body, seen = people_have()["JPEG turned 6"]
    got = stored(body, "jpeg", skip_reencode=True)
    assert Image.open(io.BytesIO(got.data)).format == "JPEG"
    assert Image.open(io.BytesIO(got.data)).getexif() == {}
    assert Image.open(io.BytesIO(got.data)).size == seen.size


def test_a_kind_without_a_decoder_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    body, _ = people_have()["HEIF turned 6"]
    for name in ("pi_heif", "pillow_heif"):
        monkeypatch.setitem(sys.modules, name, None)
    register.cache_clear()
    try:
        with pytest.raises(Unfit) as caught:
            stored(body, "heic")
    finally:
        register.cache_clear()
    assert str(caught.value) == "undecodable: heic is not read; pip install pi-heif"


def test_threads_change_no_byte() -> None:
    process: Callable[[bytes, str], StoredImage] = ImageProcessor(ResizeSettings(image_size=48))
    bodies = [jpeg(n, 90 + n, 64) for n in range(24)]
    bodies += [people_have()[name][0] for name in ("JPEG of a wide profile", "JPEG in CMYK")] * 4
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda body: process(body, "jpeg"), bodies))
    assert together == [process(body, "jpeg") for body in bodies]


def test_a_compression_level_of_png_has_one_digit() -> None:
    with pytest.raises(ValueError, match="0 to 9"):
        ResizeSettings(encode_format="png")
