"""The result of fetching one URL of a list, for those who store and judge it."""

from __future__ import annotations

from dataclasses import dataclass

from frenchcat.curate.download.request import Hop
from frenchcat.curate.download.rights.signal import Signal


@dataclass(frozen=True, slots=True)
class Fetched:
    """The result for one URL: either `body` or `reason`, never both."""

    url: str
    """As in the list."""
    body: bytes | None
    """The image file as the server sent it; None on failure."""
    reason: str | None
    """None on success, else one of REASONS."""
    detail: str
    """Details for people, at most 300 characters; "" on success."""
    hops: tuple[Hop, ...]
    """Every answer, in order: redirects, failed tries, the last one."""
    format: str | None
    """jpeg, png, gif, webp, avif, heic, bmp or tiff, by its bytes; None on failure."""
    width: int | None
    """Pixels from the header, without EXIF rotation; None on failure."""
    height: int | None
    """Likewise."""
    attempts: int
    """Tries that were begun; a redirect does not begin a new one. 0: nothing was sent."""
    said: tuple[tuple[str, tuple[Signal, ...]], ...] = ()
    """For each requested URL, what its site's own files say; empty without a site cache."""
    signal: str | None = None
    """Which signal opts out, if the reason is `opted_out`."""
