"""Drawings as files: signed images, a receipt beside each, and a grid of them all."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frenchcat.curate.atomic import write_whole
from frenchcat.curate.errors import UserError
from frenchcat.curate.json_text import json_text
from frenchcat.curate.outputs import check_folder_name, check_outside
from frenchcat.curate.system_errors import check_writable
from frenchcat.drawing import ENDINGS, draw_signed
from frenchcat.verify_file import kind_of

if TYPE_CHECKING:
    from frenchcat.train.checkpoint import State
    from frenchcat.train.credentials import Credentials
    from frenchcat.train.draw import SampleRequest
    from frenchcat.train.run import Parts

    Opened = tuple[Parts, State, Path]  # as train.run.open_run gives


def draw_to_files(
    run: Path | None,
    prompts: Sequence[str],
    out: Path,
    *,
    number: int = 4,
    credentials: Credentials | None = None,
    kind: str = "png",
    **how: Any,
) -> list[Path]:
    """Draw as `draw_signed` does, into a folder; returns the files, the grid last.

    Each image's receipt is a .json file of the same name. A file that holds another drawing is not
    overwritten: the new one is numbered, and the same call gives the same files. Raises what
    `draw_signed` raises, and `UserError` for a folder that lies in a dataset, is named like a
    file or cannot be written.
    """
    check_outside(out, "--out")
    check_folder_name(out, "--out")
    check_writable(out, "folder with --out")
    drawings, about = draw_signed(
        run, prompts, number=number, credentials=credentials, kind=kind, **how
    )
    from frenchcat.train.credentials import own_credentials
    from frenchcat.train.draw import grid
    from frenchcat.train.provenance import signed, with_source_type

    ending = ENDINGS[kind]
    out.mkdir(parents=True, exist_ok=True)
    names = _names(out, {one.wanted: one.made for one in drawings}, ending)
    paths: list[Path] = []
    for one in drawings:
        path = out / f"{names[one.wanted.prompt]}-{one.wanted.seed}{ending}"
        write_whole(path, one.file)
        text = json_text({"picture": path.name, **one.receipt}, indent=1) + "\n"
        write_whole(path.with_suffix(".json"), text.encode())
        paths.append(path)
    titles = [one.wanted.prompt for one in drawings]
    sheet = grid([one.picture for one in drawings], titles, columns=min(number, 8))
    facts = about | {"prompt": "; ".join(prompts)}
    data = with_source_type(sheet, kind)
    path = next(path for path in _numbered(out, "grid", ending) if _is_free(path, facts, data))
    write_whole(path, signed(data, facts, credentials or own_credentials(), kind))
    return [*paths, path]


def _names(
    out: Path, facts_of: Mapping[SampleRequest, Mapping[str, Any]], ending: str
) -> dict[str, str]:
    """File names for the prompts, numbered where another prompt or drawing has the name."""
    names: dict[str, str] = {}
    for prompt in dict.fromkeys(wanted.prompt for wanted in facts_of):
        own = {wanted.seed: facts for wanted, facts in facts_of.items() if wanted.prompt == prompt}
        taken = set(names.values())
        names[prompt] = next(
            path.name
            for path in _numbered(out, _slug(prompt), "")
            if path.name not in taken
            and all(
                _is_free(out / f"{path.name}-{seed}{ending}", facts) for seed, facts in own.items()
            )
        )
    return names


def _numbered(out: Path, name: str, ending: str) -> Iterator[Path]:
    """``grid.png``, ``grid_2.png``, ``grid_3.png`` and so on."""
    yield out / f"{name}{ending}"
    for number in itertools.count(2):
        yield out / f"{name}_{number}{ending}"


def _is_free(path: Path, facts: Mapping[str, Any], sheet: bytes | None = None) -> bool:
    """Whether a drawing may be written to this path: it is free, or holds this very drawing.

    A grid's facts do not include its seeds, so its pixels are compared, too.
    """
    import json

    from frenchcat.curate.image import open_image
    from frenchcat.train.provenance import verified

    if not path.exists():
        return True
    try:
        data = path.read_bytes()
        there = verified(data, kind_of(path, data), b"").facts
        same = sheet is None or open_image(path).tobytes() == open_image(sheet).tobytes()
    except (OSError, UserError):
        return False
    return same and dict(there) == json.loads(json_text(facts))


def _slug(prompt: str) -> str:
    slug = re.sub(r"\W+", "-", prompt.lower()).strip("-")[:60]
    return slug.encode()[:120].decode(errors="ignore") or "empty"  # names have 255 bytes
