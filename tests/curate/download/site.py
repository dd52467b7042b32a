"""A raw HTTP server on 127.0.0.1 for tests: it sends the very bytes a test tells it to."""

import asyncio
import io
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from frenchcat.curate.download.fetch import Fetcher, FetchSettings
from frenchcat.curate.download.fetched import Fetched


@dataclass(frozen=True)
class Request:
    at: float
    path: str
    headers: dict[str, str]


Handler = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Site:
    """`routes` maps a path to a handler; "*" takes all other paths. Counts what it is asked."""

    routes: dict[str, Handler]
    ssl: Any = None
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    busy: int = 0
    most_busy: int = 0

    async def __aenter__(self) -> "Site":
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.ssl)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def allow(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def count(self, path: str) -> int:
        return sum(request.path == path for request in self.requests)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
                request = Request(time.monotonic(), lines[0].split(" ")[1], headers)
                await self._answer(request, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        self.requests.append(request)
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        try:
            await self.routes.get(request.path, self.routes.get("*", status(404)))(request, writer)
            await writer.drain()
        finally:
            self.busy -= 1


def reply(body: bytes, code: int = 200, *, delay_sec: float = 0.0, **headers: str) -> Handler:
    """A whole, honest answer."""
    lines = [f"HTTP/1.1 {code} Whatever", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")

    async def handler(request: Request, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(delay_sec)
        writer.write(head + body)

    return handler


def status(code: int, **headers: str) -> Handler:
    return reply(b"no", code, delay_sec=0.0, **headers)


def redirect(location: str, code: int = 302) -> Handler:
    return reply(b"", code, Location=location)


def raw(data: bytes) -> Handler:
    """These bytes and the end of the connection."""

    async def handler(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        writer.close()

    return handler


def endless(head: bytes, chunk: bytes, pause_sec: float = 0.0) -> Handler:
    """A head, then the same chunk for ever."""

    async def handler(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(chunk)
            await writer.drain()
            await asyncio.sleep(pause_sec)

    return handler


def in_turn(*handlers: Handler) -> Handler:
    """One handler after the other; the last one stays."""
    left = list(handlers)

    async def handler(request: Request, writer: asyncio.StreamWriter) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(request, writer)

    return handler


def picture(width: int = 64, height: int = 48, kind: str = "JPEG", **options: Any) -> bytes:
    """A gradient, so that no format compresses it to nothing."""
    data = io.BytesIO()
    image = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    image.save(data, kind, **options)
    return data.getvalue()


def settings(*sites: Site, **changes: Any) -> FetchSettings:
    """Settings that open the sites and wait for nothing long."""
    fast: dict[str, Any] = {
        "deadline_sec": 5,
        "backoff_sec": 0.01,
        "user_agent": "test/1 (+here)",
        "allow_hosts": tuple(site.allow for site in sites),
    }
    return FetchSettings(**(fast | changes))


async def fetch_one(site: Site, path: str = "/", **changes: Any) -> Fetched:
    async with Fetcher(settings(site, **changes)) as fetcher:
        return await fetcher.fetch(site.url(path))


def fetch_from(handler: Handler, **changes: Any) -> tuple[Fetched, Site]:
    """One URL of a site that has only this handler."""

    async def run() -> tuple[Fetched, Site]:
        async with Site({"*": handler}) as site:
            return await fetch_one(site, **changes), site

    return asyncio.run(run())
