"""What the operating system, a disk, a network or a library below us refused, as one line.

A full disk, a folder that may not be written, a folder where a file is meant: no fault of frenchcat
and nothing that a traceback explains. The line names the path and a cure. The command line prints
it and exits with 2. Reads and writes nothing, but that
`check_writable` tries a folder and `check_space` asks how much is free.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from frenchcat.curate.errors import NoSpace, Unwritable, UserError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_RESUME = "free some, then run the same command again"
_TEXTS = {
    errno.EISDIR: "is a folder; name a file",
    errno.ENOTDIR: "leads through a file as if it were a folder; name another place",
    errno.EEXIST: "exists and is not a folder; name another place",
    errno.ENOENT: "is not there; check the path",
    errno.ENAMETOOLONG: "is too long a name; give a shorter one",
    errno.EIO: "cannot be read or written, the disk reports an error; check the disk",
    errno.ENOTEMPTY: "is not empty; name another folder",
}
_ITS_OWN = (errno.EISDIR, errno.ENAMETOOLONG, errno.EIO)  # which their text explains in full
_TOO_MANY = frozenset({errno.EMFILE, errno.ENFILE})
_BELOW_US = ("duckdb", "_duckdb", "botocore", "safetensors", "safetensors_rust", "aiobotocore")
_FULL_TEXTS = ("No space left on device", "Disk quota exceeded", "File too large")
_DISK_TEXTS = (*_FULL_TEXTS, "Read-only file system")


def system_error(error: BaseException) -> str | None:
    """The line for an error that is none of ours; None where it may be a fault of frenchcat."""
    if isinstance(error, OSError):
        return _os_error(error)
    first = (str(error).splitlines() or [""])[0]
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryException":  # DuckDB's
        return f"out of memory ({first or 'no more can be had'}); lower --workers or batch sizes"
    if isinstance(error, ImportError) and first.startswith("Install "):  # fsspec's
        return f"{first}; see docs/command-line.md for how to install an extra"
    if type(error).__name__ == "BrokenProcessPool":
        return (
            "a worker process ended abruptly, as when memory runs out; give fewer --workers, "
            "then run the same command again"
        )
    kind = type(error).__module__.split(".")[0]
    if any(text in str(error) for text in _DISK_TEXTS):
        return f"a file could not be written ({first}); {_RESUME}"
    if kind == "botocore":
        return f"the object store cannot be used ({first}); check its address and credentials"
    if kind in _BELOW_US and _is_io(error):
        return f"a file could not be read or written ({first})"
    return None


def _is_io(error: BaseException) -> bool:
    names = {"IOException", "OutOfMemoryException", "PermissionException", "HTTPException"}
    return type(error).__name__ in names or "os error" in str(error)


def _os_error(error: OSError) -> str:
    path = error.filename if error.filename is not None else error.filename2
    named = os.fsdecode(path) if isinstance(path, str | bytes) else str(path or "a file")
    said = error.strerror or (str(error).splitlines() or [type(error).__name__])[0]
    if error.errno in FULL:
        why = os.strerror(error.errno or 0)
        return f"{named} cannot be written: the disk is full ({why}); {_RESUME}"
    if error.errno in REFUSED:
        return (
            f"{named} cannot be opened or written ({said}); change its permissions, "
            "or name another place"
        )
    if error.errno in _TOO_MANY:
        return f"{named}: too many open files ({said}); raise the limit: ulimit -n 4096"
    if error.errno in _TEXTS and path is not None:
        return f"{named} {_TEXTS[error.errno]}"
    if path is None and isinstance(error, FileNotFoundError):
        return f"{said} is not there; check the path"
    return f"{named}: {said}" if path is not None else said


@contextlib.contextmanager
def writing(place: str | Path, cure: str = "name another place") -> Iterator[None]:
    """Around what writes below `place`: a disk that is full or read-only is a `UserError`.

    Raises `NoSpace` and `Unwritable`, which name `place` and what the system said.
    """
    try:
        yield
    except OSError as error:
        if (explained := _explained(error, place, cure)) is None:
            raise
        raise explained from None
    except Exception as error:  # safetensors and faiss have errors of their own
        if (said := _full_text(error)) is None:
            raise
        # Not in its own words: the file that they name is often a temporary one.
        raise NoSpace(f"{place} cannot be written: the disk is full ({said}); {_RESUME}") from None


def _full_text(error: Exception) -> str | None:
    """What a library's error says of a full disk; of any error that arises from that one."""
    told = str(error)
    return next((text for text in _FULL_TEXTS if text in told), None)


def _explained(error: OSError, place: str | Path, cure: str) -> UserError | None:
    said = error.strerror or str(error)
    named = error.filename if isinstance(error.filename, str) else None
    if named is not None and "://" not in str(place) and not _within(named, place):
        return None  # another file, which the error names
    if error.errno in FULL:
        why = os.strerror(error.errno or 0)
        return NoSpace(f"{place} cannot be written: the disk is full ({why}); {_RESUME}")
    if error.errno in REFUSED:
        return Unwritable(f"{place} cannot be written ({said}); change its permissions, or {cure}")
    if error.errno in _ITS_OWN:
        return Unwritable(f"{place} {_TEXTS[error.errno]}")
    if error.errno in (errno.ENOTDIR, errno.EEXIST) and not os.path.isdir(place):
        return Unwritable(f"{place} cannot be written, since a file is in its way; {cure}")
    return None


def _within(path: str, place: str | Path) -> bool:
    """Whether one lies in the other: a folder around the place may be what cannot be written."""
    path, place = os.path.abspath(path), os.path.abspath(place)
    return path.startswith(place) or place.startswith(path)


def check_writable(folder: Path, what: str) -> None:
    """Try whether a folder can be written, or made and written, before long work; leaves nothing.

    Raises `Unwritable` and `NoSpace`, which end in ``name another <what>``.
    """
    with writing(folder, f"name another {what}"):
        there = _nearest(folder)
        if not there.is_dir():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(folder))
        try:
            with tempfile.TemporaryDirectory(dir=there, prefix=".writable-"):
                pass
        except OSError as error:
            error.filename = str(folder)  # as it was asked for
            raise


def _nearest(place: str | Path) -> Path:
    """The place itself, or the nearest of those it lies in that is there."""
    there = Path(place).absolute()
    while not there.exists():
        there = there.parent
    return there


def check_space(place: str | Path, needed: float, what: str) -> None:
    """Raise `NoSpace` where the disk of `place` has fewer than `needed` bytes free.

    `place` need not be there yet. An address of an object store has no end.
    """
    if "://" in str(place):
        return
    free = shutil.disk_usage(_nearest(place)).free
    if free < needed:
        raise NoSpace(
            f"{place}: {what} takes about {sized(needed)}, and its disk has {sized(free)} free; "
            f"{_RESUME}"
        )


def sized(number: float) -> str:
    """Bytes for people: 1.5 GB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"
