"""/v1/used: has an image been used? `frenchcat serve` mounts it beside the service's own routes.

Answers as `frenchcat used` does, from the runs beside a dataset: rows, selections, steps and
checkpoints. It is behind the service's keys; a service that anybody can reach answers 403, since a
row's address and the names of runs are not everybody's. Cost: a pass over the catalog, and every
step of each run is planned again (10,000 per second).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from fastapi import APIRouter, FastAPI, Request
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from frenchcat.curate.json_text import plain
from frenchcat.curate.remove import RemovalQuery, matches
from frenchcat.index.service.models.fields import Strict
from frenchcat.index.service.models.removals import Matched
from frenchcat.index.service.problems import Refused, documented
from frenchcat.index.service.queries import from_base64
from frenchcat.used import Uses, by_creator, uses_of

if TYPE_CHECKING:
    from frenchcat.curate.dataset import Dataset
    from frenchcat.index.service.service import Service

router = APIRouter(prefix="/v1", tags=["answering"])
Encode = Callable[[Path], NDArray[np.float32]]


class UsedQuestion(Strict):
    """What to look for."""

    dataset: str | None = Field(None, max_length=200)
    by: Literal["url", "domain", "sha256", "uid", "key", "creator", "picture"]
    value: str = Field(
        min_length=1, max_length=32_000_000, description="For an image: its bytes in base64."
    )
    near: bool = Field(False, description="Near copies, too.")
    checkpoint: str | None = Field(
        None, max_length=200, description="Only this checkpoint of the runs."
    )
    shown: int = Field(100, ge=0, le=10_000, description="Rows that are listed.")


class UsedAnswer(BaseModel):
    """In which rows, selections, training steps and checkpoints an image is."""

    dataset: str
    total: int = Field(description="Rows that match.")
    rows: list[Matched] = Field(description="The first `shown`.")
    selections: dict[str, int] = Field(description="Name -> how many of the rows it has.")
    runs: list[dict[str, Any]] = Field(description="As `frenchcat used --json`.")
    cannot_forget: list[str] = Field(description="Checkpoints, as run/checkpoint.")


@router.post("/used", responses=documented(403, 404, 413))
async def used(request: Request, asked: UsedQuestion) -> UsedAnswer:
    """Say in which rows, selections, training steps and checkpoints an image is."""
    service: Service = request.app.state.service
    if not _may_ask(service):
        raise Refused(403, "this service tells nobody what was used; give it --api-key-file")
    served = service.registry.get(asked.dataset)
    data, encode = b"", None
    if asked.by == "picture":
        data = from_base64(asked.value)
        vector = np.asarray(await service.queries.picture(served, data), np.float32)
        encode = lambda path: vector  # noqa: E731
    found = await service.work.disk(_looked_up, served.dataset, asked, data, encode)
    runs = [{**use.as_dict(), "run": Path(use.run).name} for use in found.runs]
    rows = [Matched(key=m.key, url=m.url, caption=m.caption, why=m.why) for m in found.matches]
    return UsedAnswer(
        dataset=served.name,
        total=len(rows),
        rows=rows[: asked.shown],
        selections=found.selections,
        runs=plain(runs),
        cannot_forget=[f"{run['run']}/{name}" for run in runs for name in run["cannot_forget"]],
    )


def mount_used(app: FastAPI) -> None:
    """Make an application answer at /v1/used, before the page's files, which take all paths."""
    before = len(app.router.routes)
    app.include_router(router)
    mounted = app.router.routes[before:]
    app.router.routes[:] = [*mounted, *app.router.routes[:before]]
    service: Service = app.state.service
    service.may_ask_used = _may_ask(service)


def _may_ask(service: Service) -> bool:
    return service.settings.private or service.settings.api_key_file is not None


def _looked_up(dataset: Dataset, asked: UsedQuestion, data: bytes, encode: Encode | None) -> Uses:
    if asked.by == "creator":
        found = by_creator(dataset, asked.value)
    elif asked.by == "picture":
        with tempfile.TemporaryDirectory(prefix="frenchcat-") as folder:
            file = Path(folder) / "image"
            file.write_bytes(data)
            found = matches(dataset, RemovalQuery("like", str(file), asked.near), encode)
    else:
        found = matches(dataset, RemovalQuery(asked.by, asked.value, asked.near))
    value = "" if asked.by == "picture" else asked.value
    return uses_of(dataset, (asked.by, value), found, None, asked.checkpoint)
