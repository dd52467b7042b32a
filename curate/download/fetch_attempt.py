"""One fetch under way: redirects and retries, all within one deadline.

Reads from the network through request.py, returns a body. The deadline is a budget in seconds from
which every look-up, connection, answer and wait between retries is paid; a server that drips,
redirects or answers 503 forever only empties it. Waiting in our own queues has a second budget of
the same size, so that politeness to one host does not fail the fetches that wait there, and still
nothing lasts forever.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from frenchcat.curate.download.address import AddressPolicy, AddressRefused
from frenchcat.curate.download.hosts import HostHealth, HostTurns
from frenchcat.curate.download.request import REDIRECTS, Answer, Hop, ask
from frenchcat.curate.download.rights.signal import Signal
from frenchcat.curate.download.rights.site_cache import SiteCache
from frenchcat.curate.download.settings import FetchSettings
from frenchcat.curate.reasons import FailureReason, FetchFailure, http_status, worth_retrying
from frenchcat.curate.urls import WebURL, parse_url, resolve_redirect

# Reasons that mean trouble with the host, not with the image.
_HOST_TROUBLE = frozenset(
    (
        FailureReason.DNS_FAILED,
        FailureReason.CONNECT_FAILED,
        FailureReason.TLS_FAILED,
        FailureReason.CONNECTION_LOST,
        FailureReason.DEADLINE,
        http_status(429),
        http_status(503),
    )
)


@dataclass(frozen=True, slots=True)
class FetchContext:
    """What all fetches of one Fetcher share."""

    settings: FetchSettings
    session: aiohttp.ClientSession
    policy: AddressPolicy
    turns: HostTurns
    health: HostHealth
    site_cache: SiteCache | None = None  # asks for robots.txt and the like; None: not asked
    any_kind: bool = False  # of bodies are accepted, not only images
    method: str = "GET"
    headers_only: bool = False  # bodies are not read


class FetchAttempt:
    """One URL under way. `hops`, `said` and `attempts` can be read at any time."""

    def __init__(self, context: FetchContext, url: object) -> None:
        """Take one entry of a list, which may be anything."""
        self.url = url
        self.hops: list[Hop] = []
        self.said: dict[str, tuple[Signal, ...]] = {}
        self.attempts = 0
        self._context = context
        self._settings = context.settings
        self._loop = asyncio.get_running_loop()
        self._left_sec = context.settings.deadline_sec
        self._left_queue_sec = context.settings.deadline_sec
        self._origin: tuple[str, int] | None = None
        self._held: str | None = None

    def depart(self) -> WebURL:
        """The checked URL, whose host gives the first turn. Raises FetchFailure."""
        target = parse_url(self.url)
        self._check(target)
        return target

    async def run(self, target: WebURL) -> bytes:
        """The body at the end of all redirects and retries. Raises FetchFailure.

        Starts holding a turn at target.host (`hold_turn`) and always gives it back.
        """
        redirects = 0
        while True:
            try:
                await self._ask_leave(target)
                answer = await self._ask(target)
                if answer.body is not None:
                    return answer.body
                if answer.status not in REDIRECTS:
                    raise self._status_failure(target, answer)
                redirects += 1
                target = self._next_hop(target, answer, redirects)
            except FetchFailure as failure:
                await self._back_off(target, failure)
            await self._wait_for_turn(target.host)

    async def whole(self, target: WebURL) -> tuple[bytes, list[Hop]]:
        """Take a turn and run: the body, and the hops to it. Raises FetchFailure."""
        self._check(target)
        await self._context.turns.turn(target.host)
        self.hold_turn(target.host)
        return await self.run(target), self.hops

    def hold_turn(self, host: str) -> None:
        """Note that a turn at this host was given to this fetch."""
        self._held = host

    def return_turn(self, *, unused: bool = False) -> None:
        """Give back the turn if one is held; `unused` if nothing was sent."""
        if self._held is not None:
            host, self._held = self._held, None
            self._context.turns.done(host, unused=unused)

    def report(self, reason: str | None) -> None:
        """Credit the last host with how the fetch ended."""
        if self._origin is None or reason == FailureReason.HOST_GIVEN_UP:
            return
        if reason in _HOST_TROUBLE:
            self._context.health.failed(self._origin, self._loop.time())
        else:
            self._context.health.answered(self._origin)

    async def _ask_leave(self, target: WebURL) -> None:
        """Record what the site says about a URL. Raises FetchFailure if it forbids the request."""
        site_cache, origin = self._context.site_cache, (target.host, target.port)
        if site_cache is None or self._context.health.given_up(origin, self._loop.time()):
            return
        site = site_cache.known(target)
        if site is None:
            self._origin = origin
            self.attempts = self.attempts or 1
            self.return_turn(unused=True)  # the look-up needs a turn, and others can use this one
            async with self._clock(f"no robots.txt from {target.netloc}"):
                site = await site_cache.ask(target)
            await self._wait_for_turn(target.host)
        signals = site.signals(str(target), target.path)
        self.said[str(target)] = tuple(signals)
        if refusal := site_cache.refusal(signals):
            self.return_turn(unused=True)
            raise FetchFailure(FailureReason.OPTED_OUT, refusal.value, signal=refusal.signal)

    async def _ask(self, target: WebURL) -> Answer:
        origin = (target.host, target.port)
        if self._context.health.given_up(origin, self._loop.time()):
            self.return_turn(unused=True)
            detail = f"{target.host}:{target.port} failed too many times in a row"
            raise FetchFailure(FailureReason.HOST_GIVEN_UP, detail)
        self._origin = origin
        self.attempts = self.attempts or 1
        try:
            async with self._clock(f"no full answer from {target.netloc}"):
                return await ask(
                    self._context.session,
                    target,
                    max_body_bytes=self._settings.max_body_bytes,
                    any_kind=self._context.any_kind,
                    keep_alive=self._context.turns.has_queue(target.host),
                    hops=self.hops,
                    method=self._context.method,
                    headers_only=self._context.headers_only,
                )
        finally:
            self.return_turn()

    def _check(self, target: WebURL) -> None:
        """Checks before anything is sent or looked up."""
        try:
            self._context.policy.check_literal(target)
        except AddressRefused as error:
            raise FetchFailure(FailureReason.ADDRESS_REFUSED, str(error)) from error
        if target.has_bad_port and not self._context.policy.is_opened(target.host, target.port):
            raise FetchFailure(FailureReason.PORT_REFUSED, f"port {target.port} is not for the web")

    def _next_hop(self, target: WebURL, answer: Answer, redirects: int) -> WebURL:
        if answer.location is None:
            raise FetchFailure(FailureReason.BAD_REDIRECT, f"{answer.status} without a Location")
        if redirects > self._settings.max_redirects:
            detail = f"more than {self._settings.max_redirects}, the last to {answer.location}"
            raise FetchFailure(FailureReason.TOO_MANY_REDIRECTS, detail)
        target = resolve_redirect(target, answer.location)
        self._check(target)
        return target

    def _status_failure(self, target: WebURL, answer: Answer) -> FetchFailure:
        retry = worth_retrying(answer.status)
        after_sec = answer.retry_after_sec if retry else None
        if after_sec is not None:
            # The host asked us to wait: its other rows wait, too.
            pause_sec = min(after_sec, self._settings.max_retry_after_sec)
            self._context.turns.pause(target.host, pause_sec)
        detail = f"{target.netloc} answered {answer.status}"
        return FetchFailure(
            http_status(answer.status), detail, retry=retry, retry_after_sec=after_sec
        )

    async def _back_off(self, target: WebURL, failure: FetchFailure) -> None:
        """Wait before the next try, or raise the failure if there is none."""
        if not failure.retry or self.attempts > self._settings.retries:
            raise failure
        # Seeded by URL and attempt: rows spread out, and a second run waits as the first one did.
        chance = random.Random(f"{target} {self.attempts}").uniform(0.5, 1.5)
        wait_sec = self._settings.backoff_sec * 2 ** (self.attempts - 1) * chance
        if failure.retry_after_sec is not None:
            wait_sec = max(wait_sec, failure.retry_after_sec)
            if failure.retry_after_sec > self._settings.max_retry_after_sec:
                raise failure
        if wait_sec >= self._left_sec:
            raise failure
        async with self._clock("no time for another try"):
            await asyncio.sleep(wait_sec)
        self.attempts += 1

    async def _wait_for_turn(self, host: str) -> None:
        begun = self._loop.time()
        try:
            async with asyncio.timeout(self._left_queue_sec):
                await self._context.turns.turn(host)
            self.hold_turn(host)
        except TimeoutError as error:
            raise FetchFailure(FailureReason.DEADLINE, f"no turn at {host} in time") from error
        finally:
            self._left_queue_sec -= self._loop.time() - begun

    @asynccontextmanager
    async def _clock(self, what: str) -> AsyncIterator[None]:
        """Charge the block to the deadline, and end it when that is spent."""
        begun = self._loop.time()
        try:
            async with asyncio.timeout(self._left_sec):
                yield
        except TimeoutError as error:
            detail = f"{what} within {self._settings.deadline_sec:g} s"
            raise FetchFailure(FailureReason.DEADLINE, detail) from error
        finally:
            self._left_sec -= self._loop.time() - begun
