"""Which methods a path supports: HEAD wherever GET is, and 405 with `Allow` for others.

FastAPI's routes for GET do not answer HEAD, and the page's files, which take all remaining paths,
would answer a GET of a route for POST with 404.
"""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send


def allowed_methods(routers: Iterable[APIRouter], path: str) -> list[str]:
    """The methods that routes support at a path, sorted; empty if there is no such route."""
    found = {
        method
        for router in routers
        for route in router.routes
        if isinstance(route, APIRoute) and route.path_regex.match(path)
        for method in route.methods or ()
    }
    return sorted(found | ({"HEAD"} if "GET" in found else set()))


class AnswerHead:
    """Middleware: HEAD is answered like GET, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application; for HEAD, pass on only the headers."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        scope["method"] = "GET"  # in place: the guard reads the route from this scope
        await self.app(scope, receive, without_body)
