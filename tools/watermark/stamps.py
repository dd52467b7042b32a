"""Stamps as picture agencies put them over their previews. The agencies are made up.

Reads a picture and a random generator, gives the stamped picture; writes nothing. TRAIN and
INVENTED are apart from HELD in words, fonts and, for two, in style, so that a head is judged on
what it never saw.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

Layer = Image.Image  # RGBA, the size of the picture
Style = Callable[[tuple[int, int], "Kit", random.Random], Layer]


@dataclass(frozen=True)
class Kit:
    """What stamps are made of: texts, fonts' files, styles by name."""

    texts: tuple[str, ...]
    fonts: tuple[str, ...]  # in matplotlib's folder; "" is Pillow's own
    styles: dict[str, Style]


@cache
def font(name: str, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A font by its file's name in matplotlib's folder."""
    if not name:
        return ImageFont.load_default(size=size)
    import matplotlib

    folder = Path(matplotlib.get_data_path(), "fonts", "ttf")
    return ImageFont.truetype(str(folder / f"{name}.ttf"), size)


def stamped(picture: Image.Image, style: str, kit: Kit, rng: random.Random) -> Image.Image:
    """The picture under a stamp of that style."""
    whole = picture.convert("RGBA")
    whole.alpha_composite(kit.styles[style](picture.size, kit, rng))
    return whole.convert("RGB")


def _ink(rng: random.Random, low: int = 70, high: int = 200) -> tuple[int, int, int, int]:
    shade = rng.choice((255, 255, 255, 0, 60, 128, 190))
    tint = (shade, shade, shade) if rng.random() < 0.85 else tuple(rng.choices(range(256), k=3))
    return (*tint, rng.randint(low, high))  # type: ignore[return-value]


def _contrast(ink: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    light = sum(ink[:3]) > 380
    return (0, 0, 0, ink[3]) if light else (255, 255, 255, ink[3])


def _write(draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, kit: Kit, size: int,
           rng: random.Random, ink: tuple[int, int, int, int], edge: bool) -> None:  # fmt: skip
    face = font(rng.choice(kit.fonts), size)
    stroke = {"stroke_width": 1, "stroke_fill": _contrast(ink)} if edge else {}
    draw.text(at, text, font=face, fill=ink, anchor="mm", **stroke)


def _turned(layer: Layer, size: tuple[int, int], degrees: float) -> Layer:
    """The middle of a larger layer, turned."""
    turned = layer.rotate(degrees, Image.Resampling.BILINEAR)
    left, top = (layer.width - size[0]) // 2, (layer.height - size[1]) // 2
    return turned.crop((left, top, left + size[0], top + size[1]))


def _canvas(size: tuple[int, int]) -> tuple[Layer, ImageDraw.ImageDraw, int]:
    side = int((size[0] ** 2 + size[1] ** 2) ** 0.5) + 4
    layer = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    return layer, ImageDraw.Draw(layer), side


def tiled(size: tuple[int, int], kit: Kit, rng: random.Random) -> Layer:
    """One text over and over, in rows, turned."""
    layer, draw, side = _canvas(size)
    letters = max(9, int(max(size) * rng.uniform(0.045, 0.12)))
    face, text = font(rng.choice(kit.fonts), letters), rng.choice(kit.texts)
    ink = _ink(rng)
    edge = {"stroke_width": 1, "stroke_fill": _contrast(ink)} if rng.random() < 0.4 else {}
    step_x = draw.textlength(text, font=face) + letters * rng.uniform(0.5, 3)
    step_y, shift = letters * rng.uniform(1.3, 4), rng.choice((0.0, 0.5))
    for row in range(int(side / step_y) + 1):
        x = -step_x * (shift * (row % 2) + rng.random() * 0.02)
        while x < side:
            draw.text((x, row * step_y), text, font=face, fill=ink, **edge)
            x += step_x
    return _turned(layer, size, rng.choice((0, 0, 20, 30, 45, -30, rng.uniform(-60, 60))))


def centre(size: tuple[int, int], kit: Kit, rng: random.Random) -> Layer:
    """One large see-through text over the middle."""
    layer, draw, side = _canvas(size)
    text, name = rng.choice(kit.texts), rng.choice(kit.fonts)
    width = draw.textlength(text, font=font(name, 40)) / 40
    letters = int(min(max(size) * rng.uniform(0.6, 0.95) / width, max(size) * 0.3))
    ink = _ink(rng, 60, 180)
    edge = {"stroke_width": 1, "stroke_fill": _contrast(ink)} if rng.random() < 0.4 else {}
    middle = (side / 2, side / 2 + rng.uniform(-0.15, 0.15) * size[1])
    draw.text(middle, text, font=font(name, max(10, letters)), fill=ink, anchor="mm", **edge)
    return _turned(layer, size, rng.choice((0, 0, 15, 30, 45, -20)))


def corner(size: tuple[int, int], kit: Kit, rng: random.Random) -> Layer:
    """A logo or address in a corner, see-through."""
    layer = Image.new("RGBA", size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    letters, text = max(9, int(max(size) * rng.uniform(0.04, 0.08))), rng.choice(kit.texts)
    face, ink = font(rng.choice(kit.fonts), letters), _ink(rng, 110, 220)
    length = draw.textlength(text, font=face)
    x = rng.choice((letters * 1.8, max(0, size[0] - length - letters)))
    y = rng.choice((letters * 0.6, size[1] - letters * 2))
    if rng.random() < 0.5:
        round_ = (x - letters * 1.4, y, x - letters * 0.2, y + letters * 1.2)
        draw.ellipse(round_, outline=ink, width=max(1, letters // 6))
    draw.text((x, y), text, font=face, fill=ink, stroke_width=1, stroke_fill=_contrast(ink))
    return layer


def grid(size: tuple[int, int], kit: Kit, rng: random.Random) -> Layer:
    """Crossing lines over everything, with the agency's name where they cross."""
    layer = Image.new("RGBA", size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    ink, (width, height) = _ink(rng, 60, 150), size
    cells = rng.choice((1, 1, 2, 3))
    line = rng.choice((1, 2, 3))
    for a in range(-cells, cells + 1):
        offset = a * width / cells
        draw.line((offset, 0, offset + width, height), fill=ink, width=line)
        draw.line((offset + width, 0, offset, height), fill=ink, width=line)
    letters, text = max(10, int(max(size) * rng.uniform(0.05, 0.1))), rng.choice(kit.texts)
    for row in range(cells):
        for column in range(cells):
            at = ((column + 0.5) * width / cells, (row + 0.5) * height / cells)
            _write(draw, at, text, kit, letters, rng, ink, edge=rng.random() < 0.4)
    return layer


def band(size: tuple[int, int], kit: Kit, rng: random.Random) -> Layer:
    """A see-through bar across the picture with the name on it. Held out."""
    layer, draw, side = _canvas(size)
    letters, shade = int(max(size) * rng.uniform(0.06, 0.11)), rng.choice((0, 255))
    top = side / 2 + rng.uniform(-0.3, 0.3) * size[1]
    bar = (0, top - letters, side, top + letters)
    draw.rectangle(bar, fill=(shade, shade, shade, rng.randint(60, 130)))
    ink = (255 - shade,) * 3 + (rng.randint(120, 210),)
    _write(draw, (side / 2, top), rng.choice(kit.texts), kit, letters, rng, ink, edge=False)
    return _turned(layer, size, rng.choice((0, 0, 20, -30)))


def scattered(size: tuple[int, int], kit: Kit, rng: random.Random) -> Layer:
    """Names at a few places, each with its own size and turn. Held out."""
    layer = Image.new("RGBA", size, (0, 0, 0, 0))
    text = rng.choice(kit.texts)
    for _ in range(rng.randint(4, 8)):
        one, draw, side = _canvas(size)
        letters = max(10, int(max(size) * rng.uniform(0.05, 0.11)))
        at = (side * rng.uniform(0.25, 0.75), side * rng.uniform(0.25, 0.75))
        _write(draw, at, text, kit, letters, rng, _ink(rng), edge=True)
        layer.alpha_composite(_turned(one, size, rng.uniform(-45, 45)))
    return layer


TRAIN = Kit(
    (
        "STOCKBASE", "Photohaven", "pixmarket", "© Agence Lumen", "www.bildlager.example",
        "PREVIEW", "sample image", "Watermark", "COPYRIGHT", "Imagorama.example", "Proof only",
        "PROOF", "not for resale", "© 2019 J. Doe", "Draft", "photo © L. Martin", "clipshop",
        "vectorbay.example", "comp image", "MUSTER", "SPECIMEN", "Bildagentur Nord", "alumy",
        "Dreamlens", "istuck", "depositpix", "© all rights reserved", "CONFIDENTIAL",
    ),
    ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSansMono-Bold", "DejaVuSans-Oblique",
     "cmr10", "cmss10"),
    {"tiled": tiled, "centre": centre, "corner": corner, "grid": grid},
)  # fmt: skip


def _invented(count: int) -> tuple[str, ...]:
    """Names that no agency bears, as agencies write theirs."""
    rng = random.Random("invented")
    sounds = "ba bel co dra el fo ga hu im jo ka lu mi no or pha qui ro sto ta um ve wi xa yo zen"
    found = []
    for _ in range(count):
        name = "".join(rng.choices(sounds.split(), k=rng.randint(2, 5)))
        name = rng.choice((str.upper, str.title, str))(name)
        found.append(rng.choice((
            name, name, name + " stock", "© " + name, f"www.{name.lower()}.example",
            f"{name} images", f"{name} {rng.randint(1, 10**8)}", f"PREVIEW {name}",
        )))  # fmt: skip
    return tuple(found)


INVENTED = Kit(
    TRAIN.texts + _invented(600),
    (*TRAIN.fonts, "DejaVuSans-BoldOblique", "DejaVuSerif-Bold", "DejaVuSansMono", "cmb10",
     "DejaVuSansMono-Oblique"),
    TRAIN.styles,
)  # fmt: skip
HELD = Kit(
    ("Fotoquelle", "SHUTTERBOX", "© Studio Vega", "www.picfarm.example", "Layout copy",
     "UNLICENSED", "gettypix", "Musterbild", "test print", "© Kato Foto"),
    ("", "STIXGeneral", "STIXGeneralBol", "DejaVuSerif-Italic", "cmtt10"),
    {"tiled": tiled, "centre": centre, "corner": corner, "grid": grid, "band": band,
     "scattered": scattered},
)  # fmt: skip
