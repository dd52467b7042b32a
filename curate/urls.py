"""URLs, hosts and domains: one reading of them for everybody who needs one.

Reads a string from a list or from a Location header, writes nothing. Every odd spelling of a host
(0x7f.1, 2130706433, 127.1, a trailing dot, full-width digits, percent signs, `bücher.de`) is turned
into one plain form here, so that the address check, the connection, the limits, removals,
duplicates and reports all see the same host. It follows the WHATWG URL standard where browsers and
lists agree; where that standard guesses (`http:host`, a backslash in the host part), this refuses.

A domain is what one party registered (``bbc.co.uk``), by the list that the package publicsuffixlist
ships, so it is the unit of removal, of balance and of the report's cards.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urljoin, urlsplit

import idna

from frenchcat.curate.reasons import FailureReason, FetchFailure

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList

MAX_URL_CHARS = 8192
"""Longer ones are refused; servers commonly stop at 8 KiB for a request line."""

# Ports that Fetch section 2.9 ("bad port") bars browsers from: a list could otherwise make us
# send to strangers' mail servers and the like.
# fmt: off
_BAD_PORTS = frozenset((
    1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101,
    102, 103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389,
    427, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636,
    989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665,
    6666, 6667, 6668, 6669, 6679, 6697, 10080,
))
# fmt: on
_DEFAULT_PORTS = {"http": 80, "https": 443}
_C0_AND_SPACE = "".join(map(chr, range(0x21)))
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.\-]*):")
_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")
_MORE_THAN_A_HOST = re.compile(r"[\s/\\?#@:*\[\]]")
_PATH_SAFE = "%/:=&?+!$,;'@()*[]~|-._"
PLAIN_URL = r"https?://((?:[a-z0-9-]+\.)*[a-z][a-z0-9-]*)(?::[0-9]+)?(?:[/?#]|$)"
"""URLs whose host is in its plain form: nearly all of a list's, and read ten times as fast. The
pattern means the same to Python and, in SQL, to RE2.
"""
_PLAIN = re.compile(PLAIN_URL)
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9%/:=&?+!$,;'@()*\[\]~|._-]*")


@dataclass(frozen=True, slots=True)
class WebURL:
    """A checked URL. `path` holds path and query, percent-encoded, ready to be sent."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def netloc(self) -> str:
        """Host or host:port as it belongs in the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def has_bad_port(self) -> bool:
        """Whether browsers refuse this port."""
        return self.port in _BAD_PORTS

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}{self.path}"


def parse_url(text: object) -> WebURL:
    """Check and canonicalise one URL of a list.

    Raises FetchFailure with bad_url, scheme_refused or credentials_refused.
    """
    if not isinstance(text, str):
        raise FetchFailure(FailureReason.BAD_URL, f"not text but {type(text).__name__}")
    # A data: URL can be megabytes long; its head is enough to name the scheme.
    head = text[: MAX_URL_CHARS + 1].strip(_C0_AND_SPACE)
    match = _SCHEME.match(head)
    if match is None:
        raise FetchFailure(FailureReason.BAD_URL, f"no scheme in {head[:80]!r}")
    scheme = match[1].lower()
    if scheme not in _DEFAULT_PORTS:
        raise FetchFailure(
            FailureReason.SCHEME_REFUSED, f"{scheme[:40]}: is neither http nor https"
        )
    if len(text) > MAX_URL_CHARS:
        raise FetchFailure(FailureReason.BAD_URL, f"longer than {MAX_URL_CHARS} characters")
    rest = re.sub(r"[\t\r\n]", "", head[match.end() :])
    if not rest.startswith("//"):
        raise FetchFailure(FailureReason.BAD_URL, f"no // after {scheme}:")
    split = re.search(r"[/?#]", rest[2:])
    end = len(rest) if split is None else split.start() + 2
    host, port = parse_authority(rest[2:end], _DEFAULT_PORTS[scheme])
    return WebURL(scheme, host, port, _canonical_path(rest[end:]))


def resolve_redirect(base: WebURL, location: str) -> WebURL:
    """The URL that a Location header names, relative to the page that sent it.

    Raises FetchFailure: bad_redirect, or the refusals of `parse_url`.
    """
    try:
        return parse_url(urljoin(str(base), location.strip(_C0_AND_SPACE)))
    except ValueError as error:  # urljoin on unbalanced brackets
        raise FetchFailure(
            FailureReason.BAD_REDIRECT, f"Location {location[:80]!r}: {error}"
        ) from error
    except FetchFailure as failure:
        reason = (
            FailureReason.BAD_REDIRECT
            if failure.reason == FailureReason.BAD_URL
            else failure.reason
        )
        detail = f"redirected to {location[:80]!r}: {failure.detail}"
        raise FetchFailure(reason, detail) from failure


def parse_authority(text: str, default_port: int | None = None) -> tuple[str, int]:
    """`host`, `host:port` or `[v6]:port` -> canonical host, port.

    Raises FetchFailure: credentials_refused for `user@`, bad_url for the rest.
    """
    if "@" in text:
        raise FetchFailure(
            FailureReason.CREDENTIALS_REFUSED, "the URL carries a user name or password"
        )
    match = re.fullmatch(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]*))?", text, re.ASCII)
    if match is None:
        raise FetchFailure(FailureReason.BAD_URL, f"no host and port in {text[:80]!r}")
    digits = match[2] or ""
    port = int(digits) if 0 < len(digits) <= 8 else default_port if not digits else None
    if port is None or not 0 < port < 65536:
        raise FetchFailure(FailureReason.BAD_URL, f"no port between 1 and 65535 in {text[:80]!r}")
    return canonical_host(match[1]), port


def canonical_host(text: str) -> str:
    """One plain spelling per host: a lower-case ASCII name, dotted IPv4, or IPv6 without brackets.

    Raises FetchFailure(bad_url).
    """
    if text.startswith("["):
        return _canonical_v6(text[1:-1])
    host = _to_ascii(text).removesuffix(".")
    if _NAME.fullmatch(host) is None:
        raise FetchFailure(FailureReason.BAD_URL, f"{text[:80]!r} is not a host name")
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        return _canonical_v4(host)
    return host


def _to_ascii(text: str) -> str:
    if "%" not in text and text.isascii():
        return text.lower()
    wrong = FetchFailure(FailureReason.BAD_URL, f"{text[:80]!r} is not a host name")
    if len(text) > 1000:  # no name is that long, and the conversion's cost grows with the length
        raise wrong
    try:
        host = unquote(text, errors="strict")
    except UnicodeError as error:
        raise wrong from error
    if host.isascii():
        return host.lower()
    try:
        return idna.encode(host, uts46=True).decode()
    except UnicodeError:  # idna.IDNAError is one
        pass
    try:  # IDNA 2003 still covers names with symbols, which exist
        return host.encode("idna").decode().lower()
    except UnicodeError as error:
        raise wrong from error


def _canonical_v6(text: str) -> str:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError as error:
        raise FetchFailure(
            FailureReason.BAD_URL, f"[{text[:80]}] is not an IPv6 address"
        ) from error
    if address.scope_id is not None:
        raise FetchFailure(FailureReason.BAD_URL, f"[{text[:80]}] names a network interface")
    return str(address)


def _canonical_v4(host: str) -> str:
    """inet_aton's spellings: 1-4 parts in decimal, octal or hex; the last fills what remains."""
    parts = host.split(".")
    wrong = FetchFailure(
        FailureReason.BAD_URL, f"{host[:80]!r} ends in a number but is not an IPv4 address"
    )
    if len(parts) > 4 or not all(_NUMBER.fullmatch(part) for part in parts):
        raise wrong
    try:
        numbers = [_number(part) for part in parts]
    except ValueError as error:  # 08 is not octal
        raise wrong from error
    *leading, last = numbers
    if any(n > 255 for n in leading) or last >= 256 ** (5 - len(parts)):
        raise wrong
    value = last + sum(n << (24 - 8 * i) for i, n in enumerate(leading))
    return str(ipaddress.IPv4Address(value))


def _number(part: str) -> int:
    if part.startswith("0x"):
        return int(part[2:] or "0", 16)
    return int(part, 8) if len(part) > 1 and part[0] == "0" else int(part)


def _canonical_path(text: str) -> str:
    text = text.partition("#")[0]
    if not text.startswith("/"):
        text = "/" + text
    if "/." not in text and _PLAIN_PATH.fullmatch(text):
        return text
    path, mark, query = text.partition("?")
    path = _without_dot_segments(path.replace("\\", "/"))
    try:
        # Headers come decoded with surrogateescape; this gives their very bytes back.
        return quote(path + mark + query, safe=_PATH_SAFE, errors="surrogateescape")
    except UnicodeError as error:
        raise FetchFailure(FailureReason.BAD_URL, "the path holds half a character") from error


def _without_dot_segments(path: str) -> str:
    """RFC 3986 section 5.2.4 for a path that starts with a slash."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


# -- hosts and domains ---------------------------------------------------------------------------


def canonical_url(url: str | None) -> str | None:
    """One spelling for all the spellings of what would be asked for: scheme, host, port, path.

    None for what is not a URL. Query parameters stay: which of them matter, only the server knows.
    """
    try:
        return str(parse_url(url))
    except FetchFailure:
        return None


def host_of(url: str | None) -> str:
    """A URL's host in its plain form, without port; "" where there is none."""
    text = url or ""
    if plain := _PLAIN.match(text):
        return plain[1]
    try:
        return parse_url(text).host
    except FetchFailure:
        pass
    try:  # of what would not be asked for (a password, a scheme of another kind), the host all same
        return plain_host(urlsplit(text.strip(_C0_AND_SPACE)).hostname or "")
    except ValueError:
        return ""


def plain_host(text: str) -> str:
    """A host or domain as people write it, in its plain form; as it is where it has none."""
    text = text.strip().lower()
    try:
        return canonical_host(text)
    except FetchFailure:
        return text.rstrip(".")


def named_host(text: str) -> str:
    """The plain form of a host or domain that somebody names.

    Raises ValueError for a text with more in it (a scheme, a port, a path, a user, `*`): it would
    match nothing, and nobody would be told.
    """
    name = text.strip()
    try:
        return _canonical_v6(name.removeprefix("[").removesuffix("]"))
    except FetchFailure:
        pass
    if not name.strip(".") or name.startswith(".") or _MORE_THAN_A_HOST.search(name):
        raise ValueError(
            f"{text!r} is not a domain; write it like example.org, without scheme, user, port, "
            "path or *"
        )
    return plain_host(name)


def plain_origin(text: str) -> str:
    """A site as browsers send it in `Origin`: scheme, host, and a port that is not the usual one.

    Raises ValueError for what is not the address of a site.
    """
    try:
        url = parse_url(text)
    except FetchFailure as failure:
        raise ValueError(f"{text!r} is not a site: {failure.detail}") from None
    if url.path != "/":
        raise ValueError(f"{text!r} is not a site: write it without a path, like https://a.example")
    return f"{url.scheme}://{url.netloc}"


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
