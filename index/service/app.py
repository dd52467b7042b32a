"""The whole service: an ASGI application, and `serve`, which runs it until it is told to stop.

    app = create_app([Dataset.open("data/mine")])

Order of the routes: ours, clip-retrieval's, and the page's files, which take whatever is left.
Order around them: CORS, then the guard, then the routes.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.index.service import (
    api,
    browse,
    compat,
    decisions,
    drawing,
    export,
    facets,
    media,
    operations,
    removals,
    resources,
    selections,
)
from frenchcat.index.service.drawing import DrawBackend
from frenchcat.index.service.guard import Guard
from frenchcat.index.service.keys import public_paths, read_keys
from frenchcat.index.service.methods import AnswerHead, allowed_methods
from frenchcat.index.service.openapi import described
from frenchcat.index.service.page import mount_page
from frenchcat.index.service.problems import handle_problems
from frenchcat.index.service.rates import PICTURES
from frenchcat.index.service.rows import StrictJSON
from frenchcat.index.service.service import Service
from frenchcat.index.service.settings import ServeSettings

if TYPE_CHECKING:
    import socket

    import uvicorn

    from frenchcat.curate.clip.model import Clip
    from frenchcat.index.service.served_source import ServedSource

STOP_SEC = 30  # for running requests to finish
IDLE_STOP_SEC = 1.5  # for threads to end if no requests are running
Stoppable = Callable[[Callable[[], float]], AbstractContextManager[None]]
LATE_SEC = 5  # for threads to end after that
ROUTERS = tuple(
    module.router
    for module in (
        *(api, browse, facets, resources, export, selections, removals, decisions, media, drawing),
        compat,
        operations,
    )
)


def create_app(
    datasets: Sequence[Dataset | ServedSource],
    settings: ServeSettings | None = None,
    clip: Clip | None = None,
    draw_backend: DrawBackend | None = None,
) -> FastAPI:
    """An application that serves datasets; `clip` replaces the models that they name.

    `draw_backend` draws for /v1/draw; None: it draws nothing. Raises `UserError` for a dataset
    without an index, a file of keys that is missing or empty, or an unusable setting.
    """
    settings = settings or ServeSettings()
    # Now: starlette would create its middleware at the first request, and fail each one.
    keys = read_keys(settings.api_key_file) if settings.api_key_file is not None else ()
    service = Service(datasets, settings, clip, draw_backend)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with service:
            yield

    app = Application(
        title="frenchcat",
        summary="Search image-text datasets by text, image, vector, and sums of them.",
        version="1",
        default_response_class=StrictJSON,
        docs_url=None,  # it would load scripts from another site
        redoc_url=None,
        lifespan=lifespan,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.service = service
    app.state.own = secrets.token_urlsafe(32)  # of requests that this process sends itself
    for router in ROUTERS:
        app.include_router(router)
    handle_problems(app, lambda path: allowed_methods(ROUTERS, path))
    app.add_middleware(Compressed)
    app.add_middleware(AnswerHead)
    app.add_middleware(
        Guard,
        settings=settings,
        metrics=service.metrics,
        public=public_paths(ROUTERS),
        keys=keys,
        page=mount_page(app),
        own=app.state.own,
    )
    if settings.cors:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors),
            allow_methods=["GET", "HEAD", "POST", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key"],
            expose_headers=["Retry-After", "Content-Disposition"],
        )
    return app


class Application(FastAPI):
    """FastAPI, whose schema says how keys are sent and that problems have a media type."""

    def openapi(self) -> dict[str, Any]:
        """The schema, made once."""
        if self.openapi_schema is None:
            self.openapi_schema = described(super().openapi())
        return self.openapi_schema


class Compressed(GZipMiddleware):
    """Gzip for the page and /v1; clip-retrieval's routes answer as they always did."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app, minimum_size=1000, compresslevel=5)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Compress an answer if the client accepts that."""
        path = scope.get("path", "")
        page = path == "/" or path.endswith((".js", ".css", ".svg", ".html", "/openapi.json"))
        texts = path.startswith("/v1/") and not PICTURES.match(path)
        handles = super().__call__ if page or texts else self.app
        await handles(scope, receive, send)


def serve(
    datasets: Sequence[Dataset | ServedSource],
    settings: ServeSettings,
    started: Callable[[str], None] | None = None,
    draw_backend: DrawBackend | None = None,
    stoppable: Stoppable = lambda stop: contextlib.nullcontext(),
    extend: Callable[[FastAPI], None] = lambda app: None,
) -> None:
    """Serve until SIGTERM or Ctrl-C; running requests are finished.

    `extend` may add routes to the application before it is served. `started` receives the address
    as soon as the service answers. `stoppable` is entered while it does, with a function for other
    threads that begins to stop and returns the seconds that this may take. Raises `UserError` if
    the address cannot be used, or as `create_app` does.
    """
    import signal
    import socket
    import sys

    app = create_app(datasets, settings, draw_backend=draw_backend)
    extend(app)
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise UserError(
            f"cannot listen on {settings.host}:{settings.port} ({error.strerror}); "
            "give another --port or --host"
        ) from None
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"http://{host}:{listener.getsockname()[1]}/"
    server = server_of(app, settings, lambda: started is None or started(address))

    def stop() -> float:
        busy = bool(server.server_state.tasks)
        server.should_exit = True
        return STOP_SEC + 1.0 if busy else IDLE_STOP_SEC

    # uvicorn ends gracefully, then raises the signal again; a requested end is not a failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with stoppable(stop):
        server.run(sockets=[listener])


def server_of(
    app: FastAPI, settings: ServeSettings, started: Callable[[], object] = lambda: None
) -> uvicorn.Server:
    """The server for an application of `create_app`, within the bounds of its settings.

    `started` is called as soon as it listens.
    """
    import os
    import threading

    import uvicorn

    from frenchcat.index.service.connections import protocol_of

    class Server(uvicorn.Server):
        """Announces when it listens; ends within STOP_SEC, whatever is running."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if not self.should_exit:
                started()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            late = threading.Timer(STOP_SEC + LATE_SEC, os._exit, (0,))
            late.daemon = True
            late.start()
            app.state.service.conditions.end()
            try:
                await super().shutdown(sockets)
            finally:
                late.cancel()

    config = uvicorn.Config(
        app,
        http=protocol_of(settings),
        ws="none",
        log_config=None,  # as the process logs
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=STOP_SEC,
        backlog=2048,
    )
    return Server(config)
