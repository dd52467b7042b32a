"""/v1: from looking to a dataset: selections that the trainer reads, and removals.

Both write into the dataset, so they hold its lock: while a build is at work they answer 409, and
so does the name of another selection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request

from frenchcat.curate import remove as removal
from frenchcat.curate import select
from frenchcat.curate.remove.request import remove
from frenchcat.index.service.models import (
    Made,
    Matched,
    NewSelection,
    Removal,
    RemovalResponse,
    Selected,
)
from frenchcat.index.service.problems import Refused, documented

if TYPE_CHECKING:
    from frenchcat.index.service.served_dataset import ServedDataset
    from frenchcat.index.service.service import Service

router = APIRouter(prefix="/v1", tags=["curation"])
SHOWN = 1000  # matches of a removal that are listed


@router.get("/selections", responses=documented(404))
async def selections(
    request: Request, dataset: Annotated[str | None, Query(max_length=200)] = None
) -> list[Selected]:
    """The frozen selections of a dataset."""
    service: Service = request.app.state.service
    served = service.registry.get(dataset)
    return await service.work.disk(_selections, served)


@router.post("/selections", status_code=201, responses=documented(403, 404, 409, 413))
async def make_selection(request: Request, asked: NewSelection) -> Made:
    """Freeze the rows that meet a condition, or a query's hits, as a selection to train on."""
    service: Service = request.app.state.service
    if not service.settings.may_select:
        raise Refused(403, "this service makes no selections; start it with --allow-select")
    served = service.registry.get(asked.dataset)
    where = asked.where
    if asked.query is not None:
        where = await _hits_as_condition(service, served, asked)
    choice = select.Choice(where=where, limit=asked.limit)
    made = await service.work.disk(_select, served, asked, choice)
    folder = served.dataset.root if service.settings.private else None
    return Made(**made.model_dump(), folder=folder)


@router.post("/remove", responses=documented(403, 404, 409, 413))
async def take_out(request: Request, asked: Removal) -> RemovalResponse:
    """Show what a removal would match; with `confirm`, remove it: absent at once, everywhere."""
    service: Service = request.app.state.service
    if not service.settings.allow_remove:
        raise Refused(403, "this service removes nothing; start it with --allow-remove")
    served = service.registry.get(asked.dataset)
    return await service.work.disk(_remove, served, asked)


async def _hits_as_condition(service: Service, served: ServedDataset, asked: NewSelection) -> str:
    query = asked.query
    assert query is not None
    if query.dataset not in (None, served.name):
        raise Refused(400, f"the query is for {query.dataset!r}, the selection for {served.name!r}")
    if query.where is None and asked.where is not None:
        query = query.model_copy(update={"where": asked.where})
    vector = await service.queries.search(served, query)
    vector = service.content_policy.rated(vector, query.aesthetic_score, query.aesthetic_weight)
    wanted = service.wanted(query, query.k)
    ranked = await service.find(served, vector, wanted)
    keys = served.keys(ranked.positions.tolist())
    if not keys:
        raise Refused(400, "the query has no hits; widen its condition")
    listed = ", ".join("'" + key.replace("'", "''") + "'" for key in keys)
    return f"key IN ({listed})"


def _select(served: ServedDataset, asked: NewSelection, choice: select.Choice) -> Selected:
    with served.dataset.lock():
        made = select.select(served.dataset, asked.name, choice, asked.replace)
    return Selected(
        dataset=served.name, name=made.name, rows=len(made), digest=made.digest, sql=made.sql
    )


def _selections(served: ServedDataset) -> list[Selected]:
    found = [select.open_selection(served.dataset, n) for n in select.names(served.dataset)]
    return [
        Selected(dataset=served.name, name=one.name, rows=len(one), digest=one.digest)
        for one in found
    ]


def _remove(served: ServedDataset, asked: Removal) -> RemovalResponse:
    asked_for = removal.RemovalQuery(asked.by, asked.value, asked.near)
    if not asked.confirm:
        matches, number = removal.matches(served.dataset, asked_for), None
    else:
        with served.dataset.lock():
            matches = removal.matches(served.dataset, asked_for)
            number = remove(served.dataset, asked_for, matches, asked.note).number
    shown = [
        Matched(key=match.key, url=match.url, caption=match.caption, why=match.why)
        for match in matches[:SHOWN]
    ]
    return RemovalResponse(
        removed=number is not None, request=number, matches=shown, total=len(matches)
    )
