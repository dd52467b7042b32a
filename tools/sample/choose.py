"""Which Open Clip Art pictures may be in the sample, and which of them are.

Reads the unpacked Debian packages openclipart-png and openclipart-svg and ``choice.toml``.
Only pictures that the bundled model never trained on are taken: the path is reserved, and so is
every other path that holds the same bytes (the packages file one picture in several folders).
"""

import hashlib
import tomllib
from collections import defaultdict
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
    held_out = [r for r in untrained(library / "png", paths) if _usable(metas[r])]
    return [
        _picture(rel, metas[rel], choice["captions"].get(rel) or caption(metas[rel], rel, series))
        for rel in _thin(_allowed(held_out, choice), choice["at_most"])
    ]


def untrained(png_root: Path, paths: list[str]) -> list[str]:
    """One path a picture, of pictures all of whose paths are reserved."""
    by_digest: dict[str, list[str]] = defaultdict(list)
    for rel in paths:
        by_digest[hashlib.sha256((png_root / rel).read_bytes()).hexdigest()].append(rel)
    return sorted(rels[0] for rels in by_digest.values() if all(map(reserved, rels)))


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
    """Without all but ``at_most`` pictures of each folder named there, spread evenly."""
    gone: set[str] = set()
    for prefix, limit in at_most.items():
        family = [rel for rel in rels if rel.startswith(prefix)]
        keep = {family[i * len(family) // limit] for i in range(min(limit, len(family)))}
        gone |= set(family) - keep
    return [rel for rel in rels if rel not in gone]


def _picture(rel: str, meta: Metadata, text: str) -> Picture:
    return Picture(rel, text, meta.title or text, meta.creator, meta.license)
