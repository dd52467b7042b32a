"""A small web site of the bundled sample on 127.0.0.1: good images, and every kind of bad answer.

Reads ``sample/pictures.tar`` into memory once; writes nothing. The first part of a URL's path
decides the answer: "/gone/x.jpg" is gone, "/drip/x.jpg" drips, "/pictures/..." is an image. The
site runs in its own process (about half a second to start), so that it shares neither the client's
event loop nor its interpreter lock; it ends with its parent.

    with SampleSite() as site:
        write_urls(Path("urls.parquet"), site.base_url)
"""

import argparse
import asyncio
import contextlib
import gzip
import os
import signal
import socket
import subprocess
import sys
import tarfile
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO

from aiohttp import web

from frenchcat import sample_data
from frenchcat.curate.errors import UserError

HOST = "127.0.0.1"
DRIP_INTERVAL_SEC = 0.2
DRIP_LIMIT_SEC = 60.0  # a client that never disconnects is dropped after this
OVERSIZE_BYTES = 64 * 1024 * 1024
PARENT_CHECK_SEC = 1.0
DATE = "Thu, 01 Jan 2026 00:00:00 GMT"
JPEG_START = bytes.fromhex("ffd8ffe000104a46494600010100000100010000")
TYPES = {"jpg": "image/jpeg", "png": "image/png", "svg": "image/svg+xml", "txt": "text/plain"}
ROBOTS = "User-agent: frenchcat\nDisallow: /robots_txt/\n\nUser-agent: *\nAllow: /\n"
STATUSES = {"gone": 410, "server_error": 500}
OPT_OUTS = {
    "noai": {"X-Robots-Tag": "noai"},
    "noai_agent": {"X-Robots-Tag": "noai, googlebot: nofollow"},
    "noimageai": {"X-Robots-Tag": "noimageai"},
    "tdm_reserved": {"tdm-reservation": "1"},  # W3C TDM Reservation Protocol, section 6.1
}
REDIRECTS = {
    "redirect_private/lan.jpg": "http://10.0.0.1/picture.jpg",
    "redirect_private/metadata.jpg": "http://169.254.169.254/latest/meta-data/",
    "redirect_private/mapped.jpg": "http://[::ffff:10.0.0.1]/picture.jpg",
    "redirect_private/file.jpg": "file:///etc/passwd",
    "redirect_loop/one.jpg": "/redirect_loop/two.jpg",
    "redirect_loop/two.jpg": "/redirect_loop/one.jpg",
}

Answer = Callable[[web.Request, str], Awaitable[web.StreamResponse]]


class SampleSite:
    """Serves the sample within the ``with`` block.

    ``base_url`` is "http://127.0.0.1:8418" if that port and the next are free, else a free pair's;
    the next port is held but never answers (the list's ``dead_host`` rows). ``hosts`` names both as
    "host:port", for a client that must be told which loopback addresses to allow.
    """

    def __init__(self, port: int = sample_data.DEFAULT_PORT) -> None:
        self._wanted_port = port
        self._process: subprocess.Popen[str] | None = None
        self.base_url = ""

    @property
    def hosts(self) -> tuple[str, str]:
        """The site and the port that refuses connections, each as "host:port"."""
        urls = (self.base_url, sample_data.dead_base_url(self.base_url))
        return urls[0].removeprefix("http://"), urls[1].removeprefix("http://")

    def __enter__(self) -> "SampleSite":
        self._process = subprocess.Popen(
            [sys.executable, "-m", "frenchcat.sample_site", "--port", str(self._wanted_port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        said = _stdout(self._process).readline().strip()
        if not said:
            self.__exit__(None, None, None)
            raise UserError(
                f"the sample's server did not start (wanted port {self._wanted_port} of {HOST}); "
                "see the lines above, or try again"
            )
        self.base_url = said
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        _stdout(self._process).close()
        self._process = None


def _stdout(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdout is not None
    return process.stdout


class SampleResponder:
    """The answers; one event loop, no disk access after the start."""

    def __init__(self, bodies: dict[str, bytes]) -> None:
        self._bodies = bodies
        self._asked: set[str] = set()
        self._answers: dict[str, Answer] = {
            "flaky": self._flaky,
            "cut_off": self._cut_off,
            "oversize": self._oversize,
            "drip": self._drip,
            "redirect_ok": self._redirect_ok,
        }

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Any GET or HEAD; the first part of the path decides the behaviour."""
        path = request.path.lstrip("/")
        kind = path.partition("/")[0]
        if path == "robots.txt":
            return web.Response(text=ROBOTS)
        if kind in STATUSES:
            return web.Response(status=STATUSES[kind], text="no image here\n")
        if path in REDIRECTS:
            return web.Response(status=302, headers={"Location": REDIRECTS[path]})
        if special := self._answers.get(kind):
            return await special(request, path)
        return self._stored(path)

    async def answer_quietly(self, request: web.Request) -> web.StreamResponse:
        """Call ``answer``; a client that disconnects from a bad answer is not an error."""
        try:
            return await self.answer(request)
        except ConnectionError:
            return web.Response(status=499)

    def _stored(self, path: str) -> web.Response:
        body = self._bodies.get(path)
        if body is None:
            return web.Response(status=404, text="not found\n")
        kind, _, name = path.partition("/")
        headers = OPT_OUTS.get(kind, {})
        media = TYPES.get(name.rpartition(".")[2], "application/octet-stream")
        return web.Response(body=body, content_type=media, headers=headers)

    async def _flaky(self, request: web.Request, path: str) -> web.StreamResponse:
        """503 at first, the image from then on."""
        if path in self._asked or path not in self._bodies:
            return self._stored(path)
        self._asked.add(path)
        return web.Response(status=503, headers={"Retry-After": "1"}, text="busy\n")

    async def _redirect_ok(self, request: web.Request, path: str) -> web.StreamResponse:
        """Two redirects that lead to an image."""
        name = path.partition("/")[2]
        if name.startswith("hop/"):
            target = "/moved/" + name.removeprefix("hop/")
            return web.Response(status=301, headers={"Location": target})
        return web.Response(status=302, headers={"Location": f"/redirect_ok/hop/{name}"})

    async def _cut_off(self, request: web.Request, path: str) -> web.StreamResponse:
        """Announce the whole image, but close the connection after half of it."""
        body = self._bodies[path]
        response = web.StreamResponse(headers={"Content-Type": "image/jpeg"})
        response.content_length = len(body)
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        if request.transport is not None:
            request.transport.close()
        return response

    async def _oversize(self, request: web.Request, path: str) -> web.StreamResponse:
        """64 MiB, generated while sent: with or without a stated length, or packed into 64 KiB."""
        if path.endswith("gzip.jpg"):
            packed = await asyncio.to_thread(_packed)
            return web.Response(body=packed, headers=_jpeg(("Content-Encoding", "gzip")))
        response = web.StreamResponse(headers=_jpeg())
        if path.endswith("length.jpg"):
            response.content_length = OVERSIZE_BYTES
        else:
            response.enable_chunked_encoding()
        await response.prepare(request)
        block = bytes(64 * 1024)
        await response.write(JPEG_START + block[len(JPEG_START) :])
        for _ in range(OVERSIZE_BYTES // len(block) - 1):
            await response.write(block)
        await response.write_eof()
        return response

    async def _drip(self, request: web.Request, path: str) -> web.StreamResponse:
        """One byte every 0.2 s, so that no read ever times out."""
        response = web.StreamResponse(headers=_jpeg())
        await response.prepare(request)
        for number in range(round(DRIP_LIMIT_SEC / DRIP_INTERVAL_SEC)):
            byte = JPEG_START[number : number + 1] or b"\x00"
            await response.write(byte)
            await asyncio.sleep(DRIP_INTERVAL_SEC)
        return response


def _jpeg(*more: tuple[str, str]) -> dict[str, str]:
    return {"Content-Type": "image/jpeg", **dict(more)}


@cache
def _packed() -> bytes:
    return gzip.compress(JPEG_START + bytes(OVERSIZE_BYTES - len(JPEG_START)), mtime=0)


def load_bodies() -> dict[str, bytes]:
    """URL path -> body, from the bundled tar (about 6 MB)."""
    with tarfile.open(sample_data.PICTURES) as tar:
        members = {member.name: tar.extractfile(member) for member in tar}
        return {name: file.read() for name, file in members.items() if file is not None}


def bind_pair(port: int, tries: int = 50) -> tuple[socket.socket, socket.socket]:
    """Two bound sockets on neighbouring ports: ``port`` and the next, else any free pair.

    Only the first ever listens; connections to the second are refused.
    """
    for number in range(tries):
        first, second = socket.socket(), socket.socket()
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            first.bind((HOST, port if number == 0 else 0))
            second.bind((HOST, first.getsockname()[1] + 1))
        except (OSError, OverflowError):
            first.close()
            second.close()
            continue
        return first, second
    raise UserError(f"no two neighbouring free ports on {HOST} after {tries} tries; close some")


async def serve(port: int, parent: int, urls: Path | None = None) -> None:
    """Serve until told to stop (SIGTERM, SIGINT) or until process ``parent`` has ended.

    With ``urls``, the sample's URL list is written to that file for the address that is served.
    """
    heard, unheard = bind_pair(port)
    app = web.Application()
    app.on_response_prepare.append(_date)
    app.router.add_get("/{path:.*}", SampleResponder(load_bodies()).answer_quietly)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.SockSite(runner, heard, backlog=1024).start()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    address = f"http://{HOST}:{heard.getsockname()[1]}"
    if urls is not None:
        sample_data.write_urls(urls, address)
    with contextlib.suppress(BrokenPipeError):  # its parent has ended meanwhile
        print(address, flush=True)  # noqa: T201
    while not stop.is_set() and os.getppid() == parent:
        try:
            await asyncio.wait_for(stop.wait(), PARENT_CHECK_SEC)
        except TimeoutError:
            continue
    await runner.cleanup()
    unheard.close()


async def _date(request: web.Request, response: web.StreamResponse) -> None:
    """The same answers every time: the date, too, which the rights ledger records."""
    response.headers["Date"] = DATE


def main() -> None:
    """``python -m frenchcat.sample_site``: serve in the foreground, the address on stdout."""
    parser = argparse.ArgumentParser(description="Serve the bundled sample on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=sample_data.DEFAULT_PORT)
    parser.add_argument("--list", type=Path, metavar="FILE", help="write the URL list to FILE")
    given = parser.parse_args()
    try:
        asyncio.run(serve(given.port, os.getppid(), given.list))
    except UserError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
