"""Which Open Clip Art pictures may be in the sample, and which of them are.

Reads the unpacked Debian packages openclipart-png and openclipart-svg and ``choice.toml``.
Only reserved pictures are taken, so that the bundled model never trained on them. The packages
file many a picture in several folders; one reserved path is enough, because the training recipe
(tools/mini/pictures.py) also leaves out whatever looks like a reserved picture.
"""

import hashlib
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from tools.openclipart import reserved
from tools.sample.metadata import Metadata, caption, read_metadata, series_titles

PUBLIC_DOMAIN = "http://web.resource.org/cc/PublicDomain"  # as the SVGs write it


@dataclass(frozen=True)
class Picture:
    """One chosen picture; ``source`` is its path below the png folder."""

    source: str
    caption: str
    title: str
    creator: str
    license: str


def choose(library: Path) -> list[Picture]:
    """The sample's pictures in path order, from ``library`` (holding png/ and svg/)."""
    choice = tomllib.loads(Path(__file__).with_name("choice.toml").read_text())
    paths = sorted(p.relative_to(library / "png").as_posix() for p in library.rglob("png/**/*.png"))
    metas = {rel: _metadata(library, rel) for rel in paths}
    series = series_titles(metas.values())
    held_out = [rel for rel in filter(reserved, paths) if _usable(metas[rel])]
    held_out = once_each(library / "png", held_out)
    return [
        _picture(rel, metas[rel], choice["captions"].get(rel) or caption(metas[rel], rel, series))
        for rel in _thin(_allowed(held_out, choice), choice["at_most"])
    ]


def once_each(png_root: Path, rels: list[str]) -> list[str]:
    """The first path of each picture among ``rels``, by its bytes."""
    first: dict[str, str] = {}
    for rel in rels:
        first.setdefault(hashlib.sha256((png_root / rel).read_bytes()).hexdigest(), rel)
    return list(first.values())


def _metadata(library: Path, rel: str) -> Metadata:
    empty = Metadata("", "", (), "", "")
    return read_metadata((library / "svg" / rel).with_suffix(".svg")) or empty


def _usable(meta: Metadata) -> bool:
    return meta.license == PUBLIC_DOMAIN and bool(meta.creator)


def _allowed(rels: list[str], choice: dict[str, Any]) -> list[str]:
    dropped = [pattern for patterns in choice["drop"].values() for pattern in patterns]
    return [
        rel
        for rel in rels
        if not any(fnmatch(rel, pattern) for pattern in dropped)
        and all(
            Path(rel).stem in stems
            for folder, stems in choice["only"].items()
            if rel.startswith(folder)
        )
    ]


def _thin(rels: list[str], at_most: dict[str, int]) -> list[str]:
    """Without all but ``at_most`` pictures under each prefix named there, spread evenly."""
    for prefix, limit in at_most.items():
        family = [rel for rel in rels if rel.startswith(prefix)]
        keep = {family[i * len(family) // limit] for i in range(min(limit, len(family)))}
        rels = [rel for rel in rels if rel in keep or not rel.startswith(prefix)]
    return rels


def _picture(rel: str, meta: Metadata, text: str) -> Picture:
    return Picture(rel, text, meta.title or text, meta.creator, meta.license)
