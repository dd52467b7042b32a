"""Pictures as the sample stores them, and the odd ones among them.

Reads PNGs of Open Clip Art; gives encoded bytes, the same for the same input and Pillow version.
Trade-off: transparency is laid on white and empty margins are cut, so that every viewer and
every model sees the same picture; the longest side is 256 px, and small drawings stay small.
"""

import io
import struct
import zlib
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps
from PIL.PngImagePlugin import PngInfo

LONGEST_SIDE_PX = 256
MARGIN_PX = 4
PNG_FITS_BYTES = 14_000  # flat drawings compress to less as a palette PNG; shaded ones do not
XMP_PROHIBITED = b"""<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:plus="http://ns.useplus.org/ldf/xmp/1.0/"
 plus:DataMining="http://ns.useplus.org/ldf/vocab/DMI-PROHIBITED"/>
</rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>"""  # PLUS licence data format 2.0.1, "Data Mining"


def load(png: Path) -> Image.Image:
    """The drawing on white, margins cut, at most 256 px a side, RGB."""
    with Image.open(png) as opened:
        opened.draft("RGB", (LONGEST_SIDE_PX, LONGEST_SIDE_PX))
        drawing = opened.convert("RGBA")
    drawing.thumbnail((4 * LONGEST_SIDE_PX, 4 * LONGEST_SIDE_PX))
    flat = Image.new("RGBA", drawing.size, "white")
    flat.alpha_composite(drawing)
    picture = flat.convert("RGB")
    if box := ImageOps.invert(picture).point(lambda v: 255 * (v > 8)).getbbox():
        picture = picture.crop(box)
    inner = LONGEST_SIDE_PX - 2 * MARGIN_PX
    picture.thumbnail((inner, inner), Image.Resampling.LANCZOS)
    return ImageOps.expand(picture, MARGIN_PX, "white")


def encode(picture: Image.Image) -> tuple[str, bytes]:
    """("png" | "jpg", bytes): a palette PNG where that is small, else a JPEG."""
    buffer = io.BytesIO()
    picture.quantize(128, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        buffer, "PNG", optimize=True
    )
    if buffer.tell() <= PNG_FITS_BYTES:
        return "png", buffer.getvalue()
    return "jpg", jpeg(picture, quality=88)


def jpeg(picture: Image.Image, quality: int, xmp: bytes = b"") -> bytes:
    """``picture`` as a JPEG, with an XMP packet if one is given."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality, optimize=True, **({"xmp": xmp} if xmp else {}))
    return buffer.getvalue()


def png_with_xmp(picture: Image.Image, xmp: bytes) -> bytes:
    """``picture`` as a palette PNG that carries ``xmp`` in an iTXt chunk."""
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp.decode())
    buffer = io.BytesIO()
    picture.quantize(128, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True, pnginfo=info)
    return buffer.getvalue()


def reencoded(picture: Image.Image, number: int) -> bytes:
    """A near copy: smaller or coarser or both, as mirrors make them."""
    scale, quality = ((1.0, 45), (0.75, 80), (0.6, 60))[number % 3]
    size = (max(16, round(picture.width * scale)), max(16, round(picture.height * scale)))
    return jpeg(picture.resize(size, Image.Resampling.BICUBIC), quality)


def watermarked(picture: Image.Image, number: int) -> Image.Image:
    """The picture with a see-through stock-agency style stamp; the agencies are made up."""
    text = ("SAMPLE STOCK", "preview only", "(c) stockpix demo", "DO NOT COPY")[number % 4]
    side = 2 * max(picture.size)
    layer = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    font = ImageFont.load_default(size=24 if number % 2 else 34)
    width = int(draw.textlength(text, font=font)) + 30
    for row, y in enumerate(range(0, side, 70)):
        for x in range(-(row % 2) * width // 2, side, width):
            draw.text((x, y), text, font=font, fill=(80, 80, 80, 170), stroke_width=1,
                      stroke_fill=(255, 255, 255, 160))  # fmt: skip
    layer = layer.rotate(30 if number % 3 else 0, resample=Image.Resampling.BICUBIC)
    left, top = (side - picture.width) // 2, (side - picture.height) // 2
    stamp = layer.crop((left, top, left + picture.width, top + picture.height))
    stamped = picture.convert("RGBA")
    stamped.alpha_composite(stamp)
    return stamped.convert("RGB")


def icon(picture: Image.Image) -> bytes:
    """A 16 x 16 px PNG, as trackers and bullets are."""
    buffer = io.BytesIO()
    picture.resize((16, 16), Image.Resampling.BOX).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def bomb(side_px: int = 30_000) -> bytes:
    """A valid one-bit PNG of ``side_px`` squared pixels in about 110 kB: a decompression bomb."""
    row = b"\x00" * (1 + (side_px + 7) // 8)
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(row) for _ in range(side_px)) + packer.flush()
    header = struct.pack(">IIBBBBB", side_px, side_px, 1, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
