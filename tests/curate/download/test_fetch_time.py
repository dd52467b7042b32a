"""How long a fetch may take, and when it asks again."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from itertools import pairwise
from typing import Any

import pytest

from frenchcat.curate.download.fetch import Fetcher
from tests.curate.download.site import (
    Handler,
    Request,
    Site,
    endless,
    fetch_from,
    in_turn,
    picture,
    raw,
    redirect,
    reply,
    settings,
    status,
)

JPEG = picture()
OK = b"HTTP/1.1 200 OK\r\n"
PATIENCE_SEC = 20
"""More than a deadline needs on a busy machine, less than what a server here takes without one."""


async def silent(request: Request, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


def slowly(handler: Handler, sec: float) -> Handler:
    async def slow(request: Request, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(sec)
        await handler(request, writer)

    return slow


DRIPS: dict[str, Handler] = {
    "silence": silent,
    "status line": endless(b"HTTP/1.1 200 O", b"K", 0.05),
    "headers": endless(OK, b"X", 0.05),
    "body": endless(OK + b"\r\n" + JPEG[:100], b"x", 0.05),
    "announced body": endless(OK + b"Content-Length: 5000\r\n\r\n" + JPEG[:100], b"x", 0.05),
    "chunks": endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", 0.05),
    "error page": endless(b"HTTP/1.1 500 No\r\nContent-Length: 5000\r\n\r\n", b"x", 0.05),
    "redirects": slowly(redirect("/again"), 0.4),
    "retries": slowly(status(503), 0.3),
    "lost connections": slowly(raw(b""), 0.3),
}


@pytest.mark.parametrize("way", DRIPS)
def test_one_deadline_bounds_it_all(way: str) -> None:
    begun = time.monotonic()
    got, _ = fetch_from(DRIPS[way], deadline_sec=0.8, retries=20, max_redirects=99, backoff_sec=0.1)
    took_sec = time.monotonic() - begun
    assert got.body is None
    assert got.reason in {"deadline", "http_500", "http_503", "connection_lost"}
    if way not in ("error page", "retries", "lost connections"):
        assert got.reason == "deadline"
    assert took_sec < PATIENCE_SEC


def test_look_ups_and_handshakes_are_paid_from_the_deadline() -> None:
    async def run() -> None:
        async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await asyncio.sleep(60)
            finally:
                writer.transport.abort()

        server = await asyncio.start_server(mute, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        allow = (f"127.0.0.1:{port}",)
        begun = time.monotonic()
        async with Fetcher(settings(allow_hosts=allow, deadline_sec=0.4)) as fetcher:
            assert (await fetcher.fetch(f"https://127.0.0.1:{port}/")).reason == "deadline"
        slow = settings(allow_hosts=allow, connect_timeout_sec=0.3)
        async with Fetcher(slow) as fetcher:
            got = await fetcher.fetch(f"https://127.0.0.1:{port}/")
            assert (got.reason, got.attempts) == ("connect_failed", 1)
        assert time.monotonic() - begun < PATIENCE_SEC
        server.close()

    asyncio.run(run())


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_what_passes_is_asked_again(code: int) -> None:
    got, site = fetch_from(in_turn(status(code), status(code), reply(JPEG)))
    assert (got.reason, got.attempts) == (None, 3)
    assert [hop.status for hop in got.hops] == [code, code, 200]
    assert len(site.requests) == 3


@pytest.mark.parametrize(
    "broken", [raw(b""), raw(OK), raw(OK + b"Content-Length: 9999\r\n\r\n" + JPEG)]
)
def test_a_lost_connection_is_made_again(broken: Handler) -> None:
    got, site = fetch_from(in_turn(broken, reply(JPEG)))
    assert (got.reason, got.attempts, len(site.requests)) == (None, 2, 2)


def test_retries_are_counted_and_the_last_reason_stays() -> None:
    got, site = fetch_from(status(503), retries=3)
    assert (got.reason, got.attempts, len(site.requests)) == ("http_503", 4, 4)
    got, site = fetch_from(status(503), retries=0)
    assert (got.attempts, len(site.requests)) == (1, 1)


def test_a_retry_asks_where_it_failed_and_not_from_the_start() -> None:
    async def run() -> None:
        routes = {"/a": redirect("/b"), "/b": in_turn(status(500), reply(JPEG))}
        async with Site(routes) as site, Fetcher(settings(site)) as fetcher:
            got = await fetcher.fetch(site.url("/a"))
            assert (got.reason, got.attempts) == (None, 2)
            assert [request.path for request in site.requests] == ["/a", "/b", "/b"]

    asyncio.run(run())


def gaps(site: Site) -> list[float]:
    times = [request.at for request in site.requests]
    return [later - earlier for earlier, later in pairwise(times)]


def test_waits_double_and_are_the_same_for_the_same_url(monkeypatch: pytest.MonkeyPatch) -> None:
    asleep, waited = asyncio.sleep, list[float]()

    async def dream(sec: float) -> None:
        if sec:
            waited.append(sec)
        await asleep(0)

    async def run() -> list[list[float]]:
        async with Site({"*": status(500)}) as site:
            found = []
            for path in ("/a", "/a", "/b"):
                waited.clear()
                limits = settings(site, retries=3, backoff_sec=0.1, deadline_sec=60)
                async with Fetcher(limits) as fetcher:
                    await fetcher.fetch(site.url(path))
                found.append([*waited])
            return found

    monkeypatch.setattr(asyncio, "sleep", dream)
    first, second, other = asyncio.run(run())
    for waits in (first, other):
        assert len(waits) == 3
        for attempt, wait in enumerate(waits):
            assert 0.05 * 2**attempt <= wait <= 0.15 * 2**attempt
    assert first == second != other


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize("value", [lambda: "1", lambda: formatdate(time.time() + 2, usegmt=True)])
def test_retry_after_is_waited_for(
    code: int, value: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asleep, waited = asyncio.sleep, list[float]()

    async def noted(sec: float) -> None:
        waited.extend([sec] if sec else [])
        await asleep(sec)

    monkeypatch.setattr(asyncio, "sleep", noted)
    got, site = fetch_from(in_turn(status(code, Retry_After=value()), reply(JPEG)))
    assert got.reason is None
    assert gaps(site)[0] >= 0.95
    (wait,) = waited
    assert 0.95 <= wait <= 2


@pytest.mark.parametrize("value", ["soon", "-5", "1e9", "Thu, 99 Foo 2020 00:00:00 GMT", ""])
def test_a_retry_after_nobody_can_read_is_no_reason_to_wait_or_fall(value: str) -> None:
    got, site = fetch_from(in_turn(status(503, Retry_After=value), reply(JPEG)))
    assert (got.reason, len(site.requests)) == (None, 2)


@pytest.mark.parametrize(
    ("value", "changes"),
    [
        ("3600", {}),
        ("9" * 400, {}),
        pytest.param(formatdate(time.time() + 10**6, usegmt=True), {}, id="a date"),
        ("2", {"max_retry_after_sec": 1}),
        ("4", {"deadline_sec": 3}),
    ],
)
def test_a_retry_after_too_long_to_wait_for_ends_the_fetch(
    value: str, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asleep = asyncio.sleep

    async def awake(sec: float) -> None:
        assert not sec, "nothing is waited for"
        await asleep(0)

    monkeypatch.setattr(asyncio, "sleep", awake)
    got, site = fetch_from(status(429, Retry_After=value), **changes)
    assert (got.reason, len(site.requests)) == ("http_429", 1)


def test_retry_after_holds_the_whole_host() -> None:
    async def run() -> None:
        routes = {"/busy": in_turn(status(429, Retry_After="1"), reply(JPEG)), "*": reply(JPEG)}
        async with Site(routes) as site, Fetcher(settings(site)) as fetcher:
            busy = asyncio.create_task(fetcher.fetch(site.url("/busy")))
            while not site.requests:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            assert (await fetcher.fetch(site.url("/other"))).reason is None
            assert (await busy).reason is None
            assert site.count("/other") == 1
            assert min(r.at for r in site.requests[1:]) - site.requests[0].at > 0.95

    asyncio.run(run())


def test_a_host_that_is_down_is_given_up_and_its_rows_say_so() -> None:
    async def run() -> None:
        async with Site({"*": silent}) as down, Site({"*": status(404)}) as up:
            fast = settings(down, up, deadline_sec=0.1, max_host_failures=3, connections_per_host=1)
            async with Fetcher(fast) as fetcher:
                reasons = [(await fetcher.fetch(down.url(f"/{n}"))).reason for n in range(6)]
                assert reasons == ["deadline"] * 3 + ["host_given_up"] * 3
                assert len(down.requests) == 3
                for n in range(6):
                    assert (await fetcher.fetch(up.url(f"/{n}"))).reason == "http_404"

    asyncio.run(run())


def test_cancelling_a_fetch_gives_its_turn_back() -> None:
    async def cancel(site: Site, fetch: Awaitable[object]) -> None:
        before, task = len(site.requests), asyncio.ensure_future(fetch)
        while len(site.requests) == before:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def run() -> None:
        async with Site({"/slow": silent, "*": reply(JPEG)}) as site:
            async with Fetcher(settings(site, connections=1)) as fetcher:
                for _ in range(3):
                    await cancel(site, fetcher.fetch(site.url("/slow")))
                assert (await fetcher.fetch(site.url("/quick"))).reason is None

    asyncio.run(run())
