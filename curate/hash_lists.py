"""Lists of hashes: images that are not to be stored, wherever they come from.

Reads a user's lists and what removals name (removals.py); compares the digests and the PDQ hash of
what was fetched. Cost: two digests per image, and for PDQ two hashes and a pass over the listed
ones.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frenchcat.curate.errors import UnreadableImage, UserError
from frenchcat.curate.removals import Removed

if TYPE_CHECKING:
    from PIL.Image import Image

_PDQ_SIDE = 512
_LENGTHS = {32: "md5", 64: "sha256"}  # hex digits; a PDQ hash has 64, too; its file tells it apart


@dataclass(frozen=True)
class HashList:
    """Digests of images that are not to be stored."""

    md5: frozenset[str] = frozenset()
    sha256: frozenset[str] = frozenset()
    pdq: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.md5 or self.sha256 or self.pdq)

    def holds(self, original: bytes, stored: bytes) -> str | None:
        """Which hash of an image is listed (`md5`, `sha256`, `pdq`); None where none is."""
        if self.md5 and not self.md5.isdisjoint(_digests("md5", original, stored)):
            return "md5"
        if self.sha256 and not self.sha256.isdisjoint(_digests("sha256", original, stored)):
            return "sha256"
        if self.pdq and (self._near(stored) or self._near(original)):
            return "pdq"
        return None

    @cached_property
    def _bits(self) -> Any:
        raw = bytes.fromhex("".join(sorted(self.pdq)))
        return np.frombuffer(raw, np.uint8).reshape(len(self.pdq), -1)

    def _near(self, data: bytes) -> bool:
        from frenchcat.curate.hashes import PDQ_DISTANCE, PDQ_QUALITY, pdq_and_quality

        # Originals have no border and all their detail, stored images may: either counts.
        picture = _opened(data)
        if picture is None:
            return False
        found, quality = pdq_and_quality(picture)
        if quality < PDQ_QUALITY:
            return False
        distances = np.bitwise_count(self._bits ^ np.frombuffer(found, np.uint8)).sum(axis=1)
        return bool((distances <= PDQ_DISTANCE).any())


def _opened(data: bytes) -> Image | None:
    """An image at PDQ's working size, 512 px; None where it cannot be opened."""
    from frenchcat.curate.image import open_image

    try:
        picture = open_image(data, at_least=(_PDQ_SIDE, _PDQ_SIDE))
    except UnreadableImage:  # what is stored was decoded before
        return None
    picture.thumbnail((_PDQ_SIDE, _PDQ_SIDE))
    return picture


def _digests(name: str, *parts: bytes) -> set[str]:
    return {hashlib.new(name, part, usedforsecurity=False).hexdigest() for part in parts}


def read_hash_lists(paths: tuple[str, ...]) -> HashList:
    """Text files with one hash per line (hex; `#` begins a comment). Raises `UserError`.

    md5 and SHA-256 are told by their length; a file whose name ends in ``.pdq`` holds PDQ hashes.
    """
    found: dict[str, set[str]] = {"md5": set(), "sha256": set(), "pdq": set()}
    for path in map(Path, paths):
        if not path.is_file():
            raise UserError(f"hash list {path}: no such file")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            text = line.split("#")[0].split(",")[0].strip().lower()
            if text:
                found[_kind(path, number, text)].add(text)
    return HashList(*(frozenset(found[kind]) for kind in ("md5", "sha256", "pdq")))


def _kind(path: Path, number: int, text: str) -> str:
    kind = _LENGTHS.get(len(text))
    if kind is None or set(text) - set("0123456789abcdef"):
        raise UserError(f"{path}:{number}: {text[:40]!r} is not an md5, SHA-256 or PDQ hash in hex")
    return "pdq" if path.suffix == ".pdq" and kind == "sha256" else kind


def with_removed(lists: HashList, gone: Removed) -> HashList:
    """The lists and what removal requests name, together."""
    return HashList(lists.md5, lists.sha256 | gone.sha256, lists.pdq | gone.pdq)
