"""Stamped and unstamped pictures, reproducible from a number, trained on and held out apart.

Reads the unpacked Debian packages openclipart-png, tuxpaint-stamps-default and mate-backgrounds
(drawings, photographed objects, photographs); writes nothing. Open Clip Art that is reserved for
the bundled sample (tools/openclipart.py) is never used. One source in eight is held out.
"""

import hashlib
import io
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image

from tools.openclipart import reserved
from tools.watermark.lettering import lettered
from tools.watermark.stamps import HELD, INVENTED, TRAIN, stamped
from tools.watermark.textures import textured

HELD_SHARE = 8
LARGEST_PX = 512
LARGEST_DRAWING = 12_000_000  # pixels; the few larger ones take seconds to open
WEIGHTS = {"tiled": 3, "centre": 2, "grid": 2, "corner": 1, "band": 1, "scattered": 1}


@dataclass(frozen=True)
class Made:
    """One picture to train or judge on."""

    picture: Image.Image
    marked: bool
    kind: str  # the stamp's style, or plain | lettered


@dataclass(frozen=True)
class Sources:
    """Paths of one side of the split."""

    drawings: tuple[Path, ...]
    objects: tuple[Path, ...]
    grounds: tuple[Path, ...]


@cache
def sources(root: Path, held: bool) -> Sources:
    """The pictures of one side, in path order; `root` holds the unpacked packages."""
    share = root / "usr" / "share"

    def side(folder: Path, paths: Iterator[Path]) -> Iterator[Path]:
        for path in sorted(paths):
            # Not the bare name: that is what the sample's quarter is chosen by.
            name = f"watermark/{path.relative_to(folder).as_posix()}".encode()
            if (int(hashlib.sha256(name).hexdigest(), 16) % HELD_SHARE == 0) == held:
                yield path

    clipart, stamps = share / "openclipart" / "png", share / "tuxpaint" / "stamps"
    free = (p for p in clipart.rglob("*.png") if not reserved(p.relative_to(clipart).as_posix()))
    photographed = (p for p in stamps.rglob("*.png") if "cartoon" not in p.parts)
    grounds = share / "backgrounds" / "mate" / "nature"
    return Sources(
        tuple(side(clipart, free)),
        tuple(side(stamps, photographed)),
        tuple(side(grounds, grounds.glob("*.jpg"))),
    )


def make(root: Path, number: int, held: bool) -> list[Made]:
    """Two pictures of source `number`: one without a stamp, one with; empty if it is broken."""
    rng = random.Random(f"{'held' if held else 'train'} {number}")
    kit = HELD if held else TRAIN
    try:
        picture = _picture(sources(root, held), rng)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return []
    text = lettered(picture, kit.fonts, rng)
    style = rng.choice(list(kit.styles))
    without = Made(text, False, "lettered") if rng.random() < 0.5 else Made(picture, False, "plain")
    under = text if rng.random() < 0.25 else picture
    marked = Made(stamped(under, style, kit, rng), True, style)
    return [Made(_stored(one.picture, rng), one.marked, one.kind) for one in (without, marked)]


def pair(root: Path, number: int, held: bool) -> list[Made]:
    """Drawing `number` without a stamp and the very same with one; empty if there is none such.

    Every drawing has one number, in mixed order, so that the first numbers are of all kinds.
    Size, ground and JPEG quality are the pair's: nothing but the stamp tells its two apart.
    """
    rng = random.Random(f"{'held' if held else 'train'} pair {number}")
    kit, drawings = HELD if held else INVENTED, _mixed(sources(root, held).drawings)
    try:
        picture = _drawing(drawings[number], rng)
    except (OSError, ValueError, SyntaxError, IndexError, Image.DecompressionBombError):
        return []
    kind, what = "drawing", rng.random()
    if what < 0.2:
        kind, picture = "lettered", lettered(picture, kit.fonts, rng)
    elif what < 0.4 and not held:
        kind, picture = "textured", textured(picture, rng)
    style = rng.choices(list(kit.styles), [WEIGHTS[name] for name in kit.styles])[0]
    both = [(picture, False, kind), (stamped(picture, style, kit, rng), True, style)]
    stored = rng.random()
    return [Made(_stored(one, random.Random(stored)), mark, name) for one, mark, name in both]


@cache
def _mixed(paths: tuple[Path, ...]) -> tuple[Path, ...]:
    return tuple(random.Random("mixed").sample(paths, len(paths)))


def _drawing(path: Path, rng: random.Random) -> Image.Image:
    """A drawing on white, seldom on a tint, mirrored half of the time."""
    with Image.open(path) as opened:
        if opened.width * opened.height > LARGEST_DRAWING:
            raise ValueError(f"{path}: too large")
        cut_out = opened.convert("RGBA")
    scale = rng.randint(220, LARGEST_PX) / max(cut_out.size)
    size = (max(24, round(cut_out.width * scale)), max(24, round(cut_out.height * scale)))
    cut_out = cut_out.resize(size, Image.Resampling.BICUBIC)
    tint = (255, 255, 255) if rng.random() < 0.85 else tuple(rng.choices(range(120, 256), k=3))
    whole = Image.new("RGBA", size, tint)
    whole.alpha_composite(cut_out)
    if rng.random() < 0.5:
        whole = whole.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return whole.convert("RGB")


def _picture(found: Sources, rng: random.Random) -> Image.Image:
    """A drawing, an object or a photograph, at the size that a page would show it."""
    kind = rng.random()
    if kind < 0.15 and found.grounds:
        return _ground(found, rng)
    path = rng.choice(found.drawings if kind < 0.65 else found.objects)
    with Image.open(path) as opened:
        cut_out = opened.convert("RGBA")
    side = rng.randint(220, LARGEST_PX)
    scale = side / max(cut_out.size)
    size = (max(24, round(cut_out.width * scale)), max(24, round(cut_out.height * scale)))
    cut_out = cut_out.resize(size, Image.Resampling.BICUBIC)
    if rng.random() < 0.55:
        whole = Image.new("RGBA", size, "white")
    else:
        whole = _ground(found, rng).resize(size).convert("RGBA")
    whole.alpha_composite(cut_out)
    return whole.convert("RGB")


def _ground(found: Sources, rng: random.Random) -> Image.Image:
    """A part of a photograph, or an even ground that gets lighter on one side."""
    size = (rng.randint(240, LARGEST_PX), rng.randint(240, LARGEST_PX))
    if found.grounds and rng.random() < 0.7:
        photograph = _opened(rng.choice(found.grounds))
        width = rng.randint(400, photograph.width // 2)
        height = min(photograph.height, width * size[1] // size[0])
        left, top = (
            rng.randint(0, photograph.width - width),
            rng.randint(0, photograph.height - height),
        )
        return photograph.crop((left, top, left + width, top + height)).resize(size)
    ends = [tuple(rng.randint(0, 255) for _ in range(3)) for _ in range(2)]
    slope = Image.linear_gradient("L").rotate(rng.choice((0, 90, 180))).resize(size)
    return Image.composite(Image.new("RGB", size, ends[0]), Image.new("RGB", size, ends[1]), slope)


@cache
def _opened(path: Path) -> Image.Image:
    with Image.open(path) as opened:
        opened.thumbnail((1600, 1600))
        return opened.convert("RGB")


def _stored(picture: Image.Image, rng: random.Random) -> Image.Image:
    """As a download leaves it: often smaller, always through a JPEG."""
    if rng.random() < 0.6:
        side = rng.choice((256, 320, 384))
        picture.thumbnail((side, side), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=rng.randint(70, 95))
    return Image.open(file).convert("RGB")
