"""Writing files that are whole or not there, after a crash and a power cut, too.

A file is written under a name of its own beside the target, brought to the disk and renamed; then
the folder that has the new name is brought to the disk. Dataset.publish does so for many files of a
dataset at once; everything else that has to be whole (a run's files, a page, an image, a key) is
written here. Cost: one fsync per file and one per folder.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def write_whole(path: str | Path, data: str | bytes, private: bool = False) -> None:
    """Write a local file; a text as UTF-8. A reader sees the former one or the whole new one.

    `private`: nobody but its owner may read it. Raises OSError; the former file stays then.
    """
    with whole_file(path, private) as file:
        file.write(data.encode("utf-8") if isinstance(data, str) else data)


@contextlib.contextmanager
def whole_file(path: str | Path, private: bool = False) -> Iterator[BinaryIO]:
    """A file to write to, which gets its name at the end; after an error the former one stays."""
    path = Path(path)
    waiting = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        with open(os.open(waiting, flags, 0o600 if private else 0o666), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(waiting, path)
    except BaseException as error:
        if isinstance(error, OSError):
            error.filename = str(path)  # the name that the caller gave
        with contextlib.suppress(OSError):
            waiting.unlink()
        raise
    sync(path.parent)


def move_folder(folder: Path, target: Path) -> None:
    """Rename a folder to where there is none; every file of it lasts before its name does."""
    for path in [*folder.rglob("*"), folder]:
        sync(path)
    os.rename(folder, target)
    sync(target.parent)


def sync(path: Path) -> None:
    """Bring a file's bytes, or a folder's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder, and those it lies in, so that it is there after a crash."""
    if not folder.exists():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)
