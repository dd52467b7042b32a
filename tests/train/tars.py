"""Tars of small pictures with a text each, whose keys are numbers."""

import tarfile
from pathlib import Path

from tests.sample import tars
from tests.sample.pictures import picture


def numbered(number: int) -> bytes:
    """The picture of a number."""
    return picture(number, 16, 12)


def write_tar(
    path: Path, numbers: range, format_: int = tarfile.PAX_FORMAT, prefix: str = ""
) -> Path:
    """`<key>.png` and `<key>.txt` of each number."""
    members = [
        (f"{prefix}{number:09d}.{extension}", data)
        for number in numbers
        for extension, data in (("png", numbered(number)), ("txt", f"cat {number}".encode()))
    ]
    return tars.write_tar(path, members, format_)
