"""What the bytes are, whatever the URL or the Content-Type claim.

Reads the first bytes of a body, writes nothing. Only the kinds in IMAGE_KINDS count as
images; everything else gets a name for the detail of `not_an_image`, because "html" tells a
user more about a dead link than "cannot decode" does.
Signatures: the formats' own specifications; for HTML the WHATWG MIME Sniffing standard, 7.1.
"""

import re

IMAGE_KINDS = frozenset(
    {"jpeg", "png", "gif", "webp", "avif", "heic", "bmp", "tiff", "jpeg2000", "jxl"}
)
"""What a fetch accepts. Whether a decoder for each is installed is told by opening.py."""

SNIFF_BYTES = 512
"""How many leading bytes `sniff` looks at."""

_SIGNATURES = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),  # BigTIFF
    (b"MM\0+", "tiff"),
    (b"%PDF-", "pdf"),
    (b"\0\0\1\0", "ico"),
    (b"\xff\x0a", "jxl"),
    (b"\0\0\0\x0cJXL \r\n", "jxl"),
    (b"\0\0\0\x0cjP  \r\n", "jpeg2000"),
    (b"\xff\x4f\xff\x51", "jpeg2000"),
    (b"8BPS", "psd"),
    (b"PK\3\4", "zip"),
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"Rar!", "rar"),
    (b"7z\xbc\xaf", "7z"),
    (b"\x1aE\xdf\xa3", "matroska"),
    (b"OggS", "ogg"),
    (b"ID3", "mp3"),
    (b"\x7fELF", "program"),
)
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
)
_HTML = re.compile(
    rb"<(?:!doctype\s+html|html|head|body|title|script|iframe|table|style|div|h1|meta|br|p|a|b|"
    rb"font|center|!--)[\s>/-]",
    re.IGNORECASE,
)
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")


def sniff(body: bytes) -> str:
    """The kind of a body: one of IMAGE_KINDS, or another name; "binary" when nothing fits."""
    head = body[:SNIFF_BYTES]
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return kind
    if head[:4] == b"RIFF":
        return "webp" if head[8:12] == b"WEBP" else "riff"
    if head[4:8] == b"ftyp":
        return _iso_kind(head)
    if head[:2] == b"BM" and head[14:18] in _BMP_HEADERS:
        return "bmp"
    return _text_kind(head)


# The sizes that a BMP's second header may have (OS/2 1 and 2, Windows 3, NT, 4, 5). "BM" alone
# also begins ordinary words.
_BMP_HEADERS = frozenset(n.to_bytes(4, "little") for n in (12, 16, 40, 52, 56, 64, 108, 124))


def _iso_kind(head: bytes) -> str:
    """ISO base media (ISO/IEC 14496-12): brands in the ftyp box, the major one first."""
    size = int.from_bytes(head[:4], "big")
    brands = [head[8:12], *(head[i : i + 4] for i in range(16, min(size, len(head)) - 3, 4))]
    if brands[0] not in _HEIC_BRANDS | _AVIF_BRANDS and brands[0][:3] in (b"mp4", b"iso", b"qt "):
        return "video"
    if _AVIF_BRANDS.intersection(brands):
        return "avif"
    return "heic" if _HEIC_BRANDS.intersection(brands) else "video"


def _text_kind(head: bytes) -> str:
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "text"  # UTF-16
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text or _CONTROL.search(text):
        return "binary"
    lowered = text.lower()
    if b"<svg" in lowered and text.startswith(b"<"):
        return "svg"
    if _HTML.match(text) or b"<html" in lowered:
        return "html"
    if text.startswith(b"<?xml"):
        return "xml"
    return "json" if text[:1] in (b"{", b"[") else "text"
