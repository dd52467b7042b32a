import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from frenchcat.curate.image.sniff import IMAGE_KINDS, sniff
from tests.curate.download.site import picture

FTYP = b"\0\0\0\x18ftyp"


@pytest.mark.parametrize("kind", sorted(IMAGE_KINDS - {"heic", "jxl"}))
def test_what_pillow_writes_is_known(kind: str) -> None:
    assert sniff(picture(20, 20, kind)) == kind


@pytest.mark.parametrize("kind", ["ICO", "PDF"])
def test_other_files_of_pillow_are_named_and_refused(kind: str) -> None:
    data = io.BytesIO()
    Image.new("RGB", (32, 32)).save(data, kind)
    assert sniff(data.getvalue()) == kind.lower()
    assert kind.lower() not in IMAGE_KINDS


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (FTYP + b"heic\0\0\0\0mif1heic", "heic"),
        (FTYP + b"mif1\0\0\0\0mif1avif", "avif"),
        (FTYP + b"avis\0\0\0\0avifmif1", "avif"),
        (FTYP + b"msf1\0\0\0\0hevcmsf1", "heic"),
        (FTYP + b"isom\0\0\0\0mp41avc1", "video"),
        (FTYP + b"mp42\0\0\0\0mp42avif", "video"),
        (b"II+\0\x08\0\0\0", "tiff"),
        (b"\xff\x0a\xff\x0b", "jxl"),
        (b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl ", "jxl"),
        (b"\xff\x4f\xff\x51\0\x2f", "jpeg2000"),
        (b"RIFF\0\0\0\0WAVE", "riff"),
        (b"<!DOCTYPE html><p>gone</p>", "html"),
        (b"\xef\xbb\xbf \n<HTML>", "html"),
        (b'<?xml version="1.0"?><!DOCTYPE html><html>', "html"),
        (b"<!-- made by hand --><html>", "html"),
        (b"<script>location='/'</script>", "html"),
        (b'<svg xmlns="http://www.w3.org/2000/svg">', "svg"),
        (b'<?xml version="1.0"?>\n<!-- x -->\n<svg width="1">', "svg"),
        (b'<?xml version="1.0"?><rss/>', "xml"),
        (b'{"error": "not found"}', "json"),
        (b"Not found", "text"),
        (b"BMW is a maker of cars, and this is a text", "text"),
        (b"\xff\xfeN\0o\0", "text"),
        (b"\0\1\2\3", "binary"),
        (b"", "binary"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"PK\3\4", "zip"),
    ],
)
def test_kinds_by_their_first_bytes(body: bytes, kind: str) -> None:
    assert sniff(body) == kind


@given(st.binary(max_size=600))
def test_any_bytes_have_a_kind(body: bytes) -> None:
    assert sniff(body)
