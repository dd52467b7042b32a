"""Which methods a path takes: HEAD wherever GET is, and 405 with `Allow` where another one is.

FastAPI's routes for GET do not answer HEAD, and the page's files, which take whatever path is left,
would answer a GET of a route for POST with 404.
"""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send


def allowed_methods(routers: Iterable[APIRouter], path: str) -> list[str]:
    """The methods that routes take at a path, sorted; none where there is no such route."""
    found = {
        method
        for router in routers
        for route in router.routes
        if isinstance(route, APIRoute) and route.path_regex.match(path)
        for method in route.methods or ()
    }
    return sorted(found | ({"HEAD"} if "GET" in found else set()))


class AnswerHead:
    """Middleware: HEAD is answered as GET is, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application; of an answer to HEAD, pass the headers on."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        scope["method"] = "GET"  # in place: who counts requests asks this scope for its route
        await self.app(scope, receive, without_body)
