"""Fine textures that say nothing: halftone dots, hatching, checks, scales. Negatives for the head.

Reads a picture and a random generator, gives the picture with it; writes nothing. Repeating marks
are what a tiled stamp looks like from afar, and what engravings and keyboards are full of.
"""

import math
import random

from PIL import Image, ImageChops, ImageDraw, ImageFilter

Ink = tuple[int, int, int, int]


def textured(picture: Image.Image, rng: random.Random) -> Image.Image:
    """The picture with a texture over all of it, over its dark parts, or over one box."""
    side = int(math.hypot(*picture.size)) + 4
    layer = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    shade = rng.choice((0, 0, 60, 128, 200, 255))
    ink = (shade, shade, shade, rng.randint(70, 255))
    step = max(4, int(max(picture.size) * rng.uniform(0.012, 0.07)))
    rng.choice((dots, hatching, checks, scales))(ImageDraw.Draw(layer), side, step, ink)
    turned = layer.rotate(rng.choice((0, 0, 45, rng.uniform(-60, 60))), Image.Resampling.BILINEAR)
    left, top = (side - picture.width) // 2, (side - picture.height) // 2
    turned = turned.crop((left, top, left + picture.width, top + picture.height))
    turned.putalpha(ImageChops.multiply(turned.getchannel("A"), _where(picture, rng)))
    whole = picture.convert("RGBA")
    whole.alpha_composite(turned)
    return whole.convert("RGB")


def _where(picture: Image.Image, rng: random.Random) -> Image.Image:
    kind = rng.random()
    if kind < 0.3:
        return Image.new("L", picture.size, 255)
    if kind < 0.7:  # as shading is drawn
        dark = picture.convert("L").filter(ImageFilter.BoxBlur(2))
        return dark.point(lambda value: 255 if value < 235 else 0)
    mask = Image.new("L", picture.size, 0)
    x, y = rng.uniform(0, 0.6) * picture.width, rng.uniform(0, 0.6) * picture.height
    box = (x, y, x + picture.width * rng.uniform(0.25, 0.6), y + picture.height * 0.4)
    ImageDraw.Draw(mask).ellipse(box, fill=255)
    return mask


def dots(draw: ImageDraw.ImageDraw, side: int, step: int, ink: Ink) -> None:
    """Halftone: rows of discs, every second row shifted."""
    radius = step * 0.3
    for row, y in enumerate(range(0, side, step)):
        for x in range(step // 2 * (row % 2), side, step):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=ink)


def hatching(draw: ImageDraw.ImageDraw, side: int, step: int, ink: Ink) -> None:
    """Parallel strokes, broken here and there."""
    for row, y in enumerate(range(0, side, step)):
        start = -(row * 37) % (step * 9)
        for x in range(start - step * 9, side, step * 9):
            draw.line((x, y, x + step * 8, y), fill=ink, width=max(1, step // 6))


def checks(draw: ImageDraw.ImageDraw, side: int, step: int, ink: Ink) -> None:
    """Keys, windows, tiles: boxes in rows."""
    for y in range(0, side, 2 * step):
        for x in range(0, side, 2 * step):
            draw.rectangle((x, y, x + step, y + step), outline=ink, width=max(1, step // 8))


def scales(draw: ImageDraw.ImageDraw, side: int, step: int, ink: Ink) -> None:
    """Scales, waves, bricks: half circles in rows."""
    for row, y in enumerate(range(0, side, step)):
        for x in range(-step * (row % 2), side, 2 * step):
            draw.arc((x, y, x + 2 * step, y + 2 * step), 0, 180, fill=ink, width=max(1, step // 8))
