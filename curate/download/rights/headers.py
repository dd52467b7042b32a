"""Signals in the headers of every answer on the way to an image, including redirects.

Reads `Hop`s, writes nothing. Answers that brought neither an image nor a redirect (an error page, a
failed try) are ignored: their headers are about that page.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

from frenchcat.curate.download.request import REDIRECTS, Hop
from frenchcat.curate.download.rights import usage
from frenchcat.curate.download.rights.signal import ALLOW, FACT, OPT_OUT, Signal, date_of, shortened

_COUNTING = REDIRECTS | {200, 203}
_OPT_OUT_RULES = frozenset({"noai", "noimageai", "noindex", "noimageindex", "none"})
_WITH_VALUE = frozenset(
    {"max-snippet", "max-image-preview", "max-video-preview", "unavailable_after"}
)
_TOKEN = re.compile(r"[^\s/;,()]+")
_AGENT = re.compile(r"[a-z0-9_.*-]+", re.ASCII)
_LICENSE = re.compile(r'<([^>]*)>[^,]*?;\s*rel\s*=\s*"?[^",;]*\blicense\b', re.I)


def header_signals(hops: Sequence[Hop], agents: Collection[str]) -> list[Signal]:
    """What the headers of all hops say to us, in order."""
    ours = {product_token(agent) for agent in agents} | {"*"}
    return [signal for hop in hops if hop.status in _COUNTING for signal in _of_hop(hop, ours)]


def _of_hop(hop: Hop, ours: Collection[str]) -> Iterator[Signal]:
    time = date_of(hop.headers)
    for name, value in hop.headers:
        for signal, text, decision in _of_header(name.lower(), value, ours):
            yield Signal(signal, shortened(text), hop.url, time, decision)


def _of_header(
    name: str, value: str, ours: Collection[str]
) -> Iterator[tuple[str, str, str | None]]:
    if name == "x-robots-tag":
        rules = rules_for(value, ours)
        yield "x_robots_tag", value, OPT_OUT if _OPT_OUT_RULES & rules else FACT
    elif name == "content-usage":
        yield "content_usage", value, usage.decision(value)
    elif name == "tdm-reservation":
        yield "tdm_reservation", value, reservation(value)
    elif name == "tdm-policy":
        yield "tdm_policy", value, FACT
    elif name == "link":
        for url in _LICENSE.findall(value):
            yield "license", url, FACT


def reservation(value: object) -> str | None:
    """The decision of a tdm-reservation: 1 reserves, 0 does not (TDMRep 1.0, section 4).

    A site that writes `true` means the same.
    """
    if not isinstance(value, str | int | float):
        return FACT
    text = str(value).strip().strip('"').lower()
    return {"1": OPT_OUT, "1.0": OPT_OUT, "true": OPT_OUT, "0": ALLOW}.get(text, FACT)


def product_token(agent: str) -> str:
    """An agent's name without its version and the like, in lower case (RFC 9309 2.2.1)."""
    found = _TOKEN.match(agent.strip())
    return (found[0] if found else agent).lower()


def rules_for(value: str, ours: Collection[str]) -> set[str]:
    """The rules of one X-Robots-Tag that are for everybody or for one of `ours`, in lower case.

    ``noai, googlebot: nofollow`` -> {noai}: an agent's name applies to the rules after it, not to
    those before. ``unavailable_after: <date>`` and the like are rules with a value, not agents; nor
    is the part of a date before its clock time, ``25 jun 2030 15:00``.
    """
    found: set[str] = set()
    for_us = True
    for part in re.split("[,;]", value.lower()):
        head, colon, rest = part.partition(":")
        name = head.strip()
        if colon and name in _WITH_VALUE:
            continue  # max-image-preview: none
        if colon and _AGENT.fullmatch(name):
            for_us = name in ours
            part = rest
        if for_us:
            found |= set(part.split())
    return found
