"""One URL, one answer: what is taken, what is refused, and by which name."""

import asyncio
import gzip
import shutil
import socket
import ssl
import subprocess
import tracemalloc
import zlib
from pathlib import Path

import pydantic
import pytest

from frenchcat.curate.download.fetch import PERMANENT, REASONS, Fetcher, FetchSettings
from tests.curate.download.site import (
    Handler,
    Request,
    Site,
    endless,
    fetch_from,
    fetch_one,
    picture,
    raw,
    redirect,
    reply,
    settings,
    status,
)

JPEG = picture()


def head(*lines: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", *lines, "", ""]).encode()


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return head("Transfer-Encoding: chunked") + body + end


def test_a_picture_comes_whole_with_its_size_and_every_header() -> None:
    got, site = fetch_from(reply(JPEG, X_Robots_Tag="noai", x_odd="caf\udce9"))
    assert (got.body, got.reason, got.detail) == (JPEG, None, "")
    assert (got.format, got.width, got.height, got.attempts) == ("jpeg", 64, 48, 1)
    (hop,) = got.hops
    assert (hop.url, hop.status, hop.address) == (site.url(), 200, "127.0.0.1")
    assert ("X-Robots-Tag", "noai") in hop.headers
    assert ("x-odd", "café") in hop.headers
    sent = site.requests[0].headers
    assert sent["user-agent"] == "test/1 (+here)"
    assert sent["accept-encoding"] == "identity"
    assert not {"cookie", "referer", "authorization"} & sent.keys()


def test_the_default_user_agent_says_who_and_names_no_page_that_is_not_there() -> None:
    name, version = FetchSettings().user_agent.split("/")
    assert name == "frenchcat"
    assert version[0].isdigit()


@pytest.mark.parametrize(
    "wire",
    [
        chunked(JPEG[:10], JPEG[10:]),
        head("Content-Type: text/html", f"Content-Length: {len(JPEG)}") + JPEG,
        head("Connection: close") + JPEG,
        head("Content-Encoding: gzip") + gzip.compress(JPEG),
        head("Content-Encoding: deflate") + zlib.compress(JPEG),
        head("Content-Encoding: deflate") + zlib.compress(JPEG)[2:-4],
        head("Content-Encoding: utf-8") + JPEG,
        b"HTTP/1.0 200 OK\r\n\r\n" + JPEG,
        b"HTTP/1.1 100 Continue\r\n\r\n" + head() + JPEG,
    ],
)
def test_honest_ways_to_send_a_picture(wire: bytes) -> None:
    got, _ = fetch_from(raw(wire))
    assert (got.reason, got.body) == (None, JPEG)


@pytest.mark.parametrize(
    ("wire", "reason", "detail"),
    [
        (head("Content-Length: 0"), "empty_body", "empty"),
        (b"HTTP/1.1 204 No\r\n\r\n", "http_204", ""),
        (head("Content-Encoding: gzip", "Content-Length: 0"), "empty_body", "empty"),
        (head("Content-Length: 10000") + JPEG[:300], "truncated", ""),
        (chunked(JPEG, end=b""), "truncated", ""),
        (head("Content-Encoding: gzip") + gzip.compress(JPEG)[:-20], "truncated", "gzip"),
        (head("Content-Encoding: gzip") + JPEG, "bad_encoding", "gzip"),
        (head("Content-Encoding: br") + JPEG, "bad_encoding", "br"),
        (head("Content-Encoding: gzip, gzip") + JPEG, "bad_encoding", "gzip, gzip"),
        (head("Content-Length: 99999999999"), "body_too_large", "99999999999 bytes announced"),
        (head() + b"<!doctype html><title>Gone</title>" * 100, "not_an_image", "html"),
        (head() + b"<svg xmlns='...'>", "not_an_image", "svg"),
        (head() + b"gone", "not_an_image", "text"),
        (head() + b"\x89PNG\r\n\x1a\n" + bytes(60), "bad_image", "IHDR"),
        (head() + JPEG[:60], "bad_image", "no scan"),
        (b"HTTP/1.1 99999 OK\r\n\r\n", "bad_response", ""),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "bad_response", ""),
        (head("X: " + "a" * 40_000) + JPEG, "bad_response", ""),
        (head(*["X: 1"] * 1000) + JPEG, "bad_response", ""),
        (head("Content-Length: 5", "Content-Length: 6") + JPEG, "bad_response", ""),
        (b"HTTP/1.1 302 Found\r\n\r\n", "bad_redirect", "without a Location"),
    ],
)
def test_dishonest_answers_have_names(wire: bytes, reason: str, detail: str) -> None:
    got, _ = fetch_from(raw(wire), retries=0)
    assert (got.reason, got.body, got.format) == (reason, None, None)
    assert detail in got.detail
    assert got.reason in REASONS


def test_pixels_are_counted_in_the_header_and_the_cap_is_exact() -> None:
    assert fetch_from(reply(JPEG), max_pixels=64 * 48)[0].reason is None
    got, _ = fetch_from(reply(JPEG), max_pixels=64 * 48 - 1)
    assert got.reason == "too_many_pixels"
    assert "64 x 48 jpeg" in got.detail


def test_the_body_cap_is_exact_announced_or_not() -> None:
    for handler in (reply(JPEG), raw(head() + JPEG), raw(chunked(JPEG))):
        assert fetch_from(handler, max_body_bytes=len(JPEG))[0].reason is None
        got, _ = fetch_from(handler, max_body_bytes=len(JPEG) - 1)
        assert got.reason == "body_too_large"


def bomb() -> bytes:
    """1 GB of zeros after a picture's start, in 1 MB of gzip."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    zeros = bytes(2**20)
    parts = [deflate.compress(JPEG), *(deflate.compress(zeros) for _ in range(1000))]
    return b"".join([*parts, deflate.flush()])


def endless_jpeg(*lines: str) -> Handler:
    return endless(head(*lines) + JPEG, bytes(2**16))


@pytest.mark.parametrize("way", ["endless", "gzip bomb", "endless headers", "endless 100s"])
def test_memory_stays_near_the_cap_whatever_is_sent(way: str) -> None:
    handler = {
        "endless": lambda: endless_jpeg(),
        "gzip bomb": lambda: raw(head("Content-Encoding: gzip") + bomb()),
        "endless headers": lambda: endless(b"HTTP/1.1 200 OK\r\n", b"X-Y: 1\r\n" * 1000),
        "endless 100s": lambda: endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    }[way]()
    tracemalloc.start()
    try:
        got, _ = fetch_from(handler, max_body_bytes=2**20, deadline_sec=1, retries=0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    expected = {"endless headers": "bad_response", "endless 100s": "deadline"}
    assert got.reason == expected.get(way, "body_too_large")
    assert peak < 12 * 2**20


def test_a_large_page_that_is_no_picture_is_not_read_to_its_end() -> None:
    async def run() -> None:
        sent = 0

        async def handler(request: Request, writer: asyncio.StreamWriter) -> None:
            nonlocal sent
            writer.write(head(f"Content-Length: {2**24}"))
            for _ in range(2**8):
                writer.write(b"<html>" + b" " * (2**16 - 6))
                await writer.drain()
                sent += 2**16
                await asyncio.sleep(0)

        async with Site({"*": handler}) as site:
            got = await fetch_one(site)
        assert (got.reason, got.detail) == ("not_an_image", "html")
        assert sent < 2**23

    asyncio.run(run())


def test_redirects_are_followed_to_their_cap_and_all_kept() -> None:
    async def run() -> None:
        codes = (301, 302, 303, 307, 308)
        routes = {f"/{n}": redirect(f"{n + 1}", code) for n, code in enumerate(codes)}
        async with Site(routes | {"/5": reply(JPEG, TDM_Reservation="1")}) as site:
            got = await fetch_one(site, "/0", max_redirects=5)
            assert (got.reason, got.attempts) == (None, 1)
            assert [hop.status for hop in got.hops] == [*codes, 200]
            assert got.hops[5].url == site.url("/5")
            assert ("TDM-Reservation", "1") in got.hops[5].headers
            got = await fetch_one(site, "/0", max_redirects=4)
            assert got.reason == "too_many_redirects"
            assert site.count("/5") == 1

    asyncio.run(run())


def test_a_redirect_to_itself_ends() -> None:
    got, site = fetch_from(redirect("/"))
    assert got.reason == "too_many_redirects"
    assert len(site.requests) == 6


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("file:///etc/passwd", "scheme_refused"),
        ("data:image/png;base64,AAAA", "scheme_refused"),
        ("http://me:secret@127.0.0.1/", "credentials_refused"),
        ("http://8.8.8.8:25/", "port_refused"),
        ("http://[/", "bad_redirect"),
        ("http://%ff/", "bad_redirect"),
    ],
)
def test_redirects_cannot_lead_out_of_the_web(location: str, reason: str) -> None:
    got, site = fetch_from(redirect(location))
    assert got.reason == reason
    assert len(site.requests) == 1


@pytest.mark.parametrize(
    "url", [None, 5, float("nan"), b"http://a/", "", "\0", "http://[", "x" * 10**6]
)
def test_what_is_no_url_is_a_row_with_a_reason(url: object) -> None:
    async def run() -> None:
        async with Fetcher(FetchSettings()) as fetcher:
            got = await fetcher.fetch(url)  # type: ignore[arg-type]
        assert (got.reason, got.attempts, got.hops) == ("bad_url", 0, ())

    asyncio.run(run())


def test_a_closed_port_and_a_dead_name() -> None:
    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        opened = FetchSettings(allow_hosts=(f"127.0.0.1:{port}",))
        async with Fetcher(opened) as fetcher:
            got = await fetcher.fetch(f"http://127.0.0.1:{port}/")
            assert (got.reason, got.attempts, got.hops) == ("connect_failed", 1, ())
            got = await fetcher.fetch("http://name.invalid/")
            assert got.reason == "dns_failed"

    asyncio.run(run())


def test_no_encryption_where_some_was_announced() -> None:
    async def run() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Speak plainly\r\n\r\n")
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            opened = FetchSettings(allow_hosts=(f"127.0.0.1:{port}",))
            async with Fetcher(opened) as fetcher:
                got = await fetcher.fetch(f"https://127.0.0.1:{port}/")
        assert got.reason == "tls_failed"

    asyncio.run(run())


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
def test_a_certificate_nobody_vouches_for(tmp_path: Path) -> None:
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1"]
    subprocess.run(
        [*make, "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    async def run() -> None:
        async with Site({"*": reply(JPEG)}, ssl=context) as site:
            for verify, reason in ((True, "tls_failed"), (False, None)):
                async with Fetcher(settings(site, verify_tls=verify)) as fetcher:
                    got = await fetcher.fetch(site.url().replace("http:", "https:"))
                assert got.reason == reason
                assert got.attempts == 1

    asyncio.run(run())


@pytest.mark.parametrize("code", [400, 401, 403, 404, 405, 410, 451, 501])
def test_a_no_is_taken_as_a_no(code: int) -> None:
    got, site = fetch_from(status(code, Retry_After="0"), retries=5)
    assert got.reason == f"http_{code}"
    assert (len(site.requests), got.attempts) == (1, 1)
    assert got.reason in PERMANENT
    assert got.reason in REASONS


def test_a_proxy_in_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with Site({"*": status(418)}) as proxy, Site({"*": reply(JPEG)}) as site:
            for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
                monkeypatch.setenv(name, proxy.url())
            assert (await fetch_one(site)).reason is None
            assert proxy.requests == []

    asyncio.run(run())


def test_no_cookie_is_carried_on() -> None:
    async def run() -> None:
        routes = {"/a": reply(b"", 302, Location="/b", Set_Cookie="id=1"), "/b": reply(JPEG)}
        async with Site(routes) as site:
            name = f"localhost:{site.port}"  # a jar would not keep those of bare addresses
            async with Fetcher(settings(allow_hosts=(name,))) as fetcher:
                assert (await fetcher.fetch(f"http://{name}/a")).reason is None
            assert "cookie" not in site.requests[1].headers

    asyncio.run(run())


def test_a_fault_of_ours_costs_one_row(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with Site({"*": reply(JPEG)}) as site, Fetcher(settings(site)) as fetcher:
            await fetcher._context.session.close()  # as a bug would have it
            got = await fetcher.fetch(site.url())
            assert got.reason == "unexpected"
            assert "RuntimeError" in got.detail

    asyncio.run(run())
    assert "unexpected error" in caplog.text


def test_permanent_reasons_are_reasons_and_passing_ones_are_not_permanent() -> None:
    assert PERMANENT < REASONS
    passing = "deadline dns_failed connect_failed truncated http_408 http_425 http_429 http_500"
    passing += " http_503 address_refused tls_failed host_given_up empty_body unexpected"
    for reason in passing.split():
        assert reason in REASONS
        assert reason not in PERMANENT
    assert {"http_404", "http_410", "http_451", "http_403", "not_an_image"} <= PERMANENT


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("connections", 0),
        ("deadline_sec", 0),
        ("deadline_sec", float("nan")),
        ("max_body_bytes", -1),
        ("requests_per_sec_per_host", 0),
        ("user_agent", ""),
        ("user_agent", "a\r\nX: y"),
        ("allow_hosts", ("127.0.0.1",)),
        ("allow_hosts", ("http://127.0.0.1:80",)),
        ("allow_hosts", ("127.0.0.1:0",)),
        ("conections", 5),
    ],
)
def test_settings_out_of_range_are_refused(name: str, value: object) -> None:
    with pytest.raises(pydantic.ValidationError, match=name):
        FetchSettings(**{name: value})  # type: ignore[arg-type]
