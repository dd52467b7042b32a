"""What became of one URL of a list: what the fetch hands to those who store and judge it."""

from __future__ import annotations

from dataclasses import dataclass

from frenchcat.curate.download.request import Hop
from frenchcat.curate.download.rights.signal import Signal


@dataclass(frozen=True, slots=True)
class Fetched:
    """What became of one URL: `body` or `reason`, never both."""

    url: str
    """As it stood in the list."""
    body: bytes | None
    """The picture's file, as the server has it; None on failure."""
    reason: str | None
    """None on success, else one of REASONS."""
    detail: str
    """For people: what exactly, at most 300 characters; "" on success."""
    hops: tuple[Hop, ...]
    """Every answer, in order: redirects, failed tries, the last one."""
    format: str | None
    """jpeg, png, gif, webp, avif, heic, bmp or tiff, by its bytes; None on failure."""
    width: int | None
    """Pixels by the header, EXIF rotation not applied; None on failure."""
    height: int | None
    """Likewise."""
    attempts: int
    """Tries that were begun; a redirect does not begin a new one. 0: nothing was sent."""
    said: tuple[tuple[str, tuple[Signal, ...]], ...] = ()
    """Of each URL asked for, what its site's own files say of it; empty without a rights desk."""
    signal: str | None = None
    """Which of them opts out, where the reason is `opted_out`."""
