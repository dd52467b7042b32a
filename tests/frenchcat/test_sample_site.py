"""The sample's site over real HTTP: every row is answered as its kind says, and nothing is left."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pyarrow.parquet as pq
import pytest

from frenchcat import sample_data, sample_site
from frenchcat.sample_site import SampleSite

CAP_BYTES = 1_000_000  # what the tests read of an endless body


@dataclass
class Answer:
    """What one request brought."""

    status: int
    headers: dict[str, str]
    body: bytes
    failure: str = ""


async def ask(session: aiohttp.ClientSession, url: str) -> Answer:
    """One request without redirects; at most CAP_BYTES and one second of it."""
    body = b""
    try:
        async with session.get(url, allow_redirects=False) as response:
            answer = Answer(response.status, dict(response.headers), b"")
            try:
                async with asyncio.timeout(1.0):
                    async for block in response.content.iter_any():
                        body += block
                        if len(body) >= CAP_BYTES:
                            answer.failure = "capped"
                            break
            except TimeoutError:
                answer.failure = "endless"
            except aiohttp.ClientPayloadError:
                answer.failure = "cut"
            answer.body = body
            return answer
    except aiohttp.ClientConnectorError as error:
        return Answer(0, {}, b"", type(error.os_error).__name__)
    except TimeoutError:
        return Answer(0, {}, b"", "silent")


async def ask_all(urls: list[str]) -> list[Answer]:
    patience = aiohttp.ClientTimeout(total=10)
    connector = aiohttp.TCPConnector(limit=32)
    async with aiohttp.ClientSession(connector=connector, timeout=patience) as session:
        return await asyncio.gather(*(ask(session, url) for url in urls))


@pytest.fixture(scope="module")
def site() -> Iterator[SampleSite]:
    with SampleSite(free_port()) as running:
        yield running


@pytest.fixture(scope="module")
def answers(site: SampleSite) -> dict[str, list[Answer]]:
    """Planted kind -> what each of its rows brought when asked once."""
    rows: list[dict[str, Any]] = sample_data.read_list(site.base_url).to_pylist()
    found = asyncio.run(ask_all([row["url"] for row in rows]))
    kinds = defaultdict(list)
    for row, answer in zip(rows, found, strict=True):
        kinds[row["planted"]].append(answer)
    return kinds


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_picture(body: bytes) -> bool:
    return body.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"))


GOOD = (
    "", "tiny", "exact_duplicate", "reencoded_duplicate", "watermark", "noai", "noai_agent",
    "noimageai", "tdm_reserved", "xmp_noai", "robots_txt", "wrong_caption", "empty_caption",
    "short_caption",
)  # fmt: skip


@pytest.mark.parametrize("kind", GOOD)
def test_pictures(answers: dict[str, list[Answer]], kind: str) -> None:
    assert answers[kind]
    for answer in answers[kind]:
        assert (answer.status, answer.failure) == (200, "")
        assert is_picture(answer.body)
        assert answer.headers["Content-Length"] == str(len(answer.body))
        expected = "image/png" if answer.body[:1] == b"\x89" else "image/jpeg"
        assert answer.headers["Content-Type"] == expected


@pytest.mark.parametrize(
    ("kind", "status"), [("dead_link", 404), ("gone", 410), ("server_error", 500), ("flaky", 503)]
)
def test_statuses(answers: dict[str, list[Answer]], kind: str, status: int) -> None:
    assert {answer.status for answer in answers[kind]} == {status}


def test_flaky_is_fine_at_the_second_request(answers: dict[str, list[Answer]]) -> None:
    assert all(answer.headers["Retry-After"] == "1" for answer in answers["flaky"])
    with SampleSite(free_port()) as fresh:
        rows = sample_data.read_list(fresh.base_url).to_pylist()
        urls = [row["url"] for row in rows if row["planted"] == "flaky"]
        first, second = asyncio.run(ask_all(urls)), asyncio.run(ask_all(urls))
    assert {answer.status for answer in first} == {503}
    assert all(answer.status == 200 and is_picture(answer.body) for answer in second)


def test_dead_host_refuses(site: SampleSite, answers: dict[str, list[Answer]]) -> None:
    assert {answer.failure for answer in answers["dead_host"]} == {"ConnectionRefusedError"}
    assert site.hosts[1] == f"127.0.0.1:{int(site.base_url.rsplit(':', 1)[1]) + 1}"


def test_bodies_that_are_no_pictures(answers: dict[str, list[Answer]]) -> None:
    assert {a.headers["Content-Type"] for a in answers["html_as_jpg"]} == {"image/jpeg"}
    assert all(a.body.startswith(b"<!doctype html") for a in answers["html_as_jpg"])
    text = {a.headers["Content-Type"].partition(";")[0] for a in answers["not_image"]}
    assert text == {"text/plain"}
    assert all(b"<svg" in a.body for a in answers["svg"])
    assert {a.headers["Content-Type"] for a in answers["svg"]} == {"image/svg+xml"}
    assert [len(a.body) < 200_000 and a.status for a in answers["bomb"]] == [200]


def test_truncated_two_ways(answers: dict[str, list[Answer]]) -> None:
    assert sorted(answer.failure for answer in answers["truncated"]) == ["", "", "cut"]


def test_oversize_three_ways(site: SampleSite, answers: dict[str, list[Answer]]) -> None:
    found = answers["oversize"]
    assert {answer.failure for answer in found} == {"capped"}
    assert all(is_picture(answer.body) for answer in found)
    lengths = sorted(int(answer.headers.get("Content-Length", 0)) for answer in found)
    assert lengths[0] == 0
    assert lengths[1] < 100_000
    assert lengths[2] == sample_site.OVERSIZE_BYTES
    assert [a.headers.get("Content-Encoding") for a in found].count("gzip") == 1


def test_drip_goes_on_and_ends(answers: dict[str, list[Answer]]) -> None:
    for answer in answers["drip"]:
        assert answer.failure == "endless"
        assert 1 <= len(answer.body) <= 10
    assert sample_site.DRIP_LIMIT_SEC <= 60


def test_redirects(site: SampleSite, answers: dict[str, list[Answer]]) -> None:
    targets = {a.headers["Location"] for a in answers["redirect_private"]}
    for start in ("http://10.", "http://169.254.169.254/", "http://[::ffff:", "file:///etc/"):
        assert any(target.startswith(start) for target in targets), start
    assert all(answer.status == 302 for answer in answers["redirect_private"])

    async def follow() -> tuple[list[bytes], bool]:
        rows = sample_data.read_list(site.base_url).to_pylist()
        urls = {
            kind: [r["url"] for r in rows if r["planted"] == kind] for kind in sample_data.PLANTED
        }
        async with aiohttp.ClientSession() as session:
            bodies = []
            for url in urls["redirect_ok"]:
                async with session.get(url) as response:
                    assert [hop.status for hop in response.history] == [302, 301]
                    bodies.append(await response.read())
            try:
                await session.get(urls["redirect_loop"][0], max_redirects=20)
            except aiohttp.TooManyRedirects:
                return bodies, True
            return bodies, False

    bodies, loops = asyncio.run(follow())
    assert len(bodies) == 3
    assert all(map(is_picture, bodies))
    assert loops


def test_opt_out_headers(answers: dict[str, list[Answer]]) -> None:
    def said(kind: str, header: str) -> set[str | None]:
        return {answer.headers.get(header) for answer in answers[kind]}

    assert said("noai", "X-Robots-Tag") == {"noai"}
    assert said("noai_agent", "X-Robots-Tag") == {"noai, googlebot: nofollow"}
    assert said("noimageai", "X-Robots-Tag") == {"noimageai"}
    assert said("tdm_reserved", "tdm-reservation") == {"1"}
    assert said("", "X-Robots-Tag") == said("", "tdm-reservation") == {None}


def test_robots_txt_closes_its_rows_and_no_other(site: SampleSite) -> None:
    from urllib.robotparser import RobotFileParser

    [answer] = asyncio.run(ask_all([f"{site.base_url}/robots.txt"]))
    rules = RobotFileParser()
    rules.parse(answer.body.decode().splitlines())
    for row in sample_data.read_list(site.base_url).to_pylist():
        allowed = rules.can_fetch("frenchcat", row["url"])
        assert allowed == (row["planted"] != "robots_txt")
        assert rules.can_fetch("another", row["url"])


def test_list_of_the_site_and_nothing_beyond_it(site: SampleSite) -> None:
    urls = [f"{site.base_url}/{path}" for path in ("", "etc/passwd", "../README.md", "flaky/x.jpg")]
    assert {answer.status for answer in asyncio.run(ask_all(urls))} == {404}


def test_dripping_clients_do_not_slow_the_others(site: SampleSite) -> None:
    async def race() -> float:
        rows = sample_data.read_list(site.base_url).to_pylist()
        good = [row["url"] for row in rows if not row["planted"]][:200]
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            drips = [
                asyncio.create_task(session.get(f"{site.base_url}/drip/{n}.jpg")) for n in range(50)
            ]
            await asyncio.gather(*drips)
            start = time.monotonic()
            await asyncio.gather(*(ask(session, url) for url in good))
            took = time.monotonic() - start
            for drip in drips:
                drip.result().close()
        return took

    # Alone it takes about 0.1 s; behind even one drip, as long as that lasts.
    assert asyncio.run(race()) < sample_site.DRIP_LIMIT_SEC / 2


def test_default_port_first_then_any(site: SampleSite) -> None:
    port = int(site.base_url.rsplit(":", 1)[1])
    with SampleSite(port) as other:
        assert other.base_url != site.base_url
        [answer] = asyncio.run(ask_all([f"{other.base_url}/robots.txt"]))
        assert answer.status == 200


def test_neighbour_port_taken_is_passed_over() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        first, second = sample_site.bind_pair(port - 1)
        pair = first.getsockname()[1], second.getsockname()[1]
        first.close()
        second.close()
    assert pair[1] == pair[0] + 1
    assert port not in pair


def test_same_port_again_at_once() -> None:
    with SampleSite(free_port()) as one:
        asyncio.run(ask_all([f"{one.base_url}/robots.txt"]))
    with SampleSite(int(one.base_url.rsplit(":", 1)[1])) as two:
        assert two.base_url == one.base_url


def test_leaving_the_block_ends_the_server_although_clients_hang_on() -> None:
    with contextlib.closing(socket.socket()) as client:
        with SampleSite(free_port()) as running:
            host, port = running.hosts[0].split(":")
            client.connect((host, int(port)))
            client.sendall(b"GET /drip/slow.jpg HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(12) == b"HTTP/1.1 200"
            process = running._process
            assert process is not None
            start = time.monotonic()
        assert time.monotonic() - start < sample_site.DRIP_LIMIT_SEC / 2
    assert process.returncode is not None
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))


def test_server_ends_when_its_parent_is_killed() -> None:
    code = (
        "from frenchcat.sample_site import SampleSite\n"
        f"with SampleSite({free_port()}) as site:\n"
        "    print(site.base_url, site._process.pid, flush=True)\n"
        "    input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        url, pid = parent.stdout.readline().split()
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    deadline = time.monotonic() + 10
    host, port = url.removeprefix("http://").split(":")
    while time.monotonic() < deadline:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            break
        time.sleep(0.1)
    else:
        os.kill(int(pid), signal.SIGKILL)
        pytest.fail("the site outlived its parent by 10 s")


def test_the_command_writes_the_list_for_the_address_it_serves(tmp_path: Path) -> None:
    urls = tmp_path / "urls.parquet"
    command = [sys.executable, "-m", "frenchcat.sample_site", "--port", "0", "--list", str(urls)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as site:
        assert site.stdout is not None
        address = site.stdout.readline().strip()
        listed = pq.read_table(urls)  # there before the address is printed
        site.terminate()
    assert listed.equals(sample_data.read_list(address))
