"""The verbs `serve` and `mcp`: answer people and programs until told to stop."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import typer

from frenchcat.commands.build import Json
from frenchcat.terminal import log_to_stderr, say, say_json, tell

Texts = list[str] | None


def serve(
    datasets: Annotated[list[str], typer.Argument(metavar="DATASET…", help="Folders to serve.")],
    port: Annotated[int, typer.Option(help="The port; 0: any free one.")] = 1234,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    api_key_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Require one of the keys in this file, one per line."),
    ] = None,
    allow_remove: Annotated[
        bool, typer.Option("--allow-remove", help="Allow users to remove images.")
    ] = False,
    allow_select: Annotated[
        bool | None,
        typer.Option(
            "--allow-select/--no-select",
            help="Allow users to make selections. Default: at loopback, or with keys.",
            show_default=False,
        ),
    ] = None,
    cors: Annotated[
        Texts,
        typer.Option(
            metavar="ORIGIN",
            help="Allow requests from this site's pages; * allows all. Repeatable.",
        ),
    ] = None,
    allowed_host: Annotated[
        Texts, typer.Option(metavar="NAME", help="A host name of this service. Repeatable.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(metavar="N", help="Requests per second and client.")
    ] = None,
    ratings: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Aesthetic rating vectors, (10, D).")
    ] = None,
    violence: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Violence prompt vectors, (2, D).")
    ] = None,
    safety_head: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A head that detects unsafe images.")
    ] = None,
    refused_words: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Words that queries may not contain, one per line."),
    ] = None,
    draw: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Allow users to draw with this trained run.")
    ] = None,
    contact: Annotated[
        str | None, typer.Option(help="Where to ask for removals; shown on the page.")
    ] = None,
    mcp: Annotated[
        bool, typer.Option("--mcp", help="Answer the Model Context Protocol at /mcp, too.")
    ] = False,
    set_: Annotated[
        Texts,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other setting; see docs/serve.md."),
    ] = None,
    json: Json = False,
) -> None:
    """Serve datasets: the web page at /, the API at /v1, and clip-retrieval's routes.

    Example: frenchcat serve data/mine

    Example: frenchcat serve data/mine --draw run

    Example: frenchcat serve data/cats data/dogs --host 0.0.0.0 --api-key-file keys.txt --rate 10
    """
    from frenchcat.curate.config import layered, merged
    from frenchcat.index.service.settings import ServeSettings
    from frenchcat.interrupt import answered_by

    layered(ServeSettings, (), set_ or ())  # a mistake in --set is told as one
    given = {
        "host": host,
        "port": port,
        "api_key_file": _text(api_key_file),
        "allow_remove": allow_remove,
        "allow_select": allow_select,
        "cors": tuple(cors or ()),
        "hosts": tuple(allowed_host or ()),
        "rate": rate,
        "ratings": _text(ratings),
        "violence": _text(violence),
        "safety_head": _text(safety_head),
        "refused_words": _text(refused_words),
        "contact": contact,
    }
    from frenchcat.api import serve as run

    log_to_stderr()

    def told(address: str) -> None:
        if json:
            say_json({"serving": address})
        else:
            say(f"serving at {address}")

    def stoppable(stop: Callable[[], float]) -> AbstractContextManager[None]:
        def begin() -> float:
            tell("frenchcat: stopping; requests at work are finished, Ctrl-C again stops at once")
            return stop()

        return answered_by(begin)

    run(
        datasets,
        set=merged(given, set_ or ()),
        draw=draw,
        told=told,
        stoppable=stoppable,
        mcp=mcp,
    )


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def mcp(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="A dataset folder.")],
    allow_select: Annotated[
        bool, typer.Option("--allow-select", help="Allow the program to make selections.")
    ] = False,
) -> None:
    """Serve a dataset to an agent: the Model Context Protocol over standard input and output.

    Example: frenchcat mcp data/mine
    """
    from frenchcat.curate.dataset import Dataset
    from frenchcat.mcp_server import serve_stdio

    log_to_stderr()
    serve_stdio(Dataset.open(dataset), allow_select)
