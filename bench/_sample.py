"""The bundled sample's images, as measurements plant them in folders with texts beside them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

from PIL import Image

from frenchcat.sample_data import BUNDLED_BASE_URL, PICTURES, read_list


def ordinary_rows() -> list[dict[str, Any]]:
    """The rows of its list that are sound images, in order; each has url and caption."""
    return [row for row in read_list().to_pylist() if not row["planted"]]


def sample_files() -> dict[str, bytes]:
    """Name -> bytes of its images."""
    with tarfile.open(PICTURES) as tar:
        return {name: tar.extractfile(name).read() for name in tar.getnames()}  # type: ignore[union-attr]


def write_pair(place: Path, files: dict[str, bytes], row: dict[str, Any], caption: str) -> None:
    """Write a row's image as a PNG, and a caption beside it; `place` has no ending."""
    name = row["url"].removeprefix(f"{BUNDLED_BASE_URL}/")
    with Image.open(io.BytesIO(files[name])) as image:
        image.convert("RGB").save(place.with_suffix(".png"))
    place.with_suffix(".txt").write_text(caption, encoding="utf-8")
