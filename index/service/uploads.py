"""How much may be sent: the bodies of all requests together, and one request's body."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.types import Message, Receive

from frenchcat.index.service.problems import Refused


class Uploads:
    """The memory of all bodies together, and the number of running uploads."""

    def __init__(self, most: int, limit: int) -> None:
        self._most, self._limit, self._open, self._bytes = most, limit, 0, 0

    def open(self) -> None:
        """Add one that does not arrive in one piece. Raises `Refused` (503)."""
        if self._open >= self._most:
            raise Refused(
                503,
                f"{self._open} uploads are already running (max_uploads); send it again later",
                {"Retry-After": "5"},
            )
        self._open += 1

    def close(self) -> None:
        """One less."""
        self._open -= 1

    def take(self, size: int) -> None:
        """Count received bytes. Raises `Refused` (503) if they are too many together."""
        if self._bytes + size > self._limit:
            raise Refused(
                503,
                f"the bodies of all requests already have {self._limit:,} bytes (upload_bytes); "
                "send it again later",
                {"Retry-After": "5"},
            )
        self._bytes += size

    def give_back(self, size: int) -> None:
        """Subtract bytes whose request has ended."""
        self._bytes -= size


class RequestBody:
    """A request's body, counted while it is received; afterwards whether the client is still
    there.
    """

    def __init__(self, receive: Receive, limit: int, uploads: Uploads) -> None:
        self._receive, self._limit, self._uploads = receive, limit, uploads
        self._bytes, self._taken, self._open = 0, 0, False
        self._first: Message | None = None
        self._received, self._gone = asyncio.Event(), asyncio.Event()
        self.complete, self.lost = False, False
        self.refused: Refused | None = None

    async def begin(self, headers: Headers) -> None:
        """Receive an empty body, which a route may not do."""
        if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
            self._first = await self()

    async def left(self) -> None:
        """Return when the whole body is here and its client has disconnected."""
        await self._received.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone.set()

    def forget(self) -> None:
        """It takes nothing any more."""
        self._uploads.give_back(self._taken)
        self._close()
        self._taken = 0

    def announce(self, length: str | None) -> None:
        """Check the announced length, in bytes. Raises `Refused` (413) if it is too large."""
        if length is not None and length.isdecimal() and int(length[:20]) > self._limit:
            raise self._too_much()

    async def __call__(self) -> Message:
        """The next message. Raises `Refused` if the body grows too large."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        if self.complete:
            await self._gone.wait()  # `left` is who receives
            return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.lost = True
        if message["type"] == "http.request":
            self._count(len(message.get("body", b"")), bool(message.get("more_body", False)))
        return message

    def _count(self, size: int, more: bool) -> None:
        self._bytes += size
        if self._bytes > self._limit:
            raise self._too_much()
        try:
            self._uploads.take(size)
            self._taken += size
            if more and not self._open:
                self._uploads.open()
                self._open = True
        except Refused as refused:
            self.refused = refused
            raise
        if not more:
            self.complete = True
            self._close()
            self._received.set()

    def _close(self) -> None:
        if self._open:
            self._uploads.close()
            self._open = False

    def _too_much(self) -> Refused:
        self.refused = Refused(413, f"the body is larger than {self._limit:,} bytes; send less")
        return self.refused


async def empty_body() -> Message:
    """What a request gives when nobody reads its body: the client is gone."""
    return {"type": "http.disconnect"}
