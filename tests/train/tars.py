"""Real tars of small pictures, and ways to damage them."""

import io
import tarfile
from pathlib import Path

from PIL import Image


def picture(number: int, kind: str = "PNG", size: tuple[int, int] = (16, 12)) -> bytes:
    """A picture whose colour tells its number."""
    out = io.BytesIO()
    Image.new("RGB", size, (number % 256, number * 7 % 256, 99)).save(out, kind)
    return out.getvalue()


def write_tar(
    path: Path, numbers: range, format_: int = tarfile.PAX_FORMAT, prefix: str = ""
) -> Path:
    """`<key>.png` and `<key>.txt` of each number."""
    with tarfile.open(path, "w", format=format_) as tar:
        for number in numbers:
            key = f"{prefix}{number:09d}"
            for extension, data in (("png", picture(number)), ("txt", f"cat {number}".encode())):
                info = tarfile.TarInfo(f"{key}.{extension}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return path


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)
