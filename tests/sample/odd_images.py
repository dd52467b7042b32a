"""Image files as people have them: turned by their file, deep, see-through, of other colours."""

import io
import tarfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from PIL.Image import Transpose

import frenchcat
from tests.sample import profiles

TURNED_BACK = {
    1: None,
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_90,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_270,
}
"""EXIF's orientation -> how a picture lies in a file that says so."""
TURNING = ("JPEG", "MPO", "PNG", "WEBP", "AVIF", "TIFF", "HEIF")
"""Pillow's names of the formats whose files say how they are turned."""


def drawn(seed: int, width: int = 120, height: int = 80) -> Image.Image:
    """A picture of blurred discs, told apart from others and from itself turned."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (width, height), tuple(rng.integers(0, 256, 3).tolist()))
    draw = ImageDraw.Draw(image)
    for _ in range(14):
        x, y, across, down = (rng.random(4) * (width, height, width / 3, height / 3)).tolist()
        draw.ellipse((x, y, x + 5 + across, y + 5 + down), tuple(rng.integers(0, 256, 3).tolist()))
    return image.filter(ImageFilter.GaussianBlur(2))


def saved(image: Image.Image, kind: str, orientation: int = 1, **how: Any) -> bytes:
    """An upright image as a file that is turned and says so."""
    turn = TURNED_BACK[orientation]
    if kind in ("HEIF", "JXL"):
        import pillow_heif
        import pillow_jxl  # noqa: F401

        pillow_heif.register_heif_opener()
    exif = Image.Exif()
    if orientation > 1:
        exif[0x0112] = orientation
        how["exif"] = exif if kind == "TIFF" else exif.tobytes()
    if kind in ("JPEG", "MPO", "WEBP", "AVIF", "HEIF"):
        how = {"quality": 95, **how}
    if kind == "AVIF":
        how = {"speed": 10, **how}
    lying, out = image if turn is None else image.transpose(turn), io.BytesIO()
    if kind == "HEIF":  # its encoder takes the orientation for its own boxes and turns nothing
        lying.info.pop("exif", None)
    if kind == "MPO":
        how |= {"save_all": True, "append_images": [lying.resize((16, 16))]}
    lying.save(out, kind, **how)
    return out.getvalue()


def logo(image: Image.Image) -> Image.Image:
    """The middle of an image, with all around it transparent (and black)."""
    width, height = image.size
    hole = Image.new("L", image.size, 0)
    hole.paste(255, (width // 4, height // 4, width * 3 // 4, height * 3 // 4))
    return Image.composite(image.convert("RGBA"), Image.new("RGBA", image.size), hole)


def on_white(image: Image.Image) -> Image.Image:
    """An RGBA image on white, by Pillow."""
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def by_opencv(pixels: NDArray[Any], extension: str) -> bytes:
    """Samples of any depth as a file; `pixels` are grey, RGB or RGBA: (H, W, 1, 3 or 4)."""
    import cv2

    order = [0] if pixels.shape[-1] == 1 else [2, 1, 0, 3][: pixels.shape[-1]]
    ordered = np.ascontiguousarray(pixels[..., order])
    return bytes(cv2.imencode(extension, ordered)[1].tobytes())


@cache
def people_have() -> dict[str, tuple[bytes, Image.Image]]:
    """Name -> a file, and the picture that people see: of each kind one, all different."""
    photographs = iter(_photographs())
    found: dict[str, tuple[bytes, Image.Image]] = {}
    for kind, turn in zip(TURNING, (6, 8, 6, 8, 5, 3, 6), strict=True):
        seen = next(photographs)
        found[f"{kind} turned {turn}"] = (saved(seen, kind, turn), seen)
    for kind, turn in (("PNG", 6), ("WEBP", 3), ("AVIF", 8)):
        mark = logo(next(photographs))
        found[f"{kind} see-through"] = (saved(mark, kind, turn), on_white(mark))
    shades = next(photographs).convert("L")
    deep = Image.fromarray(np.asarray(shades).astype(np.uint16) * 257)
    found["PNG 16 bits"] = (saved(deep, "PNG", 8), shades.convert("RGB"))
    seen = next(photographs)
    found["TIFF floats"] = (by_opencv(np.asarray(seen).astype(np.float32) / 255, ".tiff"), seen)
    seen = next(photographs)
    wide = profiles.wide_in_srgb(np.asarray(seen), 1.6).round().astype(np.uint8)
    found["JPEG of a wide profile"] = (
        saved(seen, "JPEG", 6, icc_profile=profiles.wide(1.6)),
        Image.fromarray(wide),
    )
    seen = next(photographs)
    found["JPEG in CMYK"] = (saved(seen.convert("CMYK"), "JPEG", 3), seen)
    indexed = next(photographs).quantize(64)
    found["GIF palette"] = (saved(indexed, "GIF"), indexed.convert("RGB"))
    for kind in ("JPEG2000", "JXL"):
        seen = next(photographs)
        found[kind] = (saved(seen, kind), seen)
    return found


def _photographs() -> Iterator[Image.Image]:
    """Pictures of the bundled sample: of what is drawn, a model says little."""
    with tarfile.open(Path(frenchcat.__file__).parent / "sample_data/pictures.tar") as tar:
        for member in tar:
            file = tar.extractfile(member)
            if file is None or not member.name.endswith(".jpg") or member.size < 12_000:
                continue
            with Image.open(io.BytesIO(file.read())) as opened:
                if opened.mode == "RGB" and opened.width > opened.height:
                    yield opened.resize((240, 160))
