"""Who may ask, how much, how often, how long: in front of every route.

Plain ASGI, so that no byte of a refused body is read and an answer is streamed as it arrives. Keys
(keys.py) are compared in constant time. Every path needs a key except those named as public: the
page's own files, and the routes marked `@public` (health, the page's configuration). Only these
answer requests that a browser marks as coming from a site that is not allowed (origins.py). At
loopback only loopback host names are answered, so that a page of another site cannot reach the
service through its own host name (DNS rebinding). A request is cancelled when its client has
disconnected.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from frenchcat.curate.urls import plain_host
from frenchcat.index.service.answer_guard import GuardedAnswer
from frenchcat.index.service.keys import given_keys
from frenchcat.index.service.metrics import Metrics
from frenchcat.index.service.origins import foreign_origin
from frenchcat.index.service.problems import Refused
from frenchcat.index.service.rates import PICTURES, PICTURES_PER_REQUEST, Rates
from frenchcat.index.service.settings import LOOPBACK, ServeSettings
from frenchcat.index.service.uploads import RequestBody, Uploads

OWN = "x-frenchcat-own"  # the header of a request that this process sends itself


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
        body = RequestBody(receive, self.settings.max_body_bytes, self.uploads)
        answer = GuardedAnswer(send, self.metrics, scope, body)
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

    async def _answered(self, scope: Scope, body: RequestBody, answer: GuardedAnswer) -> None:
        """Run the application until it has answered, or nobody waits for the answer."""
        answering: asyncio.Task[None] = asyncio.create_task(self._run(scope, body, answer))
        leaving = asyncio.create_task(body.left())
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done() and not answer.finished:
                answering.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait({answering})
                if not answering.cancelled():
                    answering.exception()  # of no interest; asyncio would print it
                answer.left()
                return
            await answering
        finally:
            for task in (answering, leaving):
                task.cancel()
            await asyncio.wait({answering, leaving})

    async def _run(self, scope: Scope, body: RequestBody, answer: GuardedAnswer) -> None:
        await self.app(scope, body, answer)

    def _admit(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        own = headers.get(OWN)
        if own is not None and hmac.compare_digest(own.encode(), self._own) and self._own:
            return
        host = plain_host(re.sub(r":\d*$", "", headers.get("host", "")).strip("[]"))
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
