"""What belongs to a picture and looks a little like a stamp: captions, signs, diagrams, patterns.

Reads a picture and a random generator, gives the picture with it; writes nothing. These are the
negatives that teach a head that letters and lines alone are not a stamp.
"""

import random

from PIL import Image, ImageDraw

from tools.watermark.stamps import font

WORDS = """
the of a market spring sale open closed hotel street exit danger menu coffee Paris road report
chapter figure total sum left right north south water heart leaf root happy birthday thank you
welcome bread price new old cat dog map legend school library museum music radio stop one way
""".split()
TINTS = ((0, 0, 0), (255, 255, 255), (200, 30, 30), (20, 60, 160), (10, 110, 50), (250, 210, 40))


def lettered(picture: Image.Image, fonts: tuple[str, ...], rng: random.Random) -> Image.Image:
    """The picture with honest text or lines of one kind."""
    kinds = (caption, title, sign, labels, page, meme, ruled)
    return rng.choice(kinds)(picture.copy(), fonts, rng)


def _words(rng: random.Random, low: int, high: int) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(low, high)))


def caption(picture: Image.Image, fonts: tuple[str, ...], rng: random.Random) -> Image.Image:
    """A line of text on a strip below the picture."""
    letters = max(10, int(max(picture.size) * rng.uniform(0.04, 0.09)))
    strip = Image.new("RGB", (picture.width, picture.height + 2 * letters), rng.choice(TINTS[:2]))
    strip.paste(picture, (0, 0))
    ink = (0, 0, 0) if strip.getpixel((0, strip.height - 1)) == (255, 255, 255) else (255,) * 3
    draw, face = ImageDraw.Draw(strip), font(rng.choice(fonts), letters)
    draw.text((letters, picture.height + letters), _words(rng, 2, 6), ink, face, anchor="lm")
    return strip


def title(picture: Image.Image, fonts: tuple[str, ...], rng: random.Random) -> Image.Image:
    """Solid lettering across the picture, as on posters and book covers."""
    draw, letters = ImageDraw.Draw(picture), int(max(picture.size) * rng.uniform(0.08, 0.2))
    y = picture.height * rng.choice((0.12, 0.5, 0.85))
    face = font(rng.choice(fonts), max(10, letters))
    draw.text((picture.width / 2, y), _words(rng, 1, 3), rng.choice(TINTS), face, anchor="mm")
    return picture


def sign(picture: Image.Image, fonts: tuple[str, ...], rng: random.Random) -> Image.Image:
    """One or two signs with text."""
    draw = ImageDraw.Draw(picture)
    for _ in range(rng.randint(1, 2)):
        letters = max(10, int(max(picture.size) * rng.uniform(0.05, 0.12)))
        face, text = font(rng.choice(fonts), letters), _words(rng, 1, 2)
        x, y = rng.uniform(0, 0.5) * picture.width, rng.uniform(0.05, 0.8) * picture.height
        box = draw.textbbox((x, y), text, font=face)
        ground = rng.choice(TINTS)
        grown = (box[0] - 8, box[1] - 6, box[2] + 8, box[3] + 6)
        ink = (0, 0, 0) if sum(ground) > 380 else (255, 255, 255)
        draw.rounded_rectangle(grown, 5, fill=ground, outline=ink, width=2)
        draw.text((x, y), text, ink, face)
    return picture


def labels(picture: Image.Image, fonts: tuple[str, ...], rng: random.Random) -> Image.Image:
    """A diagram's labels, with lines to what they name."""
    draw = ImageDraw.Draw(picture)
    for _ in range(rng.randint(3, 8)):
        face = font(rng.choice(fonts), max(9, int(max(picture.size) * rng.uniform(0.035, 0.06))))
        x, y = (rng.uniform(0, 0.85) * side for side in picture.size)
        end = (rng.uniform(0, 1) * picture.width, rng.uniform(0, 1) * picture.height)
        draw.line((x, y, *end), fill=(0, 0, 0), width=rng.choice((1, 2)))
        draw.text((x, y), _words(rng, 1, 2), rng.choice(TINTS[:5]), face)
    return picture


def page(picture: Image.Image, fonts: tuple[str, ...], rng: random.Random) -> Image.Image:
    """Lines of print beside or below a picture."""
    side = max(picture.size)
    sheet = Image.new("RGB", (side, side), rng.choice(((255,) * 3, (245, 240, 225))))
    small = picture.copy()
    small.thumbnail((side // 2, side // 2))
    sheet.paste(small, (side // 20, side // 20))
    draw, letters = ImageDraw.Draw(sheet), max(8, int(side * rng.uniform(0.03, 0.06)))
    face, y = font(rng.choice(fonts), letters), small.height + side / 10
    while y < side - letters:
        draw.text((side / 20, y), _words(rng, 4, 9), (30, 30, 30), face)
        y += letters * 1.4
    return sheet


def meme(picture: Image.Image, fonts: tuple[str, ...], rng: random.Random) -> Image.Image:
    """White capitals with a black edge, solid, above and below."""
    draw = ImageDraw.Draw(picture)
    face = font(rng.choice(fonts), max(12, int(max(picture.size) * rng.uniform(0.07, 0.12))))
    for y in rng.sample((0.1, 0.9), rng.randint(1, 2)):
        draw.text((picture.width / 2, y * picture.height), _words(rng, 2, 4).upper(), (255,) * 3,
                  face, anchor="mm", stroke_width=2, stroke_fill=(0, 0, 0))  # fmt: skip
    return picture


def ruled(picture: Image.Image, fonts: tuple[str, ...], rng: random.Random) -> Image.Image:
    """Graph paper, stripes or a fence over or behind: lines that repeat and say nothing."""
    layer = Image.new("RGBA", picture.size, (0, 0, 0, 0))
    draw, step = ImageDraw.Draw(layer), max(8, int(max(picture.size) * rng.uniform(0.04, 0.15)))
    ink = (*rng.choice(TINTS), rng.choice((90, 160, 255)))
    for x in range(0, picture.width, step):
        draw.line((x, 0, x, picture.height), fill=ink, width=rng.choice((1, 2)))
    if rng.random() < 0.6:
        for y in range(0, picture.height, step):
            draw.line((0, y, picture.width, y), fill=ink, width=1)
    whole = picture.convert("RGBA")
    whole.alpha_composite(layer)
    return whole.convert("RGB")
