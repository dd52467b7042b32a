"""SVG -> PNG on white, by resvg (wheels without system libraries)."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from frenchcat.curate.atomic import write_whole
from tools.artist.materials import Drawing

SIDE_PX = 128


def render(svg: str, side: int = SIDE_PX) -> bytes:
    """A drawing, whole, in the middle of a white square of `side` pixels, as PNG.

    Raises ValueError for an SVG that cannot be drawn.
    """
    import resvg_py

    # No font of this machine is asked for: the same package gives the same pixels anywhere.
    found = resvg_py.svg_to_bytes(svg_string=svg, width=side, height=side, skip_system_fonts=True)
    with Image.open(io.BytesIO(bytes(found))) as opened:
        drawn = opened.convert("RGBA")
    sheet = Image.new("RGBA", (side, side), "white")
    sheet.alpha_composite(drawn, ((side - drawn.width) // 2, (side - drawn.height) // 2))
    out = io.BytesIO()
    sheet.convert("RGB").save(out, "PNG")
    return out.getvalue()


def write_pictures(drawings: list[Drawing], folder: Path) -> dict[Drawing, str]:
    """Each drawing's file below a folder, by its address there; what fails is left out.

    A file that is there is kept.
    """
    paths: dict[Drawing, str] = {}
    for drawing in drawings:
        address = f"{drawing.source.name}/{drawing.slug}.png"
        path = folder / address
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                body = render(drawing.svg)
            except (ValueError, OSError):
                continue
            write_whole(path, body)
        paths[drawing] = address
    return paths
