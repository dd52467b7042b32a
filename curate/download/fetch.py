"""One URL -> the bytes of one image, safely.

Reads the web, writes nothing. Whatever a URL or a server does, a fetch ends within its deadline,
within its body cap and with a Fetched: the bytes, or a stable reason. It never connects to an
address that is not public (address.py), counts while it decompresses (body.py), knows an image
by its bytes (sniff.py) and its size by its header (header.py), and asks no host faster than the
host should bear (hosts.py).

    async with Fetcher(FetchSettings()) as fetcher:
        async for row, fetched in fetcher.fetch_all(enumerate(urls)):
            print(row, fetched.reason or len(fetched.body))

Trade-off: redirects are followed by hand and queue anew at each host, which costs a little time
per hop and keeps every limit true for hosts that are only ever redirected to. Memory is bounded
by what is in hand (settings.max_held_bytes), not by the list.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from dataclasses import replace
from types import TracebackType

from aiohttp.abc import AbstractResolver

from frenchcat.curate.download.address import AddressPolicy, CheckedResolver, SystemResolver
from frenchcat.curate.download.body import check_image
from frenchcat.curate.download.fetch_attempt import FetchAttempt, FetchContext
from frenchcat.curate.download.fetched import Fetched
from frenchcat.curate.download.hosts import HostHealth, HostTurns
from frenchcat.curate.download.request import Hop, open_session
from frenchcat.curate.download.rights.settings import RightsSettings
from frenchcat.curate.download.rights.site_cache import MAX_BODY_BYTES, SiteCache
from frenchcat.curate.download.settings import FetchSettings, parse_allow_host
from frenchcat.curate.reasons import (
    PERMANENT,
    REASONS,
    FailureReason,
    FetchFailure,
    http_status,
)
from frenchcat.curate.urls import WebURL

__all__ = ["PERMANENT", "REASONS", "FailureReason", "FetchSettings", "Fetched", "Fetcher", "Hop"]

IN_HAND = 3
"""Fetches that fetch_all may have begun and not yet returned, as a multiple of `connections`: one
third is connected, the rest waits for a retry, a redirect or the consumer.
"""

_NO_HEAD = frozenset((http_status(405), http_status(501)))
_log = logging.getLogger(__name__)
_DETAIL_CHARS = 300
_FIRST_MEAN_BYTES = 2**20  # expected bytes of a body before any was received
_MEAN_OVER = 16  # fetches in the running mean of body sizes
_READ_STEP = 256  # URLs read from the list before the network gets a turn


class Fetcher:
    """Fetches images. An asynchronous context manager, bound to one event loop."""

    def __init__(
        self,
        settings: FetchSettings,
        resolver: AbstractResolver | None = None,
        rights: RightsSettings | None = None,
    ) -> None:
        """Take settings, and optionally another resolver; its answers are checked, too.

        With `rights`, every site is asked for its robots.txt and the like before its images.
        """
        self._settings = settings
        self._rights = rights
        self._inner_resolver = resolver
        self._stream: _FetchQueue | None = None

    async def __aenter__(self) -> "Fetcher":
        s = self._settings
        policy = AddressPolicy(parse_allow_host(entry) for entry in s.allow_hosts)
        self._resolver = CheckedResolver(self._inner_resolver or SystemResolver(), policy)
        self._context = FetchContext(
            settings=s,
            session=open_session(s, policy, self._resolver),
            policy=policy,
            turns=HostTurns(
                s.connections, s.connections_per_host, s.requests_per_sec_per_host, self._has_room
            ),
            health=HostHealth(s.max_host_failures, s.host_rest_sec),
        )
        if self._rights is not None:
            plain = replace(
                self._context,
                settings=replace(s, max_body_bytes=min(s.max_body_bytes, MAX_BODY_BYTES)),
                any_kind=True,
            )
            site_cache = SiteCache(
                self._rights, lambda url: FetchAttempt(plain, str(url)).whole(url)
            )
            self._context = replace(self._context, site_cache=site_cache)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._stream is not None:
            await self._stream.close()
        if self._context.site_cache is not None:
            await self._context.site_cache.close()
        self._context.turns.close()
        await self._context.session.close()
        await self._resolver.close()

    async def fetch(self, url: str) -> Fetched:
        """Fetch one URL. Never raises because of a URL or a server."""
        attempt = FetchAttempt(self._context, url)
        try:
            target = attempt.depart()
        except FetchFailure as failure:
            return _failed(attempt, failure)
        await self._context.turns.turn(target.host)
        attempt.hold_turn(target.host)
        return await self._finish(attempt, target)

    async def headers(self, url: str) -> Fetched:
        """What a URL and its site say, without a body: by HEAD, by GET where that is refused.

        Never raises because of a URL or a server.
        """
        fetched = await self._headers(url, "HEAD")
        return await self._headers(url, "GET") if fetched.reason in _NO_HEAD else fetched

    async def site(self, url: str) -> Fetched:
        """What the site of a URL says of it, without a request for the URL itself."""
        attempt = FetchAttempt(self._context, url)
        try:
            target, cache = attempt.depart(), self._context.site_cache
            if cache is not None:
                site = await cache.ask(target)
                attempt.said[str(target)] = tuple(site.signals(str(target), target.path))
        except FetchFailure as failure:
            return _failed(attempt, failure)
        return _answered(attempt)

    async def _headers(self, url: str, method: str) -> Fetched:
        asking = replace(self._context, method=method, headers_only=True, any_kind=True)
        attempt = FetchAttempt(asking, url)
        try:
            await attempt.whole(attempt.depart())
            fetched = _answered(attempt)
        except FetchFailure as failure:
            fetched = _failed(attempt, failure)
        attempt.report(fetched.reason)
        return fetched

    async def fetch_all(
        self, urls: Iterable[tuple[int, str]]
    ) -> AsyncGenerator[tuple[int, Fetched], None]:
        """Fetch many URLs; yields results in order of completion, each with its number.

        At most `lookahead` URLs are read ahead, and a slow consumer slows the fetching. A second
        fetch_all at the same time on one Fetcher raises RuntimeError.
        """
        if self._stream is not None:
            raise RuntimeError("fetch_all is already running; use one Fetcher for each list")
        self._stream = _FetchQueue(self, self._context, urls)
        try:
            while (result := await self._stream.next()) is not None:
                yield result
        finally:
            await self._stream.close()
            self._stream = None

    def _has_room(self) -> bool:
        return self._stream is not None and self._stream.has_room

    async def _finish(self, attempt: FetchAttempt, target: WebURL) -> Fetched:
        """Run a fetch whose first turn is held, and judge its result."""
        try:
            body = await attempt.run(target)
            fetched = self._judge(attempt, body)
        except FetchFailure as failure:
            fetched = _failed(attempt, failure)
        except Exception as error:  # one bad row must not fail the shard
            _log.exception("unexpected error while fetching %r", str(attempt.url)[:200])
            unexpected = FetchFailure(FailureReason.UNEXPECTED, f"{type(error).__name__}: {error}")
            fetched = _failed(attempt, unexpected)
        attempt.report(fetched.reason)
        return fetched

    def _judge(self, attempt: FetchAttempt, body: bytes) -> Fetched:
        kind, width, height = check_image(body, self._settings.max_pixels)
        hops, said = tuple(attempt.hops), tuple(attempt.said.items())
        url, tries = str(attempt.url), attempt.attempts
        return Fetched(url, body, None, "", hops, kind, width, height, tries, said)


def _answered(attempt: FetchAttempt) -> Fetched:
    """An answer without a body."""
    hops, said = tuple(attempt.hops), tuple(attempt.said.items())
    nothing = (None, None, None)  # of format, width, height
    return Fetched(str(attempt.url), None, None, "", hops, *nothing, attempt.attempts, said)


def _failed(attempt: FetchAttempt, failure: FetchFailure) -> Fetched:
    # Details quote servers: keep them short, and valid text for every file format.
    short = failure.detail[:_DETAIL_CHARS].encode("utf-8", "backslashreplace").decode()
    hops, said = tuple(attempt.hops), tuple(attempt.said.items())
    url, tries = str(attempt.url), attempt.attempts
    reason, detail = failure.reason, short[:_DETAIL_CHARS]
    nothing = (None, None, None)  # of format, width, height
    return Fetched(url, None, reason, detail, hops, *nothing, tries, said, failure.signal)


class _FetchQueue:
    """The state of one fetch_all: URLs queued at their hosts, fetches under way, results."""

    def __init__(
        self, fetcher: Fetcher, context: FetchContext, urls: Iterable[tuple[int, str]]
    ) -> None:
        self._fetcher = fetcher
        self._context = context
        self._urls = iter(urls)
        self._max_in_hand = IN_HAND * context.settings.connections
        self._exhausted = False
        self._queued = 0
        self._in_hand = 0
        self._held_bytes = 0
        self._mean_bytes = float(_FIRST_MEAN_BYTES)
        self._tasks: set[asyncio.Task[None]] = set()
        self._results: deque[tuple[int, Fetched]] = deque()
        self._changed = asyncio.Event()

    @property
    def has_room(self) -> bool:
        """Whether another fetch may begin."""
        if self._in_hand >= self._max_in_hand:
            return False
        under_way = self._in_hand - len(self._results)
        expected_bytes = self._held_bytes + under_way * self._mean_bytes
        return not self._in_hand or expected_bytes < self._context.settings.max_held_bytes

    @property
    def _may_read(self) -> bool:
        is_full = self._queued >= self._context.settings.lookahead
        return not self._exhausted and not is_full and self.has_room

    async def next(self) -> tuple[int, Fetched] | None:
        """The next result, None if there are no more."""
        while True:
            self._read_ahead()
            if self._results:
                row, fetched = self._results.popleft()
                self._in_hand -= 1
                self._held_bytes -= len(fetched.body or b"")
                self._context.turns.pump()
                return row, fetched
            if self._exhausted and not self._queued and not self._in_hand:
                return None
            if self._may_read:
                await asyncio.sleep(0)  # let what was just queued start
            else:
                await self._changed.wait()
            self._changed.clear()

    async def close(self) -> None:
        """Drop what is queued and cancel what is under way."""
        self._exhausted = True
        self._queued = 0
        self._context.turns.drop_fresh()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _read_ahead(self) -> None:
        for _ in range(_READ_STEP):
            if not self._may_read:
                return
            entry = next(self._urls, None)
            if entry is None:
                self._exhausted = True
                return
            self._queue(*entry)

    def _queue(self, row: int, url: str) -> None:
        attempt = FetchAttempt(self._context, url)
        try:
            target = attempt.depart()
        except FetchFailure as failure:
            self._in_hand += 1
            self._results.append((row, _failed(attempt, failure)))
            return
        self._queued += 1
        self._context.turns.submit(
            target.host, lambda: self._begin(row, attempt, target), fresh=True
        )

    def _begin(self, row: int, attempt: FetchAttempt, target: WebURL) -> None:
        self._queued -= 1
        self._in_hand += 1
        self._changed.set()
        attempt.hold_turn(target.host)
        task = asyncio.create_task(self._run(row, attempt, target))
        self._tasks.add(task)
        task.add_done_callback(lambda task: self._end(task, attempt))

    def _end(self, task: "asyncio.Task[None]", attempt: FetchAttempt) -> None:
        self._tasks.discard(task)
        attempt.return_turn()  # a task that is cancelled before its first step never runs

    async def _run(self, row: int, attempt: FetchAttempt, target: WebURL) -> None:
        fetched = await self._fetcher._finish(attempt, target)
        size = len(fetched.body or b"")
        self._held_bytes += size
        self._mean_bytes += (size - self._mean_bytes) / _MEAN_OVER
        self._results.append((row, fetched))
        self._changed.set()
