"""An answer on its way out: headers that all answers have, counts, and refusals in its place."""

from __future__ import annotations

from time import perf_counter

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Scope, Send

from frenchcat.index.service.metrics import Metrics
from frenchcat.index.service.problems import LEFT, Refused, problem
from frenchcat.index.service.uploads import RequestBody, empty_body

HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


class GuardedAnswer:
    """The answer's destination: adds headers that all answers have, counts by route and status."""

    def __init__(self, send: Send, metrics: Metrics, scope: Scope, body: RequestBody) -> None:
        self._send, self._metrics, self._scope, self._body = send, metrics, scope, body
        self._status, self._begun, self._refusing = 0, perf_counter(), False
        self.finished = False  # the whole answer is on its way
        metrics.running.inc()

    async def __call__(self, message: Message) -> None:
        """Send a message of the application, unless its answer was refused."""
        if self._body.lost:  # nobody reads what a route says of the half of it
            self.left()
            return
        if self._body.refused is not None:  # a route mistook it for a body that cannot be parsed
            await self.refuse(self._body.refused)
        if not self._refusing:
            await self._forward(message)

    async def _forward(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        elif message["type"] == "http.response.body":
            self.finished = not message.get("more_body", False)
        await self._send(message)

    async def refuse(self, refused: Refused) -> None:
        """Answer instead of the application, unless an answer has begun."""
        if not self._status:
            self._refusing = True
            answer = problem(refused.status, str(refused), refused.headers, refused.code)
            await answer(self._scope, empty_body, self._forward)

    def left(self) -> None:
        """Count the client as disconnected, unless an answer has begun."""
        self._status = self._status or LEFT

    def count(self) -> None:
        """Count the request, by route and status."""
        route = getattr(self._scope.get("route"), "path", "other")
        self._metrics.running.dec()
        self._metrics.requests.labels(route, str(self._status)).inc()
        self._metrics.seconds.labels(route).observe(perf_counter() - self._begun)
