"""Whole lists: limits that servers can count, slow hosts, slow consumers, flat memory."""

import asyncio
import time
import tracemalloc
from collections.abc import Iterator

import pytest

from frenchcat.curate.download.fetch import IN_HAND, Fetcher
from frenchcat.curate.download.fetched import Fetched
from tests.curate.download.site import (
    Request,
    Site,
    in_turn,
    picture,
    raw,
    redirect,
    reply,
    settings,
    status,
)
from tests.curate.download.test_address import Answers

JPEG = picture()
UNLIMITED = {"requests_per_sec_per_host": None}


async def silent(request: Request, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


async def collect(fetcher: Fetcher, urls: list[str]) -> dict[int, Fetched]:
    got: dict[int, Fetched] = {}
    async for row, fetched in fetcher.fetch_all(enumerate(urls)):
        assert row not in got
        got[row] = fetched
    return got


def test_every_row_comes_out_once_with_its_own_url_whatever_it_is() -> None:
    async def run() -> None:
        routes = {
            "/good": reply(JPEG),
            "/gone": status(404),
            "/moved": redirect("/good"),
            "/busy": in_turn(status(503), reply(JPEG)),
            "/cut": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n\xff\xd8\xff"),
            "/page": reply(b"<html>"),
        }
        async with Site(routes) as site:
            paths = [*routes, "/none"] * 20
            urls = [site.url(path) for path in paths] + ["", "http://10.0.0.1/", "ftp://a/"] * 20
            async with Fetcher(settings(site, **UNLIMITED, lookahead=7, connections=5)) as fetcher:
                got = await collect(fetcher, urls)
        assert sorted(got) == list(range(len(urls)))
        assert all(got[row].url == url for row, url in enumerate(urls))
        expected = [None, "http_404", None, None, "truncated", "not_an_image", "http_404"]
        expected = expected * 20 + ["bad_url", "address_refused", "scheme_refused"] * 20
        assert [got[row].reason for row in range(len(urls))] == expected
        assert site.count("/gone") == 20, "asked once each"

    asyncio.run(run())


def test_an_empty_list_ends_at_once() -> None:
    async def run() -> None:
        async with Fetcher(settings()) as fetcher:
            assert await collect(fetcher, []) == {}
            assert await collect(fetcher, ["nothing"]) != {}

    asyncio.run(run())


@pytest.mark.parametrize(("per_host", "total"), [(3, 50), (50, 4)])
def test_the_server_never_sees_more_requests_at_once_than_allowed(
    per_host: int, total: int
) -> None:
    async def run() -> None:
        async with Site({"*": reply(JPEG, delay_sec=0.01)}) as site:
            limits = settings(site, **UNLIMITED, connections=total, connections_per_host=per_host)
            async with Fetcher(limits) as fetcher:
                await collect(fetcher, [site.url(f"/{n}") for n in range(60)])
        assert site.most_busy == min(per_host, total)
        assert site.connections <= min(per_host, total), "connections are kept and used again"

    asyncio.run(run())


def test_redirected_requests_count_at_the_host_they_lead_to() -> None:
    async def run() -> None:
        # Two names of one machine, so that the limits can tell them apart.
        async with Site({"*": reply(JPEG, delay_sec=0.02)}) as store:
            async with Site({"*": redirect(f"http://localhost:{store.port}/x")}) as site:
                allow = (site.allow, f"localhost:{store.port}")
                limits = settings(allow_hosts=allow, **UNLIMITED, connections_per_host=2)
                async with Fetcher(limits) as fetcher:
                    got = await collect(fetcher, [site.url(f"/{n}") for n in range(20)])
        assert {fetched.reason for fetched in got.values()} == {None}
        assert store.most_busy == 2

    asyncio.run(run())


def test_many_sites_that_lead_to_one_store_do_not_add_up_there() -> None:
    async def run() -> None:
        async with Site({"*": reply(JPEG, delay_sec=0.01)}) as store:
            async with Site({"*": redirect(f"http://store.example:{store.port}/x")}) as sites:
                names = [f"{name}.example:{sites.port}" for name in "abcd"]
                allow = (*names, f"store.example:{store.port}")
                limits = settings(allow_hosts=allow, **UNLIMITED, connections_per_host=1)
                async with Fetcher(limits, Answers(["127.0.0.1"])) as fetcher:
                    got = await collect(fetcher, [f"http://{name}/" for name in names] * 3)
        assert {fetched.reason for fetched in got.values()} == {None}
        assert store.most_busy == 1, "though each of the sites may be asked once at a time"

    asyncio.run(run())


def test_the_server_sees_the_rate() -> None:
    async def run() -> None:
        async with Site({"*": reply(JPEG)}) as site:
            async with Fetcher(settings(site, requests_per_sec_per_host=50)) as fetcher:
                await collect(fetcher, [site.url(f"/{n}") for n in range(51)])
        times = [request.at for request in site.requests]
        assert 0.95 < times[-1] - times[0] < 5
        assert all(later - at > 0.13 for at, later in zip(times, times[10:], strict=False))

    asyncio.run(run())


def test_a_slow_host_at_the_head_of_the_list_delays_nobody_else() -> None:
    async def run() -> None:
        async with Site({"*": silent}) as slow, Site({"*": reply(JPEG)}) as quick:
            allow = (slow.allow, f"localhost:{quick.port}")
            urls = [slow.url(f"/{n}") for n in range(300)]
            urls += [f"http://localhost:{quick.port}/{n}" for n in range(300)]
            limits = settings(allow_hosts=allow, **UNLIMITED, connections=10, deadline_sec=30)
            begun, done = time.monotonic(), 0
            async with Fetcher(limits) as fetcher:
                results = fetcher.fetch_all(enumerate(urls))
                async for row, fetched in results:
                    assert row >= 300
                    assert fetched.reason is None
                    done += 1
                    if done == 300:
                        break
                await results.aclose()
            # A row behind the slow ones would come when those have met their deadline.
            assert time.monotonic() - begun < limits.deadline_sec
            assert slow.most_busy <= 8

    asyncio.run(run())


def test_waiting_for_our_own_rate_is_not_paid_from_the_deadline() -> None:
    async def run() -> None:
        async with Site({"*": reply(JPEG)}) as site:
            limits = settings(site, requests_per_sec_per_host=20, deadline_sec=0.3)
            async with Fetcher(limits) as fetcher:
                got = await collect(fetcher, [site.url(f"/{n}") for n in range(20)])
        assert {fetched.reason for fetched in got.values()} == {None}

    asyncio.run(run())


def test_a_consumer_that_stops_taking_stops_the_fetching() -> None:
    async def run() -> None:
        read = 0

        def urls(site: Site) -> Iterator[tuple[int, str]]:
            nonlocal read
            for row in range(10_000):
                read += 1
                yield row, site.url(f"/{row}")

        async with Site({"*": reply(JPEG)}) as site:
            limits = settings(site, **UNLIMITED, connections=4, lookahead=10)
            async with Fetcher(limits) as fetcher:
                results = fetcher.fetch_all(urls(site))
                await anext(results)
                await asyncio.sleep(0.3)
                assert len(site.requests) <= IN_HAND * 4 + 1
                assert read <= IN_HAND * 4 + 10 + 2
                for _ in range(100):
                    await anext(results)
                assert len(site.requests) <= 101 + IN_HAND * 4
                await results.aclose()

    asyncio.run(run())


def test_large_bodies_are_held_in_number_only_as_far_as_memory_is_meant_for_them() -> None:
    async def run() -> None:
        large = JPEG + bytes(2**20)
        async with Site({"*": reply(large)}) as site:
            limits = settings(site, **UNLIMITED, connections=16, max_held_bytes=6 * 2**20)
            async with Fetcher(limits) as fetcher:
                urls = [site.url(f"/{n}") for n in range(60)]
                results = fetcher.fetch_all(enumerate(urls))
                await anext(results)
                await asyncio.sleep(0.5)
                assert len(site.requests) <= 8
                assert len([row async for row in results]) == 59

    asyncio.run(run())


def test_memory_does_not_grow_with_the_list() -> None:
    async def peak(rows: int) -> int:
        async with Site({"*": status(404)}) as site:
            limits = settings(site, **UNLIMITED, connections=8, lookahead=50)
            urls = ((row, site.url("/" + "x" * 1000 + f"{row}")) for row in range(rows))
            async with Fetcher(limits) as fetcher:
                tracemalloc.start()
                async for _ in fetcher.fetch_all(urls):
                    site.requests.clear()
                found = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
                return found

    asyncio.run(peak(200))  # caches fill
    small, large = asyncio.run(peak(300)), asyncio.run(peak(1500))
    assert large < small * 1.3 + 2**17


def test_leaving_early_leaves_nothing_running_and_the_fetcher_usable() -> None:
    async def run() -> None:
        async with Site({"/slow": silent, "*": reply(JPEG)}) as site:
            async with Fetcher(settings(site, **UNLIMITED, connections=6)) as fetcher:
                urls = [site.url("/slow")] * 3 + [site.url("/quick")] * 100
                for _ in range(3):
                    results = fetcher.fetch_all(enumerate(urls))
                    assert (await anext(results))[0] >= 3
                    with pytest.raises(RuntimeError, match="already running"):
                        await anext(fetcher.fetch_all([]))
                    await results.aclose()
                    assert fetcher._context.turns._active == 0
                assert len(await collect(fetcher, urls[3:])) == 100
            assert len(asyncio.all_tasks()) <= 1 + site.connections

    asyncio.run(run())


def test_an_error_in_the_list_itself_is_not_swallowed() -> None:
    def urls() -> Iterator[tuple[int, str]]:
        yield 0, "http://10.0.0.1/"
        raise OSError("the list broke off")

    async def run() -> None:
        async with Fetcher(settings()) as fetcher:
            with pytest.raises(OSError, match="broke off"):
                async for _ in fetcher.fetch_all(urls()):
                    pass

    asyncio.run(run())


def test_connections_to_hosts_without_more_work_are_not_kept() -> None:
    async def run() -> None:
        async with Site({"*": reply(JPEG)}) as site, Fetcher(settings(site)) as fetcher:
            await fetcher.fetch(site.url())
            assert site.requests[0].headers["connection"] == "close"
            await collect(fetcher, [site.url()] * 20)
            kept = [request.headers.get("connection") != "close" for request in site.requests[1:]]
            assert sum(kept) >= 10
            assert not kept[-1]

    asyncio.run(run())
