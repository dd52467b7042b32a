import io
import struct
import time
from contextlib import suppress
from typing import Any

import pillow_jxl  # noqa: F401  # has Pillow write JPEG XL
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from frenchcat.curate.image.header import stated_size
from frenchcat.curate.image.sniff import IMAGE_KINDS, sniff
from tests.curate.download.site import picture

# Every way of writing a header that Pillow, the reference here, has.
WAYS: list[tuple[str, dict[str, Any]]] = [
    ("JPEG", {}),
    ("JPEG", {"progressive": True}),
    ("JPEG", {"exif": b"Exif\0\0" + b"\xff\xc0\0\x11\x08\xff\xff\xff\xff" * 50}),
    ("JPEG", {"comment": b"\xff\xda" * 1000}),
    ("PNG", {}),
    ("GIF", {}),
    ("GIF", {"comment": b"x" * 1000}),
    ("WEBP", {}),
    ("WEBP", {"lossless": True}),
    ("WEBP", {"exif": b"Exif\0\0abcd"}),
    ("AVIF", {"speed": 10}),
    ("BMP", {}),
    ("TIFF", {}),
    ("TIFF", {"big_tiff": True}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("JPEG2000", {}),
    ("JPEG2000", {"no_jp2": True}),
    ("JXL", {"effort": 1}),
    ("JXL", {"effort": 1, "use_container": True}),
]


@pytest.mark.parametrize(("kind", "options"), WAYS)
@settings(max_examples=15, deadline=None)
@given(width=st.integers(1, 700), height=st.integers(1, 700))
def test_sizes_are_those_pillow_sees(
    kind: str, options: dict[str, Any], width: int, height: int
) -> None:
    body = picture(width, height, kind, **options)
    assert Image.open(io.BytesIO(body)).size == (width, height)
    assert stated_size(body, sniff(body)) == (width, height)


def test_a_bitmap_may_be_upside_down_or_of_the_first_version() -> None:
    body = bytearray(picture(30, 20, "BMP"))
    body[22:26] = struct.pack("<i", -20)
    assert stated_size(bytes(body), "bmp") == (30, 20) == Image.open(io.BytesIO(body)).size
    core = b"BM" + bytes(12) + struct.pack("<IHHHH", 12, 30, 20, 1, 24)
    assert sniff(core) == "bmp"
    assert stated_size(core, "bmp") == (30, 20) == Image.open(io.BytesIO(core)).size


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("start", [2**63, 2**64 - 1])
def test_an_offset_past_all_memory_is_a_header_cut_short(order: str, start: int) -> None:
    mark = b"II" if order == "<" else b"MM"
    body = mark + struct.pack(order + "HHHQ", 43, 8, 0, start) + bytes(100)
    with pytest.raises(ValueError, match="the tiff header is cut short"):
        stated_size(body, "tiff")


def heic(*boxes: tuple[int, int]) -> bytes:
    def box(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I4s", 8 + len(content), name) + content

    ispe = b"".join(box(b"ispe", struct.pack(">III", 0, *size)) for size in boxes)
    meta = box(b"meta", bytes(4) + box(b"hdlr", bytes(25)) + box(b"iprp", box(b"ipco", ispe)))
    return box(b"ftyp", b"heic\0\0\0\0mif1heic") + box(b"free", b"") + meta + box(b"mdat", b"x")


def test_a_jpeg_xl_states_its_size_by_a_ratio_or_in_eighths() -> None:
    for width, height in ((64, 64), (96, 64), (640, 480), (1920, 1080), (300, 200), (4000, 7)):
        assert stated_size(picture(width, height, "JXL", effort=1), "jxl") == (width, height)
    # as a whole JPEG in it has them: 4000 x 3000, both by their bits
    bits = (0 | (3 << 1) | (2999 << 3) | (0 << 33) | (3 << 36) | (3999 << 38)).to_bytes(
        10, "little"
    )
    assert stated_size(b"\xff\x0a" + bits + bytes(4), "jxl") == (4000, 3000)


def test_the_largest_of_several_stated_sizes_counts() -> None:
    assert stated_size(heic((160, 120), (4032, 3024), (512, 512)), "heic") == (4032, 3024)
    gif = bytearray(picture(10, 10, "GIF"))
    frame = gif.index(b"\x2c", 13 + 3 * 2 ** ((gif[10] & 7) + 1))
    gif[frame + 5 : frame + 9] = struct.pack("<HH", 60_000, 60_000)
    assert stated_size(bytes(gif), "gif") == (60_000, 60_000)
    jpeg = picture(10, 10)
    sof = b"\xff\xc0\0\x0b\x08" + struct.pack(">HH", 50_000, 50_001) + b"\1\1\x11\0"
    assert stated_size(jpeg[:2] + sof + jpeg[2:], "jpeg") == (50_001, 50_000)
    tile = struct.pack("<HHII", 322, 4, 1, 40_000) + struct.pack("<HHII", 323, 4, 1, 40_000)
    side = struct.pack("<HHII", 256, 4, 1, 16) + struct.pack("<HHII", 257, 4, 1, 16)
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<H", 4) + side + tile + bytes(4)
    assert stated_size(tiff, "tiff") == (40_000, 40_000)


PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (PNG + struct.pack(">I4sII", 13, b"IHDR", 0, 5), "png"),
        (PNG + struct.pack(">I4sII", 13, b"IHDR", 2**31, 1), "png"),
        (PNG + struct.pack(">I4sII", 13, b"iCCP", 5, 5), "png"),
        (b"\xff\xd8\xff\xe0\0\x02\xff\xda", "jpeg"),
        (b"\xff\xd8\xff\xc0\0\x0b\x08\0\0\0\x05\1\1\x11\0\xff\xda", "jpeg"),
        (b"\xff\xd8" + b"\xff\x01" * 4_000_000, "jpeg"),
        (b"GIF89a" + bytes(7) + b"\x3b", "gif"),
        (b"GIF89a\1\0\1\0\0\0\0\x21\xfe" + b"\1x" * 100_000, "gif"),
        (b"RIFF\0\0\0\0WEBPJUNK" + bytes(40), "webp"),
        (b"RIFF\0\0\0\0WEBPVP8 " + bytes(40), "webp"),
        (b"RIFF\0\0\0\0WEBPVP8L" + bytes(40), "webp"),
        (b"BM" + bytes(12) + struct.pack("<Iii", 40, -5, 5), "bmp"),
        (b"II*\0\x08\0\0\0\0\0", "tiff"),
        (b"II*\0\xff\xff\xff\xff", "tiff"),
        (b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**63), "tiff"),
        (b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 256, 2, 1, 5), "tiff"),
        (b"\xff\x0a" + bytes(5), "jxl"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40), "jxl"),
        (b"\xff\x4f\xff\x51\0\x29\0\0" + struct.pack(">IIII", 5, 5, 5, 0), "jpeg2000"),
        (b"\0\0\0\x0cjP  \r\n\x87\n" + struct.pack(">I4s", 8, b"free") * 30_000, "jpeg2000"),
        (heic(), "heic"),
        (heic((0, 7)), "heic"),
        (heic((3, 7))[:-20], "heic"),
        (b"\0\0\0\x0cftypheic" + struct.pack(">I4s", 9, b"free") * 100_000, "heic"),
        (b"\0\0\0\x0cftypheic" + struct.pack(">I4s", 8, b"free") * 100_000, "heic"),
    ],
)
def test_hostile_headers_are_errors_and_cost_nothing(body: bytes, kind: str) -> None:
    begun = time.process_time()
    with pytest.raises(ValueError, match=r"."):
        stated_size(body, kind)
    assert time.process_time() - begun < 0.5


@pytest.mark.parametrize(("kind", "options"), WAYS)
def test_a_header_cut_anywhere_is_an_error_or_still_right(
    kind: str, options: dict[str, Any]
) -> None:
    body = picture(40, 30, kind, **options)
    for length in range(12, len(body), 7):
        with suppress(ValueError):
            assert stated_size(body[:length], sniff(body)) == (40, 30)


@settings(max_examples=300)
@given(st.data(), st.sampled_from(WAYS))
def test_damaged_headers_give_a_positive_size_or_an_error(
    data: st.DataObject, way: tuple[str, dict[str, Any]]
) -> None:
    body = bytearray(picture(40, 30, way[0], **way[1]))
    for position in data.draw(st.lists(st.integers(0, min(len(body), 400) - 1), max_size=8)):
        body[position] = data.draw(st.integers(0, 255))
    for kind in {sniff(bytes(body)), way[0].lower()} & IMAGE_KINDS:
        try:
            width, height = stated_size(bytes(body), kind)
        except ValueError:
            continue
        assert width > 0
        assert height > 0
