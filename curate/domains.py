"""URLs -> hosts and registered domains (``bbc.co.uk``), by the public suffix list.

Reads the list that the package publicsuffixlist ships; no network. A domain is what one party
registered, so it is the unit of removal, of balance and of the report's cards.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList


def host_of(url: str | None) -> str:
    """A URL's host, lower case, without port; "" where there is none."""
    try:
        return (urlsplit(url or "").hostname or "").rstrip(".")
    except ValueError:
        return ""


@lru_cache(100_000)
def domain_of_host(host: str) -> str:
    """The registered domain of a host; the host itself for addresses and bare suffixes."""
    if not host or host.replace(".", "").isdigit() or ":" in host:
        return host
    return _suffixes().privatesuffix(host) or host


def domain_of(url: str | None) -> str:
    """The registered domain of a URL; "" where it has no host."""
    return domain_of_host(host_of(url))


@cache
def _suffixes() -> PublicSuffixList:
    from publicsuffixlist import PublicSuffixList

    return PublicSuffixList()
