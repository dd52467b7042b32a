"""Who may ask, how much, how often, how long: in front of every route.

Plain ASGI, so that no byte of a refused body is read and an answer is streamed as it arrives. Keys
are compared in constant time. Every path needs a key except those named as public: the page's own
files, and the routes marked `@public` (health, the page's configuration). Only these answer
requests that a browser marks as coming from a site that is not allowed (origins.py). At loopback
only loopback host names are answered, so that a page of another site cannot reach the service
through its own host name (DNS rebinding). A request is cancelled when its client has disconnected.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from time import monotonic, perf_counter
from typing import TypeVar

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from frenchcat.curate.errors import UserError
from frenchcat.index.service.metrics import Metrics
from frenchcat.index.service.origins import foreign_origin
from frenchcat.index.service.problems import Refused, problem
from frenchcat.index.service.settings import LOOPBACK, ServeSettings

CLIENTS = 10_000  # whose rates are remembered
LEFT = 499  # nginx's status for a disconnected client; it is only counted
HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
OWN = "x-frenchcat-own"  # the header of a request that this process sends itself
PICTURES_PER_REQUEST = 20  # images that a client may fetch per request of its rate
PICTURES = re.compile(r"/v1/(datasets/[^/]+/)?(pictures|thumbnails)/")
_PUBLIC = "frenchcat_public"
F = TypeVar("F", bound=Callable[..., object])


def public(endpoint: F) -> F:
    """Mark a route's function: it answers without a key, and so must not reveal data."""
    setattr(endpoint, _PUBLIC, True)
    return endpoint


def public_paths(routers: Iterable[APIRouter]) -> frozenset[str]:
    """The paths of the marked routes. Raises ValueError for a path with a parameter."""
    marked = {
        route.path
        for router in routers
        for route in router.routes
        if isinstance(route, APIRoute) and getattr(route.endpoint, _PUBLIC, False)
    }
    if varying := [path for path in marked if "{" in path]:
        raise ValueError(f"{varying[0]} cannot be public: what its parameter names may be data")
    return frozenset(marked)


def read_keys(file: str) -> tuple[bytes, ...]:
    """The digests of a file's keys. Raises `UserError` if it is missing or contains none."""
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UserError(
            f"--api-key-file {file} cannot be read ({said}); give a file of keys, one per line"
        ) from None
    keys = [line.strip() for line in lines]
    keys = [key for key in keys if key and not key.startswith("#")]
    if not keys:
        raise UserError(f"--api-key-file {file} contains no key; write one per line")
    if short := next((key for key in keys if len(key) < 16), None):
        raise UserError(
            f"--api-key-file {file}: a key of {len(short)} characters can be guessed; "
            "give at least 16, for example from: openssl rand -hex 16"
        )
    return tuple(hashlib.sha256(key.encode()).digest() for key in keys)


def given_keys(headers: Headers) -> list[str]:
    """The keys of a request: X-API-Key, Bearer, or Basic, as its password or its user's name."""
    if key := headers.get("x-api-key"):
        return [key]
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return [given.strip() if scheme.lower() == "bearer" else headers.get("authorization", "")]
    try:
        user, _, password = base64.b64decode(given, validate=True).decode().partition(":")
    except ValueError:  # binascii.Error and UnicodeDecodeError are such
        return [""]
    return [password, user]


class Rates:
    """A token bucket per client: `rate` requests per second, twice as many in a burst."""

    def __init__(self, rate: float, clock: Callable[[], float] = monotonic) -> None:
        self.rate, self.burst, self._clock = rate, max(1.0, 2 * rate), clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, when

    def wait_sec(self, client: str) -> float:
        """0 if the client may ask now, else the seconds until it may."""
        now = self._clock()
        tokens, since = self._left.pop(client, (self.burst, now))
        tokens = min(self.burst, tokens + (now - since) * self.rate)
        allowed = tokens >= 1
        self._left[client] = (tokens - 1 if allowed else tokens, now)
        if len(self._left) > CLIENTS:
            self._left.popitem(last=False)
        return 0.0 if allowed else (1 - tokens) / self.rate


class Guard:
    """The middleware."""

    def __init__(
        self,
        app: ASGIApp,
        settings: ServeSettings,
        metrics: Metrics,
        public: frozenset[str] = frozenset(),
        keys: tuple[bytes, ...] = (),
        page: frozenset[str] = frozenset(),
        own: str = "",
    ) -> None:
        """`public` paths answer without a key, and so do those of the `page`'s files.

        `own` is the secret of this process: its requests to itself were admitted before.
        """
        self._own = own.encode()
        self.app, self.settings, self.metrics, self.public = app, settings, metrics, public | page
        self.keys, self.page = keys, page
        self.rates = self.picture_rates = None
        if settings.rate:
            self.rates = Rates(settings.rate)
            self.picture_rates = Rates(
                settings.picture_rate or PICTURES_PER_REQUEST * settings.rate
            )
        self.uploads = Uploads(settings.max_uploads, settings.upload_bytes)
        self.hosts = frozenset(settings.hosts or (LOOPBACK if settings.private else ()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Admit a request, and let the application answer it within the limits."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        # The upstream page puts "/" between an address that ends in one and a route.
        scope["path"] = re.sub("/{2,}", "/", scope["path"])
        body = _Body(receive, self.settings.max_body_bytes, self.uploads)
        answer = _Answer(send, self.metrics, scope, body)
        try:
            self._admit(scope)
            body.announce(Headers(scope=scope).get("content-length"))
            async with asyncio.timeout(self.settings.deadline_sec):
                await body.begin(Headers(scope=scope))
                await self._answered(scope, body, answer)
        except Refused as refused:
            await answer.refuse(refused)
        except TimeoutError:
            limit = f"{self.settings.deadline_sec:g} s"
            late = Refused(503, f"this took longer than {limit}", {"Retry-After": "5"})
            if not body.complete:
                late = Refused(408, f"the request did not arrive within {limit}")
            await answer.refuse(late)
        finally:
            body.forget()
            answer.count()

    async def _answered(self, scope: Scope, body: _Body, answer: _Answer) -> None:
        """Run the application until it has answered, or nobody waits for the answer."""
        answering: asyncio.Task[None] = asyncio.create_task(self._run(scope, body, answer))
        leaving = asyncio.create_task(body.left())
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done() and not answer.finished:
                answering.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait({answering})
                answer.left()
                return
            await answering
        finally:
            for task in (answering, leaving):
                task.cancel()
            await asyncio.wait({answering, leaving})

    async def _run(self, scope: Scope, body: _Body, answer: _Answer) -> None:
        await self.app(scope, body, answer)

    def _admit(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        own = headers.get(OWN)
        if own is not None and hmac.compare_digest(own.encode(), self._own) and self._own:
            return
        host = re.sub(r":\d*$", "", headers.get("host", "")).strip("[]").lower()
        if self.hosts and host not in self.hosts:
            raise Refused(
                403, f"{host!r} is not a name of this service; allow it with --allowed-host NAME"
            )
        self._check_site(scope, headers)
        client = scope["client"][0] if scope.get("client") else "unknown"
        if self.keys and scope["path"] not in self.public and scope["method"] != "OPTIONS":
            client = self._known(headers)
        self._check_rate(scope["path"], client)

    def _check_rate(self, path: str, client: str) -> None:
        """Raise for a client that asks too often. Loading the page alone never does.

        A page of results shows many images, which have a bucket of their own.
        """
        rates, what, name = self.rates, "requests", "rate"
        if PICTURES.match(path):
            rates, what, name = self.picture_rates, "pictures", "picture_rate"
        if rates is None or path in self.page:
            return
        if wait := rates.wait_sec(client):
            retry = {"Retry-After": str(max(1, round(wait)))}
            said = (
                f"at most {rates.rate:g} {what} per second ({name}); wait {max(1, round(wait))} s"
            )
            raise Refused(429, said, retry)

    def _check_site(self, scope: Scope, headers: Headers) -> None:
        """Raise for another site's page, whose requests have the reach of the visitor's machine."""
        if scope["path"] in self.public:
            return
        if (origin := foreign_origin(headers, self.settings.cors)) is not None:
            raise Refused(
                403,
                f"this request comes from a page of {origin[:100]}; to allow that, start the "
                "service with --cors and its origin",
            )

    def _known(self, headers: Headers) -> str:
        """The client by its key; raises if it has no known key."""
        given = given_keys(headers)
        digests = [hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest() for key in given]
        # All are compared, even after a match, so that the time reveals nothing.
        known = [
            digest
            for digest in digests
            if sum(hmac.compare_digest(digest, key) for key in self.keys)
        ]
        if known:
            return known[0].hex()
        said = "this service needs a key; send it as Authorization: Bearer KEY"
        if any(given):
            said = "this service does not know the key that was sent; ask its operator for one"
        raise Refused(401, said, {"WWW-Authenticate": "Bearer"})


class Uploads:
    """The memory of all bodies together, and the number of running uploads."""

    def __init__(self, most: int, limit: int) -> None:
        self._most, self._limit, self._open, self._bytes = most, limit, 0, 0

    def open(self) -> None:
        """Add one that does not arrive in one piece. Raises `Refused` (503)."""
        if self._open >= self._most:
            raise Refused(
                503,
                f"{self._open} uploads are already running (max_uploads); send it again later",
                {"Retry-After": "5"},
            )
        self._open += 1

    def close(self) -> None:
        """One less."""
        self._open -= 1

    def take(self, size: int) -> None:
        """Count received bytes. Raises `Refused` (503) if they are too many together."""
        if self._bytes + size > self._limit:
            raise Refused(
                503,
                f"the bodies of all requests already have {self._limit:,} bytes (upload_bytes); "
                "send it again later",
                {"Retry-After": "5"},
            )
        self._bytes += size

    def give_back(self, size: int) -> None:
        """Subtract bytes whose request has ended."""
        self._bytes -= size


class _Body:
    """A request's body, counted while it is received; afterwards whether the client is still
    there.
    """

    def __init__(self, receive: Receive, limit: int, uploads: Uploads) -> None:
        self._receive, self._limit, self._uploads = receive, limit, uploads
        self._bytes, self._taken, self._open = 0, 0, False
        self._first: Message | None = None
        self._received, self._gone = asyncio.Event(), asyncio.Event()
        self.complete = False
        self.refused: Refused | None = None

    async def begin(self, headers: Headers) -> None:
        """Receive an empty body, which a route may not do."""
        if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
            self._first = await self()

    async def left(self) -> None:
        """Return when the whole body is here and its client has disconnected."""
        await self._received.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone.set()

    def forget(self) -> None:
        """It takes nothing any more."""
        self._uploads.give_back(self._taken)
        self._close()
        self._taken = 0

    def announce(self, length: str | None) -> None:
        if length is not None and length.isdecimal() and int(length[:20]) > self._limit:
            raise self._too_much()

    async def __call__(self) -> Message:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        if self.complete:
            await self._gone.wait()  # `left` is who receives
            return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] == "http.request":
            self._count(len(message.get("body", b"")), bool(message.get("more_body", False)))
        return message

    def _count(self, size: int, more: bool) -> None:
        self._bytes += size
        if self._bytes > self._limit:
            raise self._too_much()
        try:
            self._uploads.take(size)
            self._taken += size
            if more and not self._open:
                self._uploads.open()
                self._open = True
        except Refused as refused:
            self.refused = refused
            raise
        if not more:
            self.complete = True
            self._close()
            self._received.set()

    def _close(self) -> None:
        if self._open:
            self._uploads.close()
            self._open = False

    def _too_much(self) -> Refused:
        self.refused = Refused(413, f"the body is larger than {self._limit:,} bytes; send less")
        return self.refused


class _Answer:
    """The answer's destination: adds headers that all answers have, counts by route and status."""

    def __init__(self, send: Send, metrics: Metrics, scope: Scope, body: _Body) -> None:
        self._send, self._metrics, self._scope, self._body = send, metrics, scope, body
        self._status, self._begun, self._refusing = 0, perf_counter(), False
        self.finished = False  # the whole answer is on its way
        metrics.running.inc()

    async def __call__(self, message: Message) -> None:
        if self._body.refused is not None:  # a route mistook it for a body that cannot be parsed
            await self.refuse(self._body.refused)
        if not self._refusing:
            await self._forward(message)

    async def _forward(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        elif message["type"] == "http.response.body":
            self.finished = not message.get("more_body", False)
        await self._send(message)

    async def refuse(self, refused: Refused) -> None:
        """Answer instead of the application, unless an answer has begun."""
        if not self._status:
            self._refusing = True
            answer = problem(refused.status, str(refused), refused.headers, refused.code)
            await answer(self._scope, _nothing, self._forward)

    def left(self) -> None:
        """Count the client as disconnected, unless an answer has begun."""
        self._status = self._status or LEFT

    def count(self) -> None:
        route = getattr(self._scope.get("route"), "path", "other")
        self._metrics.running.dec()
        self._metrics.requests.labels(route, str(self._status)).inc()
        self._metrics.seconds.labels(route).observe(perf_counter() - self._begun)


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
