"""A served dataset as tools for agents: the Model Context Protocol, with its own SDK.

Each tool is one request to /v1 of the service in this process, so filters, limits and refusals are
the service's. Results are small unless more is asked for: five rows, a few columns, a thumbnail. No
tool changes or removes rows; selections are made only if that is allowed. Needs the extra `mcp`.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

from pydantic import Field

from frenchcat.curate.command_text import shell_command
from frenchcat.curate.config import resolve
from frenchcat.curate.errors import UserError
from frenchcat.index.service.guard import OWN
from frenchcat.index.service.settings import ServeSettings

if TYPE_CHECKING:
    from fastapi import FastAPI
    from mcp.server.mcpserver import MCPServer

    from frenchcat.curate.dataset import Dataset

SLIM = ["caption", "url", "width", "height", "reason"]
"""Columns of a row if none are named, as far as the dataset has them."""
MOST = 50  # rows of one answer
SAMPLE = 5  # rows of a proposed selection that are shown
PATH = "/mcp"
_ABOUT = (
    "Search and inspect an image-text dataset. Rows are named by `key`. `where` is a SQL condition "
    "over columns (info lists them), such as: width >= 512 and language = 'en'."
)
Where = Annotated[str | None, Field(description="A SQL condition over the columns.")]


def _refused(said: str) -> Exception:
    """An error that the SDK passes on; it hides the text of other exceptions."""
    from mcp.server.mcpserver.exceptions import ToolError

    return ToolError(said)


def mcp_server_of(app: FastAPI, dataset: str, allow_select: bool = False) -> MCPServer[Any]:
    """A server whose tools call an application of `create_app`, which must be running.

    Raises `UserError` if the extra `mcp` is not installed.
    """
    try:
        from mcp.server.mcpserver import Image, MCPServer
    except ImportError:
        raise UserError(
            "frenchcat mcp needs the Model Context Protocol's SDK; "
            "install it: pip install 'frenchcat[mcp]'"
        ) from None

    v1 = _Service(app, dataset)
    server: MCPServer[Any] = MCPServer(f"frenchcat: {dataset}", instructions=_ABOUT)

    @server.tool()
    async def info() -> dict[str, Any]:
        """Describe the dataset: rows, model, filters, and the columns that a condition may name."""
        about = await v1.get("")
        columns = await v1.get("/columns")
        return {**about, "columns": {one["name"]: one["type"] for one in columns["columns"]}}

    @server.tool()
    async def search(
        text: Annotated[str | None, Field(description="Words to look for.")] = None,
        like: Annotated[str | None, Field(description="The key of a row to find more of.")] = None,
        picture: Annotated[str | None, Field(description="An image file, base64.")] = None,
        k: Annotated[int, Field(ge=1, le=MOST, description="How many rows.")] = 5,
        where: Where = None,
        columns: list[str] | None = None,
    ) -> dict[str, Any]:
        """Find the rows nearest to exactly one of a text, a row or an image, nearest first."""
        given = {"text": text, "like": like, "picture": picture}
        body: dict[str, Any] = {name: part for name, part in given.items() if part is not None}
        if len(body) != 1:
            raise _refused("give exactly one of text, like, picture")
        body |= {"k": k, "where": where, "columns": await v1.columns(columns)}
        found = await v1.post("/search", body)
        return {"rows": found["hits"], "index_version": found["index_version"]}

    @server.tool()
    async def rows(
        where: Where = None,
        sort: Annotated[str | None, Field(description="A column; - before it: greatest.")] = None,
        k: Annotated[int, Field(ge=1, le=MOST, description="How many rows.")] = 5,
        columns: list[str] | None = None,
    ) -> dict[str, Any]:
        """List the rows that meet a condition, and count them."""
        body = {"k": k, "where": where, "sort": sort, "columns": await v1.columns(columns)}
        found = await v1.post("/rows", body)
        return {"total": found["total"], "rows": found["rows"]}

    @server.tool()
    async def row(key: str) -> dict[str, Any]:
        """Show everything known about one row: the list's columns and each stage's."""
        found: dict[str, Any] = await v1.get(f"/rows/{quote(key, safe='')}")
        return found

    @server.tool(structured_output=False)
    async def picture(
        key: str, size: Annotated[int, Field(ge=16, le=1024, description="Pixels.")] = 256
    ) -> Any:
        """A row's image, at most `size` pixels wide and high."""
        data = await v1.data(f"/thumbnails/{quote(key, safe='')}?size={size}")
        return Image(data=data, format="jpeg")

    @server.tool()
    async def facets(
        columns: list[str] | None = None,
        where: Where = None,
        top: Annotated[int, Field(ge=1, le=MOST, description="Values of each text column.")] = 5,
    ) -> dict[str, Any]:
        """Show how rows are spread over columns: histograms of numbers, the most frequent texts."""
        body = {"facets": columns, "where": where, "top": top, "bins": 8}
        found = await v1.post("/facets", body)
        return {"rows": found["rows"], "facets": found["facets"]}

    @server.tool()
    async def propose_selection(where: str) -> dict[str, Any]:
        """Preview the training selection of a condition; writes nothing."""
        body = {"where": where, "k": SAMPLE, "columns": await v1.columns(None)}
        found = await v1.post("/rows", body)
        command = shell_command("select", dataset, "NAME", "--where", where)
        return {"rows": found["total"], "sample": found["rows"], "to_make_it": command}

    if allow_select:

        @server.tool()
        async def make_selection(name: str, where: str) -> dict[str, Any]:
            """Freeze the rows that meet a condition as a selection to train on."""
            made: dict[str, Any] = await v1.post("/selections", {"name": name, "where": where})
            return made

    return server


class _Service:
    """Requests to the application in this process."""

    def __init__(self, app: FastAPI, dataset: str) -> None:
        import httpx

        transport = httpx.ASGITransport(app=app)
        # The service's deadline counts; the client needs none of its own.
        self._client = httpx.AsyncClient(
            transport=transport,
            base_url="http://127.0.0.1",
            timeout=None,
            headers={OWN: app.state.own},
        )
        self._path = f"/v1/datasets/{quote(dataset, safe='')}"
        self._slim: list[str] | None = None

    async def get(self, path: str) -> Any:
        return self._read(await self._client.get(self._path + path))

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        given = {name: value for name, value in body.items() if value is not None}
        return self._read(await self._client.post(self._path + path, json=given))

    async def data(self, path: str) -> bytes:
        answer = await self._client.get(self._path + path)
        if answer.status_code != 200:
            self._read(answer)
        return bytes(answer.content)

    async def columns(self, named: list[str] | None) -> list[str]:
        """The columns that are named, or the most informative few."""
        if named is not None:
            return named
        if self._slim is None:
            first = (await self.post("/rows", {"k": 1}))["rows"]
            there = first[0] if first else {}
            self._slim = [name for name in SLIM if name in there]
        return self._slim

    @staticmethod
    def _read(answer: Any) -> Any:
        found = answer.json()
        if answer.status_code >= 400:
            raise _refused(found["detail"])
        return found


def serve_stdio(dataset: Dataset, allow_select: bool = False) -> None:
    """Serve one program over standard input and output, until the input ends.

    Raises `UserError` for a dataset without an index, or if the extra `mcp` is not installed.
    """
    import asyncio

    from frenchcat.index.service.app import create_app

    settings = resolve(ServeSettings, {"allow_select": allow_select}, "frenchcat mcp")
    app = create_app([dataset], settings)
    server = mcp_server_of(app, app.state.service.registry.names[0], allow_select)

    async def answer() -> None:
        async with app.router.lifespan_context(app):
            await server.run_stdio_async()

    asyncio.run(answer())


def mount(app: FastAPI) -> None:
    """Make an application answer at /mcp, behind its own keys, hosts and rates.

    The tools use the first dataset. Raises `UserError` if the extra `mcp` is not installed.
    """
    service = app.state.service
    server = mcp_server_of(app, service.registry.names[0], service.settings.may_select)
    from mcp.server.transport_security import TransportSecuritySettings

    # No sessions or streams, so each request is answered within the service's deadline. Hosts
    # and origins are checked by the guard.
    made = server.streamable_http_app(
        streamable_http_path=PATH,
        json_response=True,
        stateless_http=True,
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    app.router.routes.insert(0, made.routes[0])
    before = app.router.lifespan_context

    @contextlib.asynccontextmanager
    async def lifespan(of: FastAPI) -> AsyncIterator[Any]:
        async with before(of) as state, made.router.lifespan_context(made):
            yield state

    app.router.lifespan_context = lifespan
