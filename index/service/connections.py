"""Bounds below the level of requests: half-sent headers, connections, bodies that nobody reads.

uvicorn closes a connection that is idle between two requests, but waits for good for the end of a
request's headers, or of a body after its answer. Here bytes that belong to no request being
answered must come to an end within `header_sec`; where there are too many connections, the one
that has waited longest for its headers makes room.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from frenchcat.index.service.settings import ServeSettings


def protocol_of(settings: ServeSettings) -> type[H11Protocol]:
    """The protocol of uvicorn with the bounds of these settings."""
    waiting: dict[Connection, None] = {}  # without a running request; the oldest is first

    class Bounded(Connection):
        header_sec = settings.header_sec
        most = settings.max_connections

        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            self.waiting = waiting

    return Bounded


class Connection(H11Protocol):
    """A connection; see the module."""

    header_sec: float
    most: int
    waiting: dict[Connection, None]
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for headers, unless there are too many connections."""
        super().connection_made(transport)
        self._wait()
        if len(self.connections) > self.most:
            next(iter(self.waiting))._drop()

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
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._timer = self.loop.call_later(self.header_sec, self._drop)
        self.waiting[self] = None

    def _wait_no_more(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.waiting.pop(self, None)

    def _drop(self) -> None:
        self._wait_no_more()
        self.transport.abort()
        self.connections.discard(self)  # at once: the next one may come before it is lost
