"""/v1: from looking to a dataset: selections that the trainer reads, and removals.

Both write into the dataset, so they hold its lock: while a build is at work they answer 409.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request

from frenchcat.curate import remove as removal
from frenchcat.curate import select
from frenchcat.curate.remove.request import remove
from frenchcat.index.service.models import Made, Matched, NewSelection, Removal, Removed, Selected
from frenchcat.index.service.problems import Refused, documented

if TYPE_CHECKING:
    from frenchcat.index.service.service import Service
    from frenchcat.index.service.volume import Volume

router = APIRouter(prefix="/v1", tags=["curation"])
SHOWN = 1000  # matches of a removal that are listed


@router.get("/selections", responses=documented(404))
async def selections(
    request: Request, dataset: Annotated[str | None, Query(max_length=200)] = None
) -> list[Selected]:
    """The frozen selections of a dataset."""
    service: Service = request.app.state.service
    volume = service.shelf.get(dataset)
    return await service.work.disk(_selections, volume)


@router.post("/selections", status_code=201, responses=documented(403, 404, 409, 413))
async def make_selection(request: Request, asked: NewSelection) -> Made:
    """Freeze the rows that meet a condition, or a query's hits, as a selection to train on."""
    service: Service = request.app.state.service
    if not service.settings.may_select:
        raise Refused(403, "this service makes no selections; start it with --allow-select")
    volume = service.shelf.get(asked.dataset)
    where = asked.where
    if asked.query is not None:
        where = await _hits_as_condition(service, volume, asked)
    choice = select.Choice(where=where, limit=asked.limit)
    made = await service.work.disk(_select, volume, asked.name, choice)
    folder = volume.dataset.root if service.settings.private else None
    return Made(**made.model_dump(), folder=folder)


@router.post("/remove", responses=documented(403, 404, 409, 413))
async def take_out(request: Request, asked: Removal) -> Removed:
    """Show what a removal would match; with `confirm`, remove it: absent at once, everywhere."""
    service: Service = request.app.state.service
    if not service.settings.allow_remove:
        raise Refused(403, "this service removes nothing; start it with --allow-remove")
    volume = service.shelf.get(asked.dataset)
    return await service.work.disk(_remove, volume, asked)


async def _hits_as_condition(service: Service, volume: Volume, asked: NewSelection) -> str:
    query = asked.query
    assert query is not None
    if query.dataset not in (None, volume.name):
        raise Refused(400, f"the query is for {query.dataset!r}, the selection for {volume.name!r}")
    if query.where is None and asked.where is not None:
        query = query.model_copy(update={"where": asked.where})
    vector = await service.queries.search(volume, query)
    vector = service.taste.rated(vector, query.aesthetic_score, query.aesthetic_weight)
    wanted = service.wanted(query, query.k)
    ranked = await service.find(volume, vector, wanted)
    keys = volume.keys(ranked.positions.tolist())
    if not keys:
        raise Refused(400, "the query has no hits; widen its condition")
    listed = ", ".join("'" + key.replace("'", "''") + "'" for key in keys)
    return f"key IN ({listed})"


def _select(volume: Volume, name: str, choice: select.Choice) -> Selected:
    with volume.dataset.lock():
        made = select.select(volume.dataset, name, choice)
    return Selected(
        dataset=volume.name, name=made.name, rows=len(made), digest=made.digest, sql=made.sql
    )


def _selections(volume: Volume) -> list[Selected]:
    found = [select.open_selection(volume.dataset, n) for n in select.names(volume.dataset)]
    return [
        Selected(dataset=volume.name, name=one.name, rows=len(one), digest=one.digest)
        for one in found
    ]


def _remove(volume: Volume, asked: Removal) -> Removed:
    wish = removal.Wish(asked.by, asked.value, asked.near)
    if not asked.confirm:
        matches, number = removal.matches(volume.dataset, wish), None
    else:
        with volume.dataset.lock():
            matches = removal.matches(volume.dataset, wish)
            number = remove(volume.dataset, wish, matches, asked.note).number
    shown = [
        Matched(key=match.key, url=match.url, caption=match.caption, why=match.why)
        for match in matches[:SHOWN]
    ]
    return Removed(removed=number is not None, request=number, matches=shown, total=len(matches))
