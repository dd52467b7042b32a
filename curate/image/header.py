"""Width and height out of an image's header, before anything is decoded.

Reads the bytes of one image, writes nothing, allocates nothing in proportion to what the header
claims. A 70 KB PNG can announce 20,000 x 20,000 pixels; a decoder would believe it. Where a file
states sizes in several places, the largest counts, because decoders differ in which they believe:
every SOF of a JPEG, canvas and first frame of a GIF, every `ispe` of an AVIF or HEIC, image and
tile of a TIFF's first page, box and codestream of a JPEG 2000.

Trade-off: walking a header stops after a fixed number of steps, and a file that hides its size
behind more is refused, so that no body costs more than milliseconds here. A decoder can still
find another size in a hostile body (an AV1 sequence header, say): decode with a limit too.
"""

import re
import struct
from collections.abc import Callable, Iterator

_MAX_STEPS = 20_000  # markers, blocks or tags; a GIF's colour profile takes hundreds
_JPEG_MARKER = re.compile(rb"\xff+([^\xff\x00])", re.DOTALL)
# SOF0-SOF15 without DHT (C4), JPG (C8) and DAC (CC): ITU T.81 table B.1.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_ALONE = frozenset({0x01, 0xD8, *range(0xD0, 0xD8)})  # markers without a length
_TIFF_INT = {1: "B", 3: "H", 4: "I", 16: "Q"}  # BYTE, SHORT, LONG, BigTIFF's LONG8
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_TILE_WIDTH, _TIFF_TILE_HEIGHT = 256, 257, 322, 323

Size = tuple[int, int]


def stated_size(body: bytes, kind: str) -> Size:
    """(width_px, height_px) as the header states it, EXIF rotation not applied.

    `kind` is one of sniff.IMAGE_KINDS. Raises ValueError when the header is cut short, hostile,
    or states no positive width and height.
    """
    try:
        sizes = list(_READERS[kind](body))
    except (struct.error, IndexError, OverflowError) as error:  # 64-bit offsets of a BigTIFF
        raise ValueError(f"the {kind} header is cut short") from error
    if not sizes:
        raise ValueError(f"the {kind} header states no size")
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    if width <= 0 or height <= 0:
        raise ValueError(f"the {kind} header states {width} x {height} pixels")
    return width, height


def jpeg_bits(body: bytes) -> int:
    """Bits per sample of a JPEG: 8, or 12 of some medical images. Raises ValueError as
    `stated_size` does.
    """
    try:
        return max(bits for bits, _, _ in _jpeg_frames(body))
    except (struct.error, IndexError) as error:
        raise ValueError("the jpeg header is cut short") from error


def _jpeg(body: bytes) -> Iterator[Size]:
    return ((width, height) for _, width, height in _jpeg_frames(body))


def _jpeg_frames(body: bytes) -> Iterator[tuple[int, int, int]]:
    """ITU T.81 B.2.2: (bits, width, height) of the frame headers before the first scan."""
    position = 2
    for _ in range(_MAX_STEPS):
        match = _JPEG_MARKER.search(body, position)
        if match is None:
            raise ValueError("the jpeg has no scan")
        marker, position = match[1][0], match.end()
        if marker in (0xDA, 0xD9):  # start of scan, end of image
            return
        if marker in _JPEG_ALONE:
            continue
        (length,) = struct.unpack_from(">H", body, position)
        if marker in _JPEG_FRAMES:
            bits, height, width = struct.unpack_from(">BHH", body, position + 2)
            yield bits, width, height
        position += length
    raise ValueError("the jpeg has too many markers")


def _png(body: bytes) -> Iterator[Size]:
    """ISO/IEC 15948 11.2.2: IHDR comes first."""
    length, name, width, height = struct.unpack_from(">I4sII", body, 8)
    if name != b"IHDR" or length != 13:
        raise ValueError("the png does not begin with IHDR")
    if max(width, height) > 0x7FFFFFFF:
        raise ValueError(f"the png header states {width} x {height} pixels")
    yield width, height


def _gif(body: bytes) -> Iterator[Size]:
    """GIF89a 18 and 20: the screen, then the first frame, which some decoders let grow it."""
    width, height, flags = struct.unpack_from("<HHB", body, 6)
    yield width, height
    position = 13 + _palette_bytes(flags)
    for _ in range(_MAX_STEPS):
        block = body[position]
        if block == 0x2C:
            left, top, width, height = struct.unpack_from("<HHHH", body, position + 1)
            yield left + width, top + height
            return
        if block != 0x21:
            raise ValueError("the gif has no frame")
        position += 2
        while length := body[position]:
            position += 1 + length
            if position > len(body):
                raise IndexError
        position += 1
    raise ValueError("the gif has too many blocks")


def _palette_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _webp(body: bytes) -> Iterator[Size]:
    """RFC 9649 2.5-2.7: canvas of VP8X, or the frame of VP8 (RFC 6386 9.1) or VP8L (3.4)."""
    name = body[12:16]
    if name == b"VP8X":
        low_w, high_w, low_h, high_h = struct.unpack_from("<HBHB", body, 24)  # 24 bits each
        yield (high_w << 16 | low_w) + 1, (high_h << 16 | low_h) + 1
    elif name == b"VP8L":
        signature, bits = struct.unpack_from("<BI", body, 20)
        if signature != 0x2F:
            raise ValueError("the webp has a bad VP8L signature")
        yield (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif name == b"VP8 ":
        start, width, height = struct.unpack_from("<3sHH", body, 23)
        if start != b"\x9d\x01\x2a":
            raise ValueError("the webp has no key frame")
        yield width & 0x3FFF, height & 0x3FFF


def _bmp(body: bytes) -> Iterator[Size]:
    """BITMAPCOREHEADER has 16-bit sizes, the others 32-bit; negative height means top-down."""
    (size,) = struct.unpack_from("<I", body, 14)
    width, height = struct.unpack_from("<HH" if size == 12 else "<ii", body, 18)
    yield width, abs(height)


def _tiff(body: bytes) -> Iterator[Size]:
    """TIFF 6.0 section 2, and BigTIFF (version 43): image and tile size of the first page."""
    order = "<" if body[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", body, 2)[0] == 43
    (start,) = struct.unpack_from(order + ("Q" if big else "I"), body, 8 if big else 4)
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), body, start)
    if count > _MAX_STEPS:
        raise ValueError("the tiff has too many tags")
    start += 8 if big else 2
    step, value_at = (20, 12) if big else (12, 8)
    tags: dict[int, int] = {}
    for position in range(start, start + count * step, step):
        tag, kind = struct.unpack_from(order + "HH", body, position)
        if tag in (_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_TILE_WIDTH, _TIFF_TILE_HEIGHT):
            if kind not in _TIFF_INT or (kind == 16 and not big):
                raise ValueError(f"the tiff states its size as type {kind}")
            value = struct.unpack_from(order + _TIFF_INT[kind], body, position + value_at)[0]
            tags[tag] = max(value, tags.get(tag, 0))
    if _TIFF_WIDTH in tags and _TIFF_HEIGHT in tags:
        width, height = tags[_TIFF_WIDTH], tags[_TIFF_HEIGHT]
        yield width, height
        # A tile larger than the image is rounding up to 16s, or a bomb.
        tile = tags.get(_TIFF_TILE_WIDTH, 0), tags.get(_TIFF_TILE_HEIGHT, 0)
        if tile[0] * tile[1] > max(4 * width * height, 1 << 24):
            yield tile


def _jpeg2000(body: bytes) -> Iterator[Size]:
    """ISO/IEC 15444-1 A.5.1 and I.5.3.1: SIZ of the codestream, and `ihdr` in `jp2h`."""
    if body[4:8] == b"jP  ":
        for at, until in boxes(body, b"jp2h", 0, len(body)):
            for place, _ in boxes(body, b"ihdr", at, until):
                height, width = struct.unpack_from(">II", body, place)
                yield width, height
    right, bottom, left, top = struct.unpack_from(">IIII", body, codestream(body) + 8)
    yield right - left, bottom - top


def codestream(body: bytes) -> int:
    """Where the codestream of a JPEG 2000 begins. Raises ValueError where there is none."""
    end = len(body)
    start = next(boxes(body, b"jp2c", 0, end), (end, end))[0] if body[4:8] == b"jP  " else 0
    if body[start : start + 4] != b"\xff\x4f\xff\x51":
        raise ValueError("the jpeg2000 has no codestream")
    return start


_JXL_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


def _jxl(body: bytes) -> Iterator[Size]:
    """ISO/IEC 18181-1 D.2: SizeHeader at the codestream's beginning, bits from the lowest."""
    start = 0
    if body[4:8] == b"JXL ":
        part = next(boxes(body, b"jxlp", 0, len(body)), None)
        start = part[0] + 4 if part else next(boxes(body, b"jxlc", 0, len(body)), (len(body),))[0]
    if body[start : start + 2] != b"\xff\x0a" or len(body) < start + 12:
        raise ValueError("the jxl has no codestream")
    bits = int.from_bytes(body[start + 2 : start + 12], "little")

    def take(count: int) -> int:
        nonlocal bits
        value, bits = bits & (1 << count) - 1, bits >> count
        return value

    def side(small: int) -> int:
        return 8 * (take(5) + 1) if small else 1 + take((9, 13, 18, 30)[take(2)])

    small = take(1)
    height = side(small)
    ratio = take(3)
    if ratio:
        times, by = _JXL_RATIOS[ratio - 1]
        yield height * times // by, height
    else:
        yield side(small), height


def _iso(body: bytes) -> Iterator[Size]:
    """ISO/IEC 23008-12 6.5.3 and 9.3: every `ispe` in the one meta/iprp/ipco."""
    start, end = 0, len(body)
    for name, skip in ((b"meta", 4), (b"iprp", 0), (b"ipco", 0)):
        box = next(boxes(body, name, start, end), None)
        if box is None:
            return
        start, end = box[0] + skip, box[1]
    for at, until in boxes(body, b"ispe", start, end):
        if until - at < 12:
            raise ValueError("the ispe box is too short")
        yield struct.unpack_from(">II", body, at + 4)


def boxes(body: bytes, wanted: bytes, position: int, end: int) -> Iterator[tuple[int, int]]:
    """(start, end) of the contents of the boxes of one name between two offsets."""
    for _ in range(_MAX_STEPS):
        if position + 8 > end:
            return
        size, name = struct.unpack_from(">I4s", body, position)
        start = position + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", body, start)
            start += 8
        elif size == 0:
            size = end - position
        if size < start - position or position + size > end:
            if name == wanted:
                raise ValueError(f"the {name.decode('latin-1')} box is cut short")
            return
        if name == wanted:
            yield start, position + size
        position += size
    raise ValueError("the file has too many boxes")


_READERS: dict[str, Callable[[bytes], Iterator[Size]]] = {
    "jpeg": _jpeg,
    "png": _png,
    "gif": _gif,
    "webp": _webp,
    "avif": _iso,
    "heic": _iso,
    "bmp": _bmp,
    "tiff": _tiff,
    "jpeg2000": _jpeg2000,
    "jxl": _jxl,
}
