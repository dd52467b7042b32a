"""The set to steer by: Tux Paint's photographs with captions in six languages.

Reads ``tuxpaint-stamps-default`` (never trained on: neither pictures nor captions) and yields
pictures that are photographs of things: PNG, outside ``symbols/`` and the ``cartoon`` folders,
captioned in all six languages, one picture a caption.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from tools.mini.materials import share

LANGUAGES = ("en", "fr", "de", "es", "it", "ja")
CAPTION_LINE = re.compile(r"(fr|de|es|it|ja)\.utf8=(.*)")


@dataclass(frozen=True)
class HeldOut:
    """One photograph and its caption in every one of LANGUAGES."""

    path: Path
    captions: dict[str, str]


def read_captions(path: Path) -> dict[str, str]:
    """Language -> caption, from a stamp's .txt (English first, then ``xx.utf8=`` lines)."""
    lines = path.read_text("utf-8", errors="replace").splitlines()
    captions = {"en": lines[0].strip()}
    for line in lines[1:]:
        if found := CAPTION_LINE.match(line):
            captions[found[1]] = found[2].strip()
    return {language: text for language, text in captions.items() if text}


def held_out(work: Path) -> list[HeldOut]:
    """The photographs, in path order."""
    stamps = share(work, "tuxpaint", "stamps")
    rows: list[HeldOut] = []
    seen: set[str] = set()
    for path in sorted(stamps.rglob("*.png")):
        parts = path.relative_to(stamps).parts
        if parts[0] == "symbols" or "cartoon" in parts or path.stem.endswith("_mirror"):
            continue
        text = path.with_suffix(".txt")
        captions = read_captions(text) if text.exists() else {}
        if len(captions) < len(LANGUAGES) or captions["en"] in seen:
            continue
        seen.add(captions["en"])
        rows.append(HeldOut(path, captions))
    return rows


def open_on_white(path: Path) -> Image.Image:
    """An RGB picture; transparent parts become white."""
    with Image.open(path) as image:
        rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB")
