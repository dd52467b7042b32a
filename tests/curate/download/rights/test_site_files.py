"""A site's own files, asked for over real connections: before what, how often, and when in vain."""

import asyncio
import gzip
from collections.abc import Awaitable, Callable

import pytest

from frenchcat.curate.download.fetch import Fetcher
from frenchcat.curate.download.fetched import Fetched
from frenchcat.curate.download.request import Hop
from frenchcat.curate.download.rights.settings import RightsSettings
from frenchcat.curate.download.rights.signal import Signal, opted_out
from frenchcat.curate.download.rights.site_cache import MAX_SITES, SiteCache
from frenchcat.curate.reasons import FetchFailure
from frenchcat.curate.urls import WebURL, parse_url
from tests.curate.download.site import (
    Handler,
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

JPEG = picture()
FORBIDDEN = b"User-agent: *\nDisallow: /\n"
FILES = {
    "/robots.txt": FORBIDDEN,
    "/.well-known/tdmrep.json": b'[{"location": "/*", "tdm-reservation": 1}]',
    "/ai.txt": FORBIDDEN,
}
PICTURE = "/cat.jpg"


def signals(fetched: Fetched) -> list[Signal]:
    return [signal for _, said in fetched.said for signal in said]


def ask(
    routes: dict[str, Handler], path: str = PICTURE, rights: RightsSettings | None = None
) -> tuple[Fetched, Site]:
    async def run() -> tuple[Fetched, Site]:
        async with Site({PICTURE: reply(JPEG)} | routes) as site:
            asking = Fetcher(settings(site, retries=0), rights=rights or RightsSettings())
            async with asking as fetcher:
                return await fetcher.fetch(site.url(path)), site

    return asyncio.run(run())


@pytest.mark.parametrize("length", [511, 512, 513, 100_000])
@pytest.mark.parametrize("path", FILES)
def test_a_file_is_read_whatever_its_length(path: str, length: int) -> None:
    padding = b"\n" * (length - len(FILES[path]))
    got, site = ask({path: reply(FILES[path] + padding)})
    said = opted_out(signals(got))
    assert said is not None
    assert said.where == site.url(path)
    assert site.count(PICTURE) == (0 if path == "/robots.txt" else 1)


def test_a_file_that_is_compressed_is_read_as_well() -> None:
    packed = gzip.compress(b"# x\n" * 1000 + FORBIDDEN)
    assert ask({"/robots.txt": reply(packed, Content_Encoding="gzip")})[0].body is None


@pytest.mark.parametrize("code", [429, 500, 501, 503, 599])
def test_a_robots_txt_that_is_refused_for_now_keeps_the_picture_from_being_asked_for(
    code: int,
) -> None:
    got, site = ask({"/robots.txt": status(code)})
    assert got.reason == f"http_{code}"
    assert got.detail.startswith("robots.txt: ")
    assert site.count(PICTURE) == 0


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 451])
def test_a_robots_txt_that_is_not_there_or_locked_is_none(code: int) -> None:
    assert ask({"/robots.txt": status(code)})[0].reason is None


LINES = b"HTTP/1.1 200 OK\r\n"
CUT = LINES + b"Content-Length: 900\r\n\r\nUser-agent: *\n"
LARGE = LINES + b"Content-Length: %d\r\n\r\nUser-agent: *\n" % (2 * 2**20 + 1)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (raw(b""), "connection_lost"),
        (raw(b"nonsense\r\n\r\n"), "bad_response"),
        (raw(CUT), "truncated"),
        (raw(LARGE), "body_too_large"),
        (raw(LINES + b"\r\n" + FORBIDDEN + b"#" * (2 * 2**20)), "body_too_large"),
        (raw(LINES + b"Content-Encoding: br\r\n\r\n" + FORBIDDEN), "bad_encoding"),
    ],
)
def test_a_robots_txt_that_did_not_arrive_whole_is_not_taken_for_none(
    answer: Handler, reason: str
) -> None:
    got, site = ask({"/robots.txt": answer})
    assert (got.reason, site.count(PICTURE)) == (reason, 0)
    assert got.detail.startswith("robots.txt: ")
    got, site = ask({"/robots.txt": answer}, rights=RightsSettings(policy="record"))
    assert (got.reason, site.count(PICTURE)) == (None, 1)
    assert [s.value for s in signals(got)] == [f"not read: {reason}"]


def test_a_robots_txt_that_never_comes_costs_the_deadline_and_not_the_permission() -> None:
    async def silent(request: Request, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async def run() -> None:
        async with Site({"/robots.txt": silent, "*": reply(JPEG)}) as site:
            limits = settings(site, deadline_sec=0.3)
            async with Fetcher(limits, rights=RightsSettings()) as fetcher:
                got = await asyncio.wait_for(fetcher.fetch(site.url(PICTURE)), 15)
            assert (got.reason, site.count(PICTURE)) == ("deadline", 0)
            assert "robots.txt" in got.detail

    asyncio.run(run())


@pytest.mark.parametrize("path", FILES)
def test_a_file_cannot_lead_to_where_a_picture_must_not(path: str) -> None:
    async def run() -> None:
        async with Site({"*": reply(FILES[path])}) as inside:
            routes = {path: redirect(inside.url(path)), PICTURE: reply(JPEG)}
            async with Site(routes) as site:
                async with Fetcher(settings(site), rights=RightsSettings()) as fetcher:
                    assert (await fetcher.fetch(site.url(PICTURE))).reason is None
            assert inside.connections == 0

    asyncio.run(run())


@pytest.mark.parametrize("path", list(FILES)[1:])
def test_other_files_that_did_not_arrive_forbid_nothing_and_are_noted(path: str) -> None:
    got, _ = ask({path: raw(CUT)})
    assert (got.reason, [s.value for s in signals(got)]) == (None, ["not read: truncated"])


def test_a_robots_txt_behind_a_redirect_is_that_of_the_site_that_sent_there() -> None:
    got, site = ask({"/robots.txt": redirect("/rules"), "/rules": reply(FORBIDDEN)})
    assert (got.reason, got.signal, site.count(PICTURE)) == ("opted_out", "robots_txt", 0)


@pytest.mark.parametrize("path", FILES)
def test_every_site_on_the_way_is_asked_before_its_url(path: str) -> None:
    async def run() -> None:
        async with Site({path: reply(FILES[path]), "*": reply(JPEG)}) as last:
            first = Site({"/moved": redirect(last.url(PICTURE))})
            async with first, Fetcher(settings(first, last), rights=RightsSettings()) as fetcher:
                got = await fetcher.fetch(first.url("/moved"))
            said = opted_out(signals(got))
            assert said is not None
            assert said.where == last.url(path)
            asked = [request.path for request in last.requests]
            assert asked[0] == "/robots.txt"
            assert asked.count(PICTURE) == (0 if path == "/robots.txt" else 1)

    asyncio.run(run())


def test_a_redirect_that_robots_txt_forbids_is_not_asked_for() -> None:
    rules = reply(b"User-agent: *\nDisallow: /moved\n")
    got, site = ask({"/robots.txt": rules, "/moved": redirect(PICTURE)}, "/moved")
    assert (got.reason, got.signal, site.count("/moved")) == ("opted_out", "robots_txt", 0)


def test_only_robots_txt_keeps_a_picture_from_being_asked_for() -> None:
    preference = reply(b"User-agent: *\nContent-Usage: train-ai=n\n")
    tdmrep = {"/.well-known/tdmrep.json": reply(FILES["/.well-known/tdmrep.json"])}
    got, site = ask({"/robots.txt": preference, "/ai.txt": reply(FORBIDDEN), **tdmrep})
    assert (got.reason, site.count(PICTURE)) == (None, 1)
    assert {s.signal for s in signals(got)} == {"robots_content_usage", "tdmrep", "ai_txt"}


@pytest.mark.parametrize("names", [(), ("tdmrep",), ("aitxt", "robots")])
def test_no_other_file_than_those_of_the_settings_is_asked_for(names: tuple[str, ...]) -> None:
    _, site = ask({}, rights=RightsSettings(site_files=names))  # type: ignore[arg-type]
    paths = {"robots": "/robots.txt", "tdmrep": "/.well-known/tdmrep.json", "aitxt": "/ai.txt"}
    asked = {request.path for request in site.requests}
    assert asked == {PICTURE} | {paths[name] for name in names}


def test_a_site_is_asked_once_for_all_its_rows_and_again_after_a_failure() -> None:
    async def run() -> None:
        routes = {"/robots.txt": in_turn(status(500), reply(b"")), "*": reply(JPEG)}
        async with Site(routes) as site:
            asking = Fetcher(settings(site, retries=0), rights=RightsSettings())
            async with asking as fetcher:
                assert (await fetcher.fetch(site.url("/0"))).reason == "http_500"
                rows = enumerate(site.url(f"/{n}") for n in range(12))
                got = [fetched.reason async for _, fetched in fetcher.fetch_all(rows)]
            assert got == [None] * 12
            assert [site.count(path) for path in FILES] == [2, 1, 1]

    asyncio.run(run())


# -- the site cache alone -------------------------------------------------------------------------


def with_site_cache(test: Callable[[SiteCache, list[str]], Awaitable[None]]) -> None:
    """Run with a site cache whose network has empty robots.txt files, and its requests."""
    asked: list[str] = []

    async def get(url: WebURL) -> tuple[bytes, list[Hop]]:
        asked.append(str(url))
        await asyncio.sleep(0)
        if url.host == "dead.example":
            raise FetchFailure("deadline", "")
        return b"", [Hop(str(url), 200, (), "")]

    async def run() -> None:
        await test(SiteCache(RightsSettings(site_files=("robots",)), get), asked)

    asyncio.run(run())


def test_a_site_is_a_scheme_a_host_and_a_port() -> None:
    origins = ["http://a.example", "https://a.example", "http://a.example:81", "http://b.example"]
    origins += ["https://a.example:80", "http://www.a.example"]

    async def test(site_cache: SiteCache, asked: list[str]) -> None:
        for origin in origins:
            assert site_cache.known(parse_url(f"{origin}/x")) is None
            site = await site_cache.ask(parse_url(f"{origin}/x"))
            assert site_cache.known(parse_url(f"{origin}/y?z")) is site
        assert asked == [f"{origin}/robots.txt" for origin in origins]

    with_site_cache(test)


def test_who_asks_at_the_same_time_shares_one_look_up_that_none_of_them_can_end() -> None:
    async def test(site_cache: SiteCache, asked: list[str]) -> None:
        url = parse_url("http://a.example/x")
        asking = [asyncio.create_task(site_cache.ask(url)) for _ in range(5)]
        await asyncio.sleep(0)
        asking[0].cancel()
        found = await asyncio.gather(*asking, return_exceptions=True)
        assert isinstance(found[0], asyncio.CancelledError)
        assert {id(site) for site in found[1:]} == {id(site_cache.known(url))}
        assert len(asked) == 1

    with_site_cache(test)


def test_a_look_up_that_failed_is_made_again() -> None:
    async def test(site_cache: SiteCache, asked: list[str]) -> None:
        url = parse_url("http://dead.example/x")
        for times in (1, 2):
            with pytest.raises(FetchFailure, match=r"robots\.txt"):
                await site_cache.ask(url)
            assert (site_cache.known(url), len(asked)) == (None, times)

    with_site_cache(test)


def test_of_too_many_sites_the_one_asked_for_the_longest_ago_is_forgotten() -> None:
    async def test(site_cache: SiteCache, asked: list[str]) -> None:
        urls = [parse_url(f"http://{n}.example.org/") for n in range(MAX_SITES + 1)]
        for url in urls[:-1]:
            await site_cache.ask(url)
        assert site_cache.known(urls[0]) is not None  # and is asked for now
        await site_cache.ask(urls[-1])
        known = [site_cache.known(url) is not None for url in urls]
        assert known == [True, False, *[True] * (MAX_SITES - 1)]

    with_site_cache(test)
