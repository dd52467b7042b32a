"""No list, name, redirect or change of mind of a name server reaches our own network."""

import asyncio
import sys
from collections.abc import Iterator

import pytest

from frenchcat.curate.download.fetch import Fetcher, FetchSettings
from frenchcat.curate.download.fetched import Fetched
from tests.curate.download.site import Site, fetch_one, picture, redirect, reply, settings
from tests.curate.download.test_address import Answers

JPEG = picture()
PUBLIC = "8.8.8.8"
_dialled: list[str] = []
_watching = False


def _watch(event: str, args: tuple[object, ...]) -> None:
    """See every connection this process begins, and stop those that would leave the machine."""
    if _watching and event == "socket.connect":
        address = str(args[1][0])  # type: ignore[index]
        _dialled.append(address)
        if not address.startswith("127."):
            raise ConnectionRefusedError("no test leaves the machine")


sys.addaudithook(_watch)


@pytest.fixture
def dialled() -> Iterator[list[str]]:
    global _watching
    _dialled.clear()
    _watching = True
    yield _dialled
    _watching = False


def fetch(url: str, *answers: list[str], **changes: object) -> Fetched:
    async def run() -> Fetched:
        async with Fetcher(FetchSettings(**changes), Answers(*answers or ([],))) as fetcher:  # type: ignore[arg-type]
            return await fetcher.fetch(url)

    return asyncio.run(run())


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "127.0.0.1.", "0", "0.0.0.0"),
        *("10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254", "224.0.0.1"),
        *("240.0.0.1", "255.255.255.255", "①②⑦.⓪.⓪.①", "127。0。0。1", "168.63.129.16"),
        *("[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:a00:1]", "[::127.0.0.1]", "[fd00::1]"),
        *("[fe80::1]", "[ff02::1]", "[2002:7f00:1::]", "[64:ff9b::7f00:1]", "[64:ff9b:1::1]"),
        *("[2001:0:4136:e378:8000:63bf:3fff:fdd2]", "[2001:db8::1]", "[100::1]"),
    ],
)
def test_literals_that_are_not_public_are_not_dialled(host: str, dialled: list[str]) -> None:
    got = fetch(f"http://{host}/")
    assert (got.reason, got.attempts) == ("address_refused", 0)
    assert dialled == []


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], [PUBLIC, "10.0.0.1"], ["::1"], ["::ffff:10.0.0.1"], ["fe80::1%1"]]
)
def test_names_of_addresses_that_are_not_public_are_not_dialled(
    addresses: list[str], dialled: list[str]
) -> None:
    got = fetch("http://a.example/", addresses)
    assert got.reason == "address_refused"
    assert "a.example" in got.detail
    assert dialled == []


@pytest.mark.parametrize("url", ["http://localhost/", "http://LOCALHOST.:80/"])
def test_the_system_resolver_is_checked_as_well(url: str, dialled: list[str]) -> None:
    async def run() -> Fetched:
        async with Fetcher(FetchSettings()) as fetcher:
            return await fetcher.fetch(url)

    assert asyncio.run(run()).reason == "address_refused"
    assert dialled == []


def test_a_name_that_changes_its_mind_is_dialled_at_the_address_that_was_checked(
    dialled: list[str],
) -> None:
    async def run() -> None:
        async with Site({"*": reply(JPEG)}) as site:
            names = Answers([PUBLIC], ["127.0.0.1"])
            url = f"http://rebind.example:{site.port}/"
            async with Fetcher(FetchSettings(retries=0), names) as fetcher:
                for _ in range(3):
                    assert (await fetcher.fetch(url)).reason == "connect_failed"
            assert len(names.asked) == 1, "one look-up, used for the check and the connection"
            async with Fetcher(FetchSettings(retries=0), names) as fetcher:
                assert (await fetcher.fetch(url)).reason == "address_refused"
            assert dialled == [PUBLIC] * 3
            assert site.connections == 0

    asyncio.run(run())


@pytest.mark.parametrize("location", ["http://127.0.0.1:{}/", "http://0x7f.1:{}/", "//[::1]:{}/"])
def test_a_redirect_inside_is_refused_and_kept(location: str, dialled: list[str]) -> None:
    async def run() -> None:
        async with Site({"*": reply(JPEG)}) as inside:
            async with Site({"*": redirect(location.format(inside.port))}) as site:
                got = await fetch_one(site)
            assert got.reason == "address_refused"
            assert "redirected" not in got.detail or location.format(inside.port) in got.detail
            assert [hop.status for hop in got.hops] == [302]
            assert inside.connections == 0

    asyncio.run(run())
    assert dialled == ["127.0.0.1"]


def test_a_redirect_to_a_name_inside_is_refused(dialled: list[str]) -> None:
    async def run() -> None:
        async with Site({"*": reply(JPEG)}) as inside:
            routes = {"*": redirect(f"http://inside.example:{inside.port}/")}
            async with Site(routes) as site:
                async with Fetcher(settings(site), Answers(["127.0.0.1"])) as fetcher:
                    got = await fetcher.fetch(site.url())
            assert got.reason == "address_refused"
            assert inside.connections == 0

    asyncio.run(run())
    assert dialled == ["127.0.0.1"]


def test_an_opened_host_is_open_at_its_port_only_redirects_included() -> None:
    async def run() -> None:
        async with Site({"*": reply(JPEG)}) as opened, Site({"*": reply(JPEG)}) as closed:
            async with Site(
                {"/in": redirect(opened.url()), "/out": redirect(closed.url())}
            ) as site:
                async with Fetcher(settings(site, opened)) as fetcher:
                    assert (await fetcher.fetch(site.url("/in"))).reason is None
                    assert (await fetcher.fetch(site.url("/out"))).reason == "address_refused"
                    assert (await fetcher.fetch(closed.url())).reason == "address_refused"
                    # The same server by another name is another host.
                    other = f"http://localhost:{opened.port}/"
                    assert (await fetcher.fetch(other)).reason == "address_refused"
            assert closed.connections == 0

    asyncio.run(run())


def test_an_opened_name_is_resolved_and_may_be_private() -> None:
    async def run() -> None:
        async with Site({"*": reply(JPEG)}) as site:
            opened = FetchSettings(allow_hosts=(f"Cats.example:{site.port}",))
            async with Fetcher(opened, Answers(["127.0.0.1"])) as fetcher:
                got = await fetcher.fetch(f"http://cats.EXAMPLE:{site.port}/")
            assert (got.reason, got.hops[0].address) == (None, "127.0.0.1")
            assert site.requests[0].headers["host"] == f"cats.example:{site.port}"

    asyncio.run(run())


def test_ports_of_other_protocols_are_refused_unless_opened(dialled: list[str]) -> None:
    assert fetch(f"http://{PUBLIC}:25/").reason == "port_refused"
    assert fetch("http://a.example:6667/", [PUBLIC]).reason == "port_refused"
    assert dialled == []
    got = fetch("http://127.0.0.1:25/", allow_hosts=("127.0.0.1:25",), connect_timeout_sec=1)
    assert got.reason != "port_refused"
    assert dialled == ["127.0.0.1"]
