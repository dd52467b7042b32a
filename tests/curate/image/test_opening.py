"""One form for every image: upright, 8 bits, sRGB, on white, whatever the file is."""

import io
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from frenchcat.curate.errors import NotFound, UnreadableImage
from frenchcat.curate.image import is_plain, open_image, plugins
from tests.sample import odd_images, profiles
from tests.sample.odd_images import TURNING, by_opencv, drawn, logo, on_white, people_have, saved

OWN = drawn(1)
GREY = OWN.convert("L")
KINDS = {"HEIF": "heic", "MPO": "jpeg", "TIFF": "tiff"}


def off(data: bytes | Image.Image, seen: Image.Image | NDArray[Any]) -> float:
    """How many levels an opened file is off what people see, on average; its form is checked."""
    got = open_image(data)
    assert got.mode == "RGB"
    wanted = np.asarray(seen.convert("RGB") if isinstance(seen, Image.Image) else seen, float)
    assert np.asarray(got).shape == wanted.shape
    return float(np.abs(np.asarray(got, float) - wanted).mean())


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", TURNING)
def test_every_format_that_says_how_it_is_turned_is_turned(kind: str, turn: int) -> None:
    data = saved(OWN, kind, turn)
    assert off(data, OWN) < 4
    assert not is_plain(data) or turn == 1


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_what_is_see_through_in_a_turned_one_is_white(kind: str, turn: int) -> None:
    how = {"lossless": True} if kind == "WEBP" else {}
    data = saved(logo(OWN), kind, turn, **how)
    assert off(data, on_white(logo(OWN))) < 4
    assert not is_plain(data)


def test_a_png_may_say_how_it_is_turned_after_its_pixels() -> None:
    plain, turned = saved(OWN, "PNG"), saved(OWN, "PNG", 6)
    start = turned.index(b"eXIf") - 4
    chunk = turned[start : start + 12 + int.from_bytes(turned[start : start + 4], "big")]
    lying = saved(OWN.transpose(Image.Transpose.ROTATE_90), "PNG")
    late = lying[:-12] + chunk + lying[-12:]
    assert off(late, OWN) == 0
    assert not is_plain(late)
    assert is_plain(plain)


def test_exif_does_not_turn_what_the_boxes_of_its_format_say() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    import pillow_jxl  # noqa: F401

    out = io.BytesIO()
    OWN.save(out, "JXL", exif=exif.tobytes())
    assert off(out.getvalue(), OWN) < 4
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="6"/></x:xmpmeta>'
    assert off(saved(OWN, "AVIF", xmp=xmp), OWN) < 4


def deep(pixels: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(pixels).astype(np.uint16) * 257)


MODES: dict[str, tuple[bytes, Image.Image]] = {
    "1 png": (saved(OWN.convert("1"), "PNG"), OWN.convert("1")),
    "1 tiff": (saved(OWN.convert("1"), "TIFF", 6), OWN.convert("1")),
    "L png": (saved(GREY, "PNG"), GREY),
    "L jpeg": (saved(GREY, "JPEG", 8), GREY),
    "L jpeg2000": (saved(GREY, "JPEG2000"), GREY),
    "LA png": (saved(logo(OWN).convert("LA"), "PNG", 3), on_white(logo(OWN)).convert("L")),
    "LA tiff": (saved(logo(OWN).convert("LA"), "TIFF"), on_white(logo(OWN)).convert("L")),
    "P png": (saved(OWN.quantize(200), "PNG", 6), OWN.quantize(200)),
    "P gif": (saved(OWN.quantize(200), "GIF"), OWN.quantize(200)),
    "P bmp": (saved(OWN.quantize(200), "BMP"), OWN.quantize(200)),
    "16 bits png": (saved(deep(GREY), "PNG"), GREY),
    "16 bits tiff": (saved(deep(GREY), "TIFF", 6), GREY),
    "16 bits jpeg2000": (saved(deep(GREY), "JPEG2000"), GREY),
    "16 bits rgb png": (by_opencv(np.asarray(OWN).astype(np.uint16) * 257, ".png"), OWN),
    "16 bits rgb tiff": (by_opencv(np.asarray(OWN).astype(np.uint16) * 257, ".tiff"), OWN),
    "32 bits of 8": (saved(GREY.convert("I"), "TIFF"), GREY),
    "32 bits of 16": (saved(Image.fromarray(np.asarray(GREY, np.int32) * 257), "TIFF"), GREY),
    "32 bits": (
        saved(
            Image.fromarray((np.asarray(ImageOps.autocontrast(GREY), np.int64) << 23).astype("i4")),
            "TIFF",
        ),
        ImageOps.autocontrast(GREY),
    ),
    "floats of 255": (saved(GREY.convert("F"), "TIFF", 5), GREY),
    "floats of 1": (saved(Image.fromarray(np.asarray(GREY, np.float32) / 255), "TIFF"), GREY),
    "floats rgb": (by_opencv(np.asarray(OWN).astype(np.float32) / 255, ".tiff"), OWN),
    "CMYK jpeg": (saved(OWN.convert("CMYK"), "JPEG", 6), OWN),
    "CMYK tiff": (saved(OWN.convert("CMYK"), "TIFF"), OWN),
    "YCbCr tiff": (saved(OWN.convert("YCbCr"), "TIFF"), OWN),
    "RGBA jxl": (saved(logo(OWN), "JXL", lossless=True), on_white(logo(OWN))),
    "RGBA jpeg2000": (saved(logo(OWN), "JPEG2000"), on_white(logo(OWN))),
}


@pytest.mark.parametrize("name", MODES)
def test_every_depth_and_mode_is_eight_bits_of_rgb(name: str) -> None:
    data, seen = MODES[name]
    assert off(data, seen) < 4


def test_lab_is_what_its_colours_are() -> None:
    to_lab = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    assert off(saved(to_lab.apply(OWN), "TIFF"), OWN) < 4


def test_a_dark_image_of_16_bits_stays_dark() -> None:
    pixels = (np.arange(64).reshape(8, 8) * 4).astype("u2")  # at most 252 of 65,535
    assert np.asarray(open_image(saved(Image.fromarray(pixels), "PNG"))).max() <= 1


def test_an_image_without_a_number_is_black_there() -> None:
    pixels = np.asarray(GREY, np.float32).copy()
    pixels[:8], pixels[8:16], pixels[16:24] = np.nan, np.inf, -np.inf
    wanted = np.dstack([np.nan_to_num(pixels, nan=0, posinf=255, neginf=0)] * 3)
    assert off(saved(Image.fromarray(pixels), "TIFF"), wanted) < 1


KEYED = {  # the samples of a PNG in which one colour means transparent
    "1": (Image.fromarray(np.arange(64).reshape(8, 8) % 2 == 1), {"bits": 1}, 0, 0),
    "2 bits": (Image.fromarray((np.arange(64).reshape(8, 8) % 4 * 85).astype("u1")), {}, 85, 85),
    "8 bits": (Image.fromarray(np.arange(64).reshape(8, 8).astype("u1")), {}, 7, 7),
    "16 bits": (Image.fromarray((np.arange(64).reshape(8, 8) * 900).astype("u2")), {}, 2700, 2700),
    "colour": (OWN.resize((8, 8)), {}, OWN.resize((8, 8)).getpixel((2, 3)), None),
}


@pytest.mark.parametrize("name", KEYED)
def test_the_transparent_colour_of_a_png_is_white(name: str) -> None:
    image, _, key, _ = KEYED[name]
    data = saved(image, "PNG", transparency=key)
    wanted = np.array(open_image(image), float)
    hit = np.asarray(image) == np.asarray(key)
    wanted[hit if hit.ndim == 2 else hit.all(-1)] = 255
    assert off(data, wanted) == 0


def png(depth: int, colour: int, rows: bytes, size: tuple[int, int], key: bytes) -> bytes:
    """A PNG of any depth, by hand."""
    import struct
    import zlib

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"tRNS", key) + chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + parts + chunk(b"IEND", b"")


def test_the_transparent_colour_is_in_the_depth_of_the_file() -> None:
    four = png(4, 0, b"\0\x01\x23" + b"\0\x45\x67", (4, 2), b"\0\x05")
    levels = [[0, 17, 34, 51], [68, 255, 102, 119]]
    assert np.asarray(open_image(four))[..., 0].tolist() == levels
    wide = b"\0" + b"\x12\x34\x56\x78\x9a\xbc" + b"\xff\x00\x80\x00\x00\x00"
    sixteen = png(16, 2, wide, (2, 1), b"\x12\x34\x56\x78\x9a\xbc")
    assert np.asarray(open_image(sixteen)).tolist() == [[[255] * 3, [255, 128, 0]]]


# -- profiles --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "turn"), [("JPEG", 6), ("PNG", 1), ("WEBP", 8), ("TIFF", 3), ("AVIF", 5)]
)
def test_a_wide_profile_becomes_srgb(kind: str, turn: int) -> None:
    how = {"lossless": True} if kind == "WEBP" else {}
    data = saved(OWN, kind, turn, icc_profile=profiles.wide(1.6), **how)
    seen = profiles.wide_in_srgb(np.asarray(OWN), 1.6)
    assert np.abs(seen - np.asarray(OWN, float)).mean() > 8, "the profile says something"
    assert off(data, seen) < 4
    assert not is_plain(data)


def test_the_profile_holds_for_what_is_not_transparent() -> None:
    data = saved(logo(OWN), "PNG", icc_profile=profiles.wide(1.6))
    opaque = np.asarray(logo(OWN))[..., 3:] == 255
    seen = np.where(opaque, profiles.wide_in_srgb(np.asarray(OWN), 1.6), 255)
    assert off(data, seen) < 2


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_grey_profile_becomes_srgb(kind: str) -> None:
    data = saved(GREY, kind, icc_profile=profiles.grey(1.0))
    seen = profiles.encoded(np.asarray(GREY, float) / 255)
    assert off(data, np.dstack([seen] * 3)) < 3
    assert not is_plain(data)


def test_a_press_s_profile_becomes_srgb() -> None:
    inks = OWN.convert("CMYK")
    profile = profiles.press()
    seen = ImageCms.profileToProfile(
        inks,
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        outputMode="RGB",
    )
    assert seen is not None
    assert np.abs(np.asarray(seen, float) - np.asarray(inks.convert("RGB"))).mean() > 8
    assert off(saved(inks, "TIFF", 6, icc_profile=profile), seen) < 1


def test_srgb_under_its_own_name_changes_nothing_and_is_plain() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for image in (OWN, GREY):
        data = saved(image, "PNG", icc_profile=profile)
        assert off(data, image) == 0
        assert is_plain(data)


@pytest.mark.parametrize(
    ("image", "profile"),
    [
        (OWN, b"no profile at all"),
        (OWN, profiles.wide(1.6)[:300]),
        (OWN, profiles.grey(1.0)),
        (OWN, profiles.press()),
        (OWN, profiles.wide(1.6) + bytes(5 * 2**20)),
        (OWN.convert("CMYK"), profiles.wide(1.6)),
    ],
    ids=["none", "cut", "grey", "press", "huge", "of light for inks"],
)
def test_a_profile_that_is_broken_or_of_other_colours_is_ignored(
    image: Image.Image, profile: bytes
) -> None:
    assert off(saved(image, "TIFF", 6, icc_profile=profile), image) == 0


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"<html>gone</html>", "it is not an image but html"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "it is not an image but text"),
        (b"", "it is not an image but binary"),
        (saved(OWN, "JPEG")[:-700], "the jpeg is broken"),
        (saved(OWN, "PNG")[:300], "the png is broken"),
        (b"II*\0\x08\0\0\0" + bytes(60), "the tiff is broken"),
    ],
)
def test_what_cannot_be_opened_says_why(data: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match=f"the image cannot be decoded.*{said}.*give"):
        open_image(data)
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(UnreadableImage) as caught:
        open_image(tmp_path / "a.jpg")
    assert str(tmp_path / "a.jpg") in str(caught.value)
    assert said in caught.value.reason
    assert "0x" not in str(caught.value)
    with pytest.raises(NotFound, match="no such file"):
        open_image(tmp_path / "b.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "JXL", "HEIF", "JPEG2000"])
def test_a_size_above_the_limit_is_refused_before_decoding(kind: str) -> None:
    data = saved(OWN, kind)
    open_image(data, max_pixels=120 * 80)
    with pytest.raises(UnreadableImage, match=r"claims 120 x 80 pixels.*at most 9,599"):
        open_image(data, max_pixels=120 * 80 - 1)


def test_a_tiff_for_opencv_obeys_the_limit_and_its_own_orientation() -> None:
    data = by_opencv(np.asarray(OWN).astype(np.float32) / 255, ".tiff")
    with pytest.raises(UnreadableImage, match="claims 120 x 80"):
        open_image(data, max_pixels=9_000)


@pytest.mark.parametrize(("kind", "pip"), [("HEIF", "pi-heif"), ("JXL", "pillow-jxl-plugin")])
def test_a_decoder_that_is_missing_is_named(
    kind: str, pip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = saved(OWN, kind)
    for name in ("pi_heif", "pillow_heif", "pillow_jxl"):
        monkeypatch.setitem(sys.modules, name, None)
    plugins.register.cache_clear()
    try:
        with pytest.raises(UnreadableImage, match=f"is not read; pip install {pip}"):
            open_image(data)
    finally:
        plugins.register.cache_clear()


# -- smaller, quieter ------------------------------------------------------------------------------


def test_a_jpeg_may_be_decoded_smaller_but_not_too_small() -> None:
    large = drawn(2, 1600, 1000)
    for turn in (1, 6):
        got = open_image(saved(large, "JPEG", turn), at_least=(300, 200))
        assert got.size == (400, 250)


def test_an_image_in_memory_has_the_same_form() -> None:
    for kind, turn in (("JPEG", 6), ("PNG", 3), ("TIFF", 8)):
        how = {} if kind == "JPEG" else {"icc_profile": profiles.wide(1.6)}
        data = saved(OWN, kind, turn, **how)
        with Image.open(io.BytesIO(data)) as opened:
            np.testing.assert_array_equal(open_image(opened), open_image(data))
        np.testing.assert_array_equal(open_image(open_image(data)), open_image(data))
    assert off(logo(OWN), on_white(logo(OWN))) < 1
    assert off(deep(GREY), GREY) == 0


def test_odd_files_are_opened_without_a_warning_from_any_thread() -> None:
    image = OWN.quantize(16)
    data = saved(image, "PNG", transparency=bytes([0, 128, 255]))
    before = list(warnings.filters)
    threads = [
        threading.Thread(target=lambda: [open_image(data) for _ in range(20)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


def test_plain_files_are_those_that_need_nothing() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "x")
    for data in (
        saved(OWN, "JPEG"),
        saved(GREY, "JPEG"),
        saved(OWN, "PNG", pnginfo=info),
        saved(OWN, "WEBP"),
    ):
        assert is_plain(data)
    others = [saved(OWN, kind) for kind in ("GIF", "AVIF", "TIFF", "BMP", "HEIF", "JXL")]
    others += [data for name, (data, _) in MODES.items() if name not in ("L png",)]
    assert not any(map(is_plain, others))


def test_every_kind_of_the_sample_looks_as_people_see_it() -> None:
    for name, (data, seen) in people_have().items():
        assert off(data, seen) < 8, name
    assert odd_images.TURNING
