"""The files of a plain folder of images by what they are: images, texts, metadata, JSON.

Reads the names in the folder and in all folders in it, writes nothing; what is none of these is
named. Cost: one pass over the names.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from frenchcat.curate.adopt.kept import IMAGE_ENDINGS
from frenchcat.curate.adopt.left_out import LeftOut

METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
_TEXTS = (".txt", ".caption")
UNKNOWN = "left out, files of no known kind"
_HIDDEN = "left out, hidden files"
_CLOSED = "left out, folders that cannot be read"
_SECOND_TEXT = "left out, texts beside another of the same image"
_NAMES = "left out, files whose names are not UTF-8"
_NOT_FILES = "left out, links to nothing and other things that are not files"


class Tree:
    """The files of a folder by what they are, paths relative with ``/`` between the parts."""

    def __init__(self, folder: Path, left_out: LeftOut) -> None:
        """Walk the folder."""
        self.folder = folder
        self.images: list[str] = []
        self.texts: dict[str, str] = {}  # path without its ending -> path
        self.metadata: list[str] = []
        self.json: list[str] = []
        for path in _walk(folder, lambda error: left_out.add(_CLOSED, str(error.filename))):
            name = path.rpartition("/")[2]
            ending = Path(name).suffix.lower()
            if name.startswith("."):
                left_out.add(_HIDDEN, path)
            elif not _is_utf8(path):
                left_out.add(_NAMES, path)
            elif not os.path.isfile(folder / path):
                left_out.add(_NOT_FILES, path)
            elif ending[1:] in IMAGE_ENDINGS:
                self.images.append(path)
            elif ending in _TEXTS:
                if self.texts.setdefault(path[: -len(ending)], path) != path:
                    left_out.add(_SECOND_TEXT, path)
            elif name in METADATA:
                self.metadata.append(path)
            elif ending == ".json":
                self.json.append(path)
            else:
                left_out.add(UNKNOWN, path)

    @classmethod
    def holds_images(cls, folder: Path) -> bool:
        """Whether there is an image anywhere in a folder."""
        return any(Path(path).suffix.lower()[1:] in IMAGE_ENDINGS for path in _walk(folder))


def _is_utf8(name: str) -> bool:
    """Whether a file's name is text: other bytes come as surrogates, which no table holds."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _walk(folder: Path, closed: Callable[[OSError], None] | None = None) -> Iterator[str]:
    """Every file, sorted within its folder; a folder that links lead back to is entered once.

    `closed` is told of each folder that cannot be read.
    """
    entered: set[str] = set()
    for place, inside, names in os.walk(folder, onerror=closed, followlinks=True):
        real = os.path.realpath(place)
        if real in entered:
            inside.clear()
            continue
        entered.add(real)
        inside.sort()
        for name in sorted(names):
            yield os.path.relpath(os.path.join(place, name), folder).replace(os.sep, "/")
