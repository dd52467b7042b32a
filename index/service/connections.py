"""Bounds below the level of requests: half-sent headers, connections, answers that nobody reads.

uvicorn closes a connection that is idle between two requests, but waits for good for the end of a
request's headers, or of a body after its answer. Here bytes that belong to no request being
answered must come to an end within `header_sec`, and a client that takes no byte of its answer for
`unread_sec` is disconnected, where uvicorn keeps the answer for good. Where there are too many
connections, the one that has waited longest for its headers makes room, else the one whose answer
has waited longest for its client.
"""

from __future__ import annotations

import asyncio
import struct
from socket import SO_LINGER, SOL_SOCKET
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from frenchcat.index.service.settings import ServeSettings


def protocol_of(settings: ServeSettings) -> type[H11Protocol]:
    """The protocol of uvicorn with the bounds of these settings."""
    waiting: dict[Connection, None] = {}  # without a running request; the oldest is first
    unread: dict[Connection, None] = {}  # with bytes that the client does not take yet; likewise

    class Bounded(Connection):
        header_sec, unread_sec = settings.header_sec, settings.unread_sec
        most = settings.max_connections

        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            self.waiting, self.unread = waiting, unread

    return Bounded


class Connection(H11Protocol):
    """A connection; see the module."""

    header_sec: float
    unread_sec: float
    most: int
    waiting: dict[Connection, None]
    unread: dict[Connection, None]
    _timer: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for headers, unless there are too many connections."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # so that writing pauses while bytes are unsent
        self._wait()
        if len(self.connections) > self.most:
            # This one waits, too, and is the last to make room.
            next(iter([*self.waiting][:-1] or [*self.unread] or [self]))._drop()

    def data_received(self, data: bytes) -> None:
        """Stop waiting once there is a request."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._wait_no_more()
        elif self._timer is None:  # of the next request, or the rest of a refused body
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._wait_no_more()
        self._unread_no_more()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Bytes of the answer are left that the client does not take yet."""
        super().pause_writing()
        self.unread[self] = None
        self._expect_less(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """The client has taken all of them."""
        self._unread_no_more()
        super().resume_writing()

    def _expect_less(self, size: int) -> None:
        self._reading = self.loop.call_later(self.unread_sec, self._check_less, size)

    def _check_less(self, before: int) -> None:
        """Go on where the client has taken some; a slow one may take long for all."""
        size = self.transport.get_write_buffer_size()
        if size < before:
            self._expect_less(size)
        else:
            self._drop()

    def _unread_no_more(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
        self.unread.pop(self, None)

    def _wait(self) -> None:
        self._timer = self.loop.call_later(self.header_sec, self._drop)
        self.waiting[self] = None

    def _wait_no_more(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.waiting.pop(self, None)

    def _drop(self) -> None:
        if self in self.unread:
            # At once: the system would keep what it has of the answer, and go on offering it.
            reset = struct.pack("ii", 1, 0)
            self.transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, reset)
        self._wait_no_more()
        self._unread_no_more()
        self.transport.abort()
        self.connections.discard(self)  # at once: the next one may come before it is lost
