"""The site that a browser's request comes from, and whether that site is allowed.

A browser lets any page send requests to any address that its machine can reach, including services
at loopback. It says so in headers that a page cannot set: `Sec-Fetch-Site` if the address is https
or at loopback, `Origin` with everything but a plain GET. Other programs send neither.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers

OWN = frozenset({"same-origin", "none"})  # none: the address was typed, or a bookmark
_PORTS = {"http": 80, "https": 443}


def foreign_origin(headers: Headers, allowed: Collection[str]) -> str | None:
    """The other site that a request comes from, in words; None for our own or an allowed one."""
    origin = headers.get("origin")
    if "*" in allowed or (origin is not None and origin.lower() in allowed):
        return None
    site = headers.get("sec-fetch-site")
    if site is not None:
        return None if site.strip().lower() in OWN else origin or "another site"
    if origin is None or _same_host(origin, headers.get("host", "")):
        return None
    return origin


def _same_host(origin: str, host: str) -> bool:
    """Whether an origin belongs to the requested host; a proxy may have removed TLS."""
    try:
        parts = urlsplit(origin)
        asked = urlsplit(f"{parts.scheme}://{host}")
        default = _PORTS.get(parts.scheme)
        own = parts.hostname, parts.port or default
        return parts.hostname is not None and own == (asked.hostname, asked.port or default)
    except ValueError:  # a port that is not a number
        return False
