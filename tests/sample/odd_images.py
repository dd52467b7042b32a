"""Image files as people have them: turned by their file, deep, see-through, of other colours."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from PIL.Image import Transpose

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
    """Samples of any depth as a file; `pixels` are RGB."""
    import cv2

    return bytes(cv2.imencode(extension, np.ascontiguousarray(pixels[..., ::-1]))[1].tobytes())


def people_have() -> dict[str, tuple[bytes, Image.Image]]:
    """Name -> a file, and the picture that people see: of each kind one, all different."""
    found: dict[str, tuple[bytes, Image.Image]] = {}
    for seed, (kind, turn) in enumerate(zip(TURNING, (6, 8, 6, 8, 5, 3, 6), strict=True)):
        found[f"{kind} turned {turn}"] = (saved(drawn(seed), kind, turn), drawn(seed))
    see_through = logo(drawn(20))
    for kind, turn in (("PNG", 6), ("WEBP", 3), ("AVIF", 8)):
        found[f"{kind} see-through"] = (saved(see_through, kind, turn), on_white(see_through))
        see_through = logo(drawn(21 + len(found)))
    shades = drawn(30).convert("L")
    deep = Image.fromarray(np.asarray(shades).astype(np.uint16) * 257)
    found["PNG 16 bits"] = (saved(deep, "PNG", 8), shades.convert("RGB"))
    found["TIFF floats"] = (
        by_opencv(np.asarray(drawn(31)).astype(np.float32) / 255, ".tiff"),
        drawn(31),
    )
    found["JPEG of a wide profile"] = (
        saved(drawn(32), "JPEG", 6, icc_profile=profiles.wide()),
        Image.fromarray(profiles.wide_in_srgb(np.asarray(drawn(32))).round().astype(np.uint8)),
    )
    found["JPEG in CMYK"] = (saved(drawn(33).convert("CMYK"), "JPEG", 3), drawn(33))
    found["GIF palette"] = (saved(drawn(34).quantize(64), "GIF"), drawn(34))
    for number, kind in enumerate(("JPEG2000", "JXL")):
        found[kind] = (saved(drawn(35 + number), kind), drawn(35 + number))
    return found
