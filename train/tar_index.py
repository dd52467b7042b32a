"""The places of the samples in a foreign tar, from its headers alone.

Reads any uncompressed tar in the webdataset convention, local or at an fsspec address: ustar, PAX
and GNU long names. 512 bytes per member are read and data is skipped. A damaged header costs the
members that it describes, and no others: reading continues at the next sound one. Cost: one small
read per member; on an object store fsspec's block cache bundles them.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from frenchcat.curate.errors import UserError
from frenchcat.curate.tars import Member, split

_BLOCK = tarfile.BLOCKSIZE
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstandard",
}


@dataclass(frozen=True)
class Damage:
    """Bytes of a tar that are not a header where one was expected."""

    offset: int
    reason: str


def scan(file: IO[bytes], name: str) -> tuple[list[Member], list[Damage]]:
    """The members of an open tar in order, and the damage between them.

    Raises `UserError` for a compressed tar or a file that is not a tar.
    """
    _refuse_compressed(file, name)
    size = file.seek(0, 2)
    found: list[Member] = []
    damages: list[Damage] = []
    position: int | None = 0
    while position is not None and position < size:
        due = position
        for item, after in _whole(file, position):
            due = after
            if item.issparse() or not (item.isfile() or item.isdir()):
                kind = "sparse" if item.issparse() else "a link or a device"
                damages.append(Damage(item.offset, f"{item.name} is {kind}, not a plain file"))
            elif item.isfile():
                if item.offset_data + item.size > size:
                    damages.append(Damage(item.offset, f"{item.name} is cut off by the tar's end"))
                    return found, damages
                found.append(Member(*split(item.name), item.offset_data, item.size))
        if _is_end(file, due):
            break
        damages.append(Damage(due, "no sound header here"))
        position = _next_header(file, due + _BLOCK, size)
    if not found and not (size and _is_end(file, 0)):  # an empty shard is a tar, too
        raise UserError(f"{name} is not a tar, or contains no file; give shards like img2dataset's")
    return found, damages


def _whole(file: IO[bytes], position: int) -> Iterator[tuple[tarfile.TarInfo, int]]:
    """Members from `position` on while their headers are sound, and where the next is expected."""
    file.seek(position)
    try:
        tar: Any = tarfile.TarFile(fileobj=file, mode="r", ignore_zeros=False)
        with tar:
            while (item := tar.next()) is not None:
                tar.members = []  # else tarfile keeps them all
                yield item, tar.offset
    except (tarfile.TarError, UnicodeError, ValueError):
        return


def _is_end(file: IO[bytes], position: int) -> bool:
    file.seek(position)
    block = file.read(_BLOCK)
    return not block.strip(b"\0")


def _next_header(file: IO[bytes], position: int, size: int) -> int | None:
    """The first block from `position` on that is a header with a correct checksum."""
    while position + _BLOCK <= size:
        file.seek(position)
        if _sound(file.read(_BLOCK)):
            return position
        position += _BLOCK
    return None


def _sound(block: bytes) -> bool:
    if block[257:262] != b"ustar":
        return False
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True


def _refuse_compressed(file: IO[bytes], name: str) -> None:
    file.seek(0)
    head = file.read(8)
    for magic, kind in _COMPRESSED.items():
        if head.startswith(magic):
            raise UserError(
                f"{name} is compressed with {kind}: a sample in it cannot be read alone; unpack it "
                "first (images are compressed already)"
            )
