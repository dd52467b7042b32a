"""Real tars, and a way to damage them."""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path


def write_tar(
    path: Path, members: Iterable[tuple[str, bytes]], format_: int = tarfile.PAX_FORMAT
) -> Path:
    """A tar of these names and bytes, in their order."""
    with tarfile.open(path, "w", format=format_) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def read_tar(path: Path | str) -> dict[str, bytes]:
    """Name -> bytes, in the tar's order."""
    found = {}
    with tarfile.open(path) as tar:
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None
            found[member.name] = file.read()
    return found


def overwrite(path: Path, offset: int, data: bytes) -> None:
    """Other bytes at a place of a file."""
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)
