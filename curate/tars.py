"""Shards' tars: where every member lies, so that it can be read alone.

Reads tars in the webdataset convention (``<key>.<extension>``, one file per member, not compressed)
and opens none for writing. `members` reads the headers only, 512 bytes per member, and skips the
data; a tar that was cut short or is none ends in a `Damaged` that names it, never in fewer samples.
"""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

from frenchcat.curate.dataset import Dataset, dataset_around
from frenchcat.curate.errors import Damaged

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp")
"""The extensions of a sample's image."""
_BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a tar: its sample's key, its extension, where its bytes lie."""

    key: str
    extension: str
    offset: int  # of the first byte of data in the tar
    size: int  # bytes


def members(path: str | Path) -> list[Member]:
    """The members of a tar, in its order; directories are left out.

    Raises `Damaged` where the file is missing, not a tar, or ends before its end-of-archive mark.
    """
    try:
        with tarfile.open(path, "r:", ignore_zeros=False) as tar:
            found = [
                Member(*split(item.name), item.offset_data, item.size)
                for item in tar.getmembers()
                if item.isfile()
            ]
            end = tar.offset
        _check_end(path, end)
    except (tarfile.TarError, EOFError) as error:
        raise broken(path, str(error)) from None
    except FileNotFoundError:
        raise broken(path, "the file is missing") from None
    return found


def image_members(path: str | Path) -> dict[str, Member]:
    """Key -> where its image lies, in the tar's order. Raises `Damaged` as `members` does."""
    return {member.key: member for member in members(path) if member.extension in IMAGE_EXTENSIONS}


def read(path: str | Path, member: Member) -> bytes:
    """A member's bytes. Raises `Damaged` where the tar ends before them."""
    with open(path, "rb") as file:
        file.seek(member.offset)
        data = file.read(member.size)
    if len(data) != member.size:
        raise broken(path, f"it ends inside {member.key}.{member.extension}")
    return data


def split(name: str) -> tuple[str, str]:
    """A member's key and extension: the base name is cut at its first dot (webdataset's rule)."""
    folder, slash, base = name.rpartition("/")
    key, _, extension = base.partition(".")
    return folder + slash + key, extension


def broken(path: str | Path, why: str) -> Damaged:
    """The error for a tar that cannot be read, with how to get a whole one."""
    found = dataset_around(path)
    command = None if found is None else Dataset(found).fetch_command()
    cure = "get a whole copy of it" if command is None else f"delete it and run: {command}"
    return Damaged(f"broken tar: {path} ({why}); {cure}")


def _check_end(path: str | Path, end: int) -> None:
    # tarfile takes a damaged or missing header after the first for the end of the archive.
    with open(path, "rb") as file:
        file.seek(end)
        mark = file.read(_BLOCK)
    if len(mark) < _BLOCK or mark.strip(b"\0"):
        raise tarfile.ReadError(f"no end-of-archive mark at byte {end}")


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add a file to a tar that is being written; its time and owner are zero."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
