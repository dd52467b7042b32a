"""Whether a foreign tar is still the one whose samples were laid out.

Its size alone does not tell: tars are padded, so that a tar with other captions often has the same
size. Two stamps are therefore kept as well

    seen        when the file system says that it changed (mtime and ctime, or an ETag): cheap,
                asked at every start
    contents    digests of every member's name, place and size, and of its last bytes, asked only
                where `seen` differs: a copied or moved file is accepted, a rewritten one is refused

Cost of `contents`: one small read per member, as for indexing. An image whose last 64 bytes are the
same counts as the same; those of a PNG hold the check sum of its pixels.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from frenchcat.curate.tars import Member
from frenchcat.train.tar_samples import name_of

_LAST = 64  # bytes of a member
_WHOLE = 4096  # members up to this size, mostly captions, count whole


@dataclass(frozen=True)
class TarStamp:
    """A tar's state when its samples were laid out; None: not known."""

    seen: str | None
    contents: str | None


def seen_of(path: str) -> str | None:
    """What changes when a file is written; None if the file system does not report it."""
    if "://" not in path:
        about = os.stat(path)
        return f"{about.st_mtime_ns} {about.st_ctime_ns}"
    import fsspec

    fs, inner = fsspec.core.url_to_fs(path)
    about = fs.info(inner)
    for name in ("ETag", "etag", "md5Hash", "LastModified", "Last-Modified", "mtime", "created"):
        if about.get(name):
            return f"{name} {about[name]}"
    return None


def contents_of(file: IO[bytes], members: Sequence[Member]) -> str:
    """Two digests of an open tar's members: of names, places and sizes; of their data."""
    places, data = hashlib.sha256(), hashlib.sha256()
    for member in members:
        size = member.size if member.size <= _WHOLE else _LAST
        file.seek(member.offset + member.size - size)
        named = f"{name_of(member)}\0{member.offset}\0{member.size}\0"
        places.update(named.encode("utf-8", "surrogateescape"))
        data.update(file.read(size))
    return f"{places.hexdigest()} {data.hexdigest()}"
