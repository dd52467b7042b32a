"""Prompts -> PNG files and a grid, from a run's folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

GRID = "grid.png"


def draw_to_files(
    run: Path,
    prompts: Sequence[str],
    out: Path,
    *,
    number: int = 4,
    seed: int = 0,
    negative: str = "",
    image: Path | None = None,
    **how: Any,
) -> list[Path]:
    """Draw `number` pictures a prompt into a folder; gives the files, the grid last.

    `how` goes to train.draw. Raises `UserError` for a folder that is no run, an unreadable picture
    or numbers out of range.
    """
    from train.draw import Wish, draw, grid
    from train.run import open_run

    parts, _, _ = open_run(run)
    wishes = [Wish(p, seed + n, negative) for p in prompts for n in range(number)]
    start = None if image is None else _opened(image)
    if start is None:
        how["strength"] = 1.0
    try:
        pictures = draw(parts, wishes, start=start, **how)
    except ValueError as error:
        raise UserError(str(error)) from None
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for wish, picture in zip(wishes, pictures, strict=True):
        paths.append(out / f"{_slug(wish.prompt)}-{wish.seed}.png")
        picture.save(paths[-1])
    sheet = grid(pictures, [wish.prompt for wish in wishes], columns=min(number, 8))
    sheet.save(out / GRID)
    return [*paths, out / GRID]


def _opened(path: Path) -> Image:
    from PIL import Image as Images

    try:
        with Images.open(path) as picture:
            return picture.convert("RGB")
    except (OSError, ValueError, Images.DecompressionBombError) as error:
        raise UserError(f"{path} is no picture that can be read ({error})") from None


def _slug(prompt: str) -> str:
    return re.sub(r"\W+", "-", prompt.lower()).strip("-")[:60] or "empty"
