"""Small pictures as files, each of its own colour or noise."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def file_of(pixels: NDArray[np.uint8] | Image.Image, kind: str = "PNG", **how: int) -> bytes:
    """Pixels as a file; JPEG has no transparency, so that is dropped."""
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    out = io.BytesIO()
    (picture.convert("RGB") if kind == "JPEG" else picture).save(out, kind, **how)
    return out.getvalue()


def picture(number: int = 0, width: int = 8, height: int = 8, kind: str = "PNG") -> bytes:
    """A picture whose colour tells its number."""
    colour = (number % 256, number // 256 % 256, 99)
    return file_of(Image.new("RGB", (width, height), colour), kind)


def jpeg(pixels: NDArray[np.uint8] | Image.Image, quality: int = 90) -> bytes:
    """Pixels as a JPEG file."""
    return file_of(pixels, "JPEG", quality=quality)


def noise(seed: int, width: int = 16, height: int = 16) -> Image.Image:
    """A picture by chance, pixel by pixel."""
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


def random_pictures(count: int, seed: int = 0) -> list[Image.Image]:
    """Pictures of many sizes and modes: large blocks of colour with noise over them."""
    rng = np.random.default_rng(seed)
    pictures = []
    for number in range(count):
        blocks = rng.integers(0, 256, (3, 4, 3), dtype=np.uint8)
        width, height = (int(side) for side in rng.integers(40, 150, 2))
        picture = Image.fromarray(blocks).resize((width, height), Image.Resampling.NEAREST)
        pictures.append(picture.convert(("RGB", "L", "RGBA", "P")[number % 4]))
    return pictures


def encoded(count: int, seed: int = 0) -> list[bytes]:
    """`random_pictures` as files: JPEG, PNG and WebP in turn."""
    kinds = ("JPEG", "PNG", "WEBP")
    drawn = enumerate(random_pictures(count, seed))
    return [file_of(each.convert("RGB"), kinds[number % 3]) for number, each in drawn]


def photographs(count: int, seed: int = 0) -> list[bytes]:
    """JPEGs with large shapes and grain."""
    rng = np.random.default_rng(seed)
    made = []
    for drawn in random_pictures(count, seed):
        smooth = drawn.convert("RGB").resize((120, 90), Image.Resampling.BICUBIC)
        grain = rng.normal(0, 12, (90, 120, 1))
        made.append(jpeg(np.clip(np.asarray(smooth) + grain, 0, 255).astype(np.uint8)))
    return made
