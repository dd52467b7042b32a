"""One request and its answer: the only module that uses aiohttp's client.

Reads from the network within the limits of FetchSettings, returns an Answer, and turns every
misbehaviour of a server into a FetchFailure with a stable reason. Redirects are returned as
answers: following them is the caller's decision, because each hop is checked anew.
"""

import asyncio
import errno
import socket
import ssl
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
from yarl import URL

from frenchcat.curate.download.address import AddressPolicy, AddressRefused, CheckedResolver
from frenchcat.curate.download.body import BoundedBody
from frenchcat.curate.download.settings import FetchSettings
from frenchcat.curate.reasons import FailureReason, FetchFailure
from frenchcat.curate.urls import WebURL

REDIRECTS = frozenset({301, 302, 303, 307, 308})
_WITH_IMAGE = frozenset({200, 203})
_DRAIN_BYTES = 16 * 1024  # an error page this small is read to its end, to keep the connection
_DRAIN_SEC = 0.5
_KEEP_ALIVE_SEC = 5.0
_MAX_HEADER_BYTES = 16 * 1024  # of one field; security policies can be long
_MAX_HEADERS = 128


@dataclass(frozen=True, slots=True)
class Hop:
    """One answer on the way to an image, kept for the rights ledger."""

    url: str
    """The requested URL, canonical."""
    status: int
    headers: tuple[tuple[str, str], ...]
    """In the order sent; bytes that are not UTF-8 are read as Latin-1, so everything is valid
    text.
    """
    address: str
    """The IP address that answered; "" if the connection was gone before it could be read."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of one request: a body (200), or a status and what the headers say about it."""

    status: int
    body: bytes | None
    location: str | None
    retry_after_sec: float | None


class _Response(aiohttp.ClientResponse):
    """Remembers the peer: aiohttp releases the connection as soon as a short body has ended."""

    peer = ""

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        transport = connection.transport
        peer = None if transport is None else transport.get_extra_info("peername")
        self.peer = str(peer[0]) if peer else ""
        # Servers close as requested, but not all say so, and aiohttp goes by the answer:
        # the next request would be sent into a closed connection.
        if self.request_info.headers.get("Connection") == "close":
            protocol = connection.protocol
            if protocol is not None:  # it is a queue, too, and false while that is empty
                protocol.force_close()
        return await super().start(connection)


def open_session(
    settings: FetchSettings, policy: AddressPolicy, resolver: CheckedResolver
) -> aiohttp.ClientSession:
    """A session that connects only where `policy` lets it, and carries no state between hosts."""
    connector = aiohttp.TCPConnector(
        resolver=resolver,
        socket_factory=policy.make_socket,
        limit=0,  # turns are given out in hosts.py
        keepalive_timeout=_KEEP_ALIVE_SEC,
        ttl_dns_cache=60,
        ssl=settings.verify_tls,
    )
    session = aiohttp.ClientSession(
        connector=connector,
        trust_env=False,  # a proxy would connect for us, unchecked
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,  # body.py counts while it decodes
        response_class=_Response,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=settings.connect_timeout_sec),
        max_line_size=_MAX_HEADER_BYTES,
        max_field_size=_MAX_HEADER_BYTES,
        max_headers=_MAX_HEADERS,
        headers={
            "User-Agent": settings.user_agent,
            "Accept": "image/*,*/*;q=0.5",
            "Accept-Encoding": "identity",
        },
    )
    # aiohttp asks once more, at once and unseen, when a connection is lost. Tries are counted and
    # spaced in fetch_attempt.py; there is no public switch (aiohttp's test client sets this one).
    session._retry_connection = False
    return session


async def ask(
    session: aiohttp.ClientSession,
    url: WebURL,
    *,
    max_body_bytes: int,
    any_kind: bool,
    keep_alive: bool,
    hops: list[Hop],
    method: str = "GET",
    headers_only: bool = False,
) -> Answer:
    """Send one request without following redirects. Appends to `hops` as soon as there is a status.

    With `headers_only` a body is empty, whatever the server sends. Without `any_kind`, a body must
    begin like an image. Raises FetchFailure; its `retry` says whether the same request may succeed
    later.
    """
    headers = None if keep_alive else {"Connection": "close"}
    try:
        async with session.request(
            method, URL(str(url), encoded=True), allow_redirects=False, headers=headers
        ) as response:
            hops.append(_hop(url, response))
            if headers_only and response.status in _WITH_IMAGE:
                return Answer(response.status, b"", None, None)
            if response.status in _WITH_IMAGE:
                body = await _read(response, max_body_bytes, any_kind)
                return Answer(response.status, body, None, None)
            await _drain(response)
            return Answer(
                response.status,
                None,
                response.headers.get("Location"),
                _retry_after_sec(response.headers.get("Retry-After"), time.time()),
            )
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise _failure(error, url) from error


async def _read(response: aiohttp.ClientResponse, max_bytes: int, any_kind: bool) -> bytes:
    encoding = ",".join(response.headers.getall("Content-Encoding", ()))
    body = BoundedBody(max_bytes, response.content_length, encoding, any_kind=any_kind)
    async for chunk in response.content.iter_any():
        body.feed(chunk)
    return body.finish()


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Read a short remainder so that the connection can serve the next request; never wait long."""
    length = response.content_length
    if length is not None and length > _DRAIN_BYTES:
        return
    try:
        async with asyncio.timeout(_DRAIN_SEC):
            await response.content.read(_DRAIN_BYTES)
    except (TimeoutError, aiohttp.ClientError):
        pass


def _hop(url: WebURL, response: aiohttp.ClientResponse) -> Hop:
    peer = response.peer if isinstance(response, _Response) else ""
    headers = tuple((_text(name), _text(value)) for name, value in response.raw_headers)
    return Hop(str(url), response.status, headers, peer)


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _retry_after_sec(value: str | None, now: float) -> float | None:
    """Seconds to wait by a Retry-After header, RFC 9110 10.2.3; None if absent or unreadable.

    `now` is Unix time in seconds.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError, OSError):
        return None


def _failure(error: Exception, url: WebURL) -> FetchFailure:
    """The reason for an exception from aiohttp or from the socket below it. Order matters."""
    cause = getattr(error, "os_error", error)
    if isinstance(cause, AddressRefused):
        return FetchFailure(FailureReason.ADDRESS_REFUSED, str(cause))
    where = f"{url.host}:{url.port}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        passing = isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_AGAIN
        return FetchFailure(FailureReason.DNS_FAILED, f"{url.host}: {cause}", retry=passing)
    if isinstance(error, (aiohttp.ClientSSLError, ssl.SSLError)):
        return FetchFailure(FailureReason.TLS_FAILED, f"{where}: {error}")
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return FetchFailure(FailureReason.CONNECT_FAILED, f"{where}: no connection in time")
    if isinstance(error, aiohttp.ClientConnectorError):
        reset = isinstance(cause, OSError) and cause.errno == errno.ECONNRESET
        return FetchFailure(FailureReason.CONNECT_FAILED, f"{where}: {cause}", retry=reset)
    if isinstance(error, aiohttp.ClientPayloadError):
        return FetchFailure(FailureReason.TRUNCATED, f"{where}: {error}", retry=True)
    if isinstance(error, (aiohttp.ServerDisconnectedError, OSError)):
        return FetchFailure(FailureReason.CONNECTION_LOST, f"{where}: {error}", retry=True)
    if isinstance(error, aiohttp.InvalidURL):
        return FetchFailure(FailureReason.BAD_URL, str(error))
    return FetchFailure(FailureReason.BAD_RESPONSE, f"{where}: {error}")
