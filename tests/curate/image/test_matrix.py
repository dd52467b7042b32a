"""Formats x orientation x depth x transparency x profile: each pair of these, at every opener.

The reference is what was drawn: turned by nothing, on white by Pillow, in sRGB by the matrices.
"""

import itertools
import re
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from frenchcat.curate.adopt.kept import kept
from frenchcat.curate.download.pictures import ImageProcessor, ResizeSettings
from frenchcat.curate.image import open_image
from frenchcat.curate.image.sniff import sniff
from tests.sample import profiles
from tests.sample.odd_images import TURNED_BACK, TURNING, by_opencv, drawn, logo, on_white, saved

FORMATS = (*TURNING, "GIF", "JPEG2000", "JXL")
SEE_THROUGH = {"PNG", "WEBP", "AVIF", "TIFF", "HEIF", "GIF", "JPEG2000", "JXL"}
WITH_PROFILE = {*TURNING, "JPEG2000"}
DEEP = {"PNG": ".png", "TIFF": ".tiff", "JPEG2000": ".jp2"}
GAMMA = 1.6
OFF = 6  # levels of 255, on average: what JPEG and a palette lose


@dataclass(frozen=True)
class Kind:
    """One cell of the matrix."""

    format: str
    turn: int
    bits: int
    alpha: bool
    profile: bool

    @property
    def name(self) -> str:
        said = [self.format, f"turned {self.turn}", f"{self.bits} bits"]
        said += ["see-through"] * self.alpha + ["wide"] * self.profile
        return ", ".join(said)

    def file(self) -> bytes:
        image = logo(OWN) if self.alpha else OWN
        if self.bits == 16:
            return by_opencv(np.asarray(image).astype(np.uint16) * 257, DEEP[self.format])
        if self.profile and self.format == "JPEG2000":
            return with_profile(saved(image, "JPEG2000"), profiles.wide(GAMMA))
        how: dict[str, object] = {"icc_profile": profiles.wide(GAMMA)} if self.profile else {}
        if self.format in ("WEBP", "JXL"):
            how["lossless"] = True
        return saved(image, self.format, self.turn, **how)

    def seen(self) -> NDArray[np.float64]:
        """(80, 120, 3) levels, as people see it."""
        seen = np.asarray(OWN, float)
        if self.profile:
            seen = profiles.wide_in_srgb(np.asarray(OWN), GAMMA)
        if self.alpha:
            opaque = np.asarray(logo(OWN))[..., 3:] == 255
            assert np.abs(np.asarray(on_white(logo(OWN)))[~opaque[..., 0]] - 255.0).max() == 0
            seen = np.where(opaque, seen, 255)
        return seen


def with_profile(data: bytes, profile: bytes) -> bytes:
    """A JP2 whose `colr` box (ISO/IEC 15444-1, I.5.3.3) has a profile."""
    plain = b"\0\0\0\x0fcolr\1\0\0\0\0\0\x10"
    assert plain in data
    colr = struct.pack(">I4s3s", 11 + len(profile), b"colr", b"\2\0\0") + profile
    at = data.index(b"jp2h") - 4
    (size,) = struct.unpack_from(">I", data, at)
    longer = struct.pack(">I", size + len(colr) - len(plain))
    return (data[:at] + longer + data[at + 4 :]).replace(plain, colr)


def _kinds() -> list[Kind]:
    """Every cell that its format can hold; orientations take turns where two others are set."""
    found, turns = [], itertools.cycle(range(2, 9))
    for format_, bits, alpha, wide in itertools.product(FORMATS, (8, 16), (False, True), (0, 1)):
        if bits == 16 and (format_ not in DEEP or wide):
            continue
        if (alpha and format_ not in SEE_THROUGH) or (wide and format_ not in WITH_PROFILE):
            continue
        turning = format_ in TURNING and bits == 8
        for turn in (1, next(turns), next(turns)) if turning else (1,):
            found.append(Kind(format_, turn, bits, alpha, bool(wide)))
    return found


OWN = drawn(1)
KINDS = _kinds()
FILES = {kind: kind.file() for kind in KINDS}
PROCESS = ImageProcessor(ResizeSettings(resize_mode="no", encode_quality=100))


def off(image: Image.Image, kind: Kind) -> float:
    seen = kind.seen()
    assert np.asarray(image).shape == seen.shape
    return float(np.abs(np.asarray(image, float) - seen).mean())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_an_image_is_what_people_see(kind: Kind) -> None:
    """Opened, stored by the download, and kept by an adoption: every way in ends in these."""
    data = FILES[kind]
    assert off(open_image(data), kind) < OFF
    assert off(open_image(PROCESS(data, sniff(data)).data), kind) < OFF
    assert off(open_image(kept(data).data), kind) < OFF


@pytest.mark.parametrize("bits", [4, 9, 12, 16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_white_of_a_jpeg2000_of_any_depth_is_white(bits: int, channels: int) -> None:
    """Of which nobody writes a file: the depth of one of 16 bits is said to be another."""
    top = 2**bits - 1
    ramp = np.linspace(0, top, 80 * 120).round().astype(np.uint16).reshape(80, 120)
    colour = np.dstack([ramp] * min(channels, 3))
    opaque = np.full((80, 120, 1), top, np.uint16)
    samples = np.dstack([colour, opaque]) if channels == 4 else colour
    data = by_opencv(samples + 2**15 - 2 ** (bits - 1), ".jp2")
    said = bytes([bits - 1])
    data = data.replace(b"\x0f\x07\0\0", said + b"\x07\0\0")
    data = data.replace(b"\x0f\1\1" * channels, (said + b"\1\1") * channels)
    found = np.asarray(open_image(data), float)
    assert np.abs(found - np.dstack([ramp / top * 255] * 3)).max() < 2


def test_the_matrix_tells_its_cells_apart() -> None:
    """A picture that was opened in another way than its own is far off."""
    for turn in set(TURNED_BACK) - {1}:
        back = TURNED_BACK[turn]
        assert back is not None
        lying = OWN.transpose(back)
        if lying.size == OWN.size:
            assert off(lying, Kind("PNG", 1, 8, False, False)) > 2 * OFF
    assert off(OWN, Kind("PNG", 1, 8, False, True)) > 8
    assert off(OWN, Kind("PNG", 1, 8, True, False)) > 8


DECODES = re.compile(r"\b(Images?\.open|imdecode|imread|decode_image|decode_jpeg)\(")
LOOKS_AT_THE_FILE = {
    "curate/download/rights/metadata.py": "texts beside the pixels",
    "curate/score/kinds.py": "tables of compression",
}
"""Modules that open a file and take no pixels of it."""


def test_only_one_package_decodes() -> None:
    """Whatever asks it has the same form of an image: there is no other way in."""
    root = Path(__file__).parents[3]
    found = {
        path.relative_to(root).as_posix()
        for package in ("curate", "index", "train", "frenchcat")
        for path in (root / package).rglob("*.py")
        if not path.is_relative_to(root / "curate/image") and not path.parent.is_symlink()
        if DECODES.search(path.read_text("utf-8"))
    }
    assert found == set(LOOKS_AT_THE_FILE)
