"""/v1: selections that the trainer reads: made, listed, compared, renamed, deleted.

What writes holds the dataset's lock: while a build is at work the answer is 409. A selection takes
another's name only where `replace` says so, and is deleted only by the digest that was seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request

from frenchcat.curate import select
from frenchcat.curate.sql_text import literal
from frenchcat.index.service.dataset_writes import changed, of_dataset
from frenchcat.index.service.models.selections import Compared, Made, NewSelection, Rename, Selected
from frenchcat.index.service.problems import Refused, documented
from frenchcat.index.visible import View

if TYPE_CHECKING:
    from frenchcat.index.service.served_dataset import ServedDataset
    from frenchcat.index.service.service import Service


router = APIRouter(prefix="/v1", tags=["curation"])

MOST_LISTED = 100_000  # rows of other selections that a selection is made of


def check_may_select(service: Service) -> None:
    """Raise `Refused` (403) where selections may not be made."""
    if not service.settings.may_select:
        raise Refused(403, "this service makes no selections; start it with --allow-select")


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
    check_may_select(service)
    served = service.registry.get(asked.dataset)
    where = await service.work.disk(select.of_licences, asked.where, asked.licences)
    asked = asked.model_copy(update={"where": where})
    if asked.query is not None:
        where = await _hits_as_condition(service, served, asked)
    elif asked.selections or asked.outside:
        where = await _within_selections(service, served, asked)
    made = await service.conditions.select(
        served,
        name=asked.name,
        where=where,
        limit=asked.limit,
        replace=asked.replace,
        balance=asked.balance,
        weight=asked.weight,
        label=asked.label,
        seed=asked.seed,
    )
    if (there := made.get("taken")) is not None:
        raise Refused(
            409,
            f"{served.name} has a selection {asked.name!r} already, of {there['rows']} rows "
            f"(digest {there['digest'][:16]}); give another name, or replace=true to lose that one",
            code="already-there",
        )
    folder = served.dataset.root if service.settings.private else None
    return Made(dataset=served.name, name=asked.name, folder=folder, **made)


@router.get("/datasets/{name}/selections", responses=documented(404))
async def list_selections(request: Request, name: str) -> list[Selected]:
    """The frozen selections of a dataset."""
    return await selections(request, name)


@router.post(
    "/datasets/{name}/selections", status_code=201, responses=documented(403, 404, 409, 413)
)
async def create_selection(request: Request, name: str, asked: NewSelection) -> Made:
    """Freeze the rows that meet a condition, or a query's hits."""
    return await make_selection(request, of_dataset(asked, name))


@router.get("/datasets/{name}/selections/{selection}", responses=documented(404))
async def one_selection(request: Request, name: str, selection: str) -> Selected:
    """A frozen selection."""
    service: Service = request.app.state.service
    served = service.registry.get(name)
    return await service.work.disk(
        lambda: _selected(served, select.open_selection(served.dataset, selection))
    )


@router.get("/datasets/{name}/selections/{selection}/compare", responses=documented(404))
async def compare_selections(
    request: Request,
    name: str,
    selection: str,
    other: Annotated[str, Query(alias="with", max_length=100)],
) -> Compared:
    """How many rows two selections have in common, and alone."""
    service: Service = request.app.state.service
    served = service.registry.get(name)
    ours, theirs, both = await service.work.disk(select.compare, served.dataset, selection, other)
    return Compared(only={selection: ours, other: theirs}, both=both)


@router.patch("/datasets/{name}/selections/{selection}", responses=documented(403, 404, 409, 413))
async def rename_selection(request: Request, name: str, selection: str, to: Rename) -> Selected:
    """Give a selection another name."""

    def renamed(served: ServedDataset) -> Selected:
        return _selected(served, select.rename_selection(served.dataset, selection, to.name))

    return await changed(request, name, check_may_select, renamed)


@router.delete("/datasets/{name}/selections/{selection}", responses=documented(403, 404, 409))
async def delete_selection(request: Request, name: str, selection: str, digest: str) -> Selected:
    """Delete a selection, whose digest says that it is the one that was seen."""

    def deleted(served: ServedDataset) -> Selected:
        found = select.open_selection(served.dataset, selection)
        if not digest or not found.digest.startswith(digest) or len(digest) < 8:
            raise Refused(
                409,
                f"the digest {digest[:80]!r} is not that of {selection!r}, "
                f"{found.digest[:16]}, or shorter than 8; nothing was deleted",
                code="preview-changed",
            )
        return _selected(served, select.delete_selection(served.dataset, selection))

    return await changed(request, name, check_may_select, deleted)


async def _hits_as_condition(service: Service, served: ServedDataset, asked: NewSelection) -> str:
    query = asked.query
    assert query is not None
    if query.dataset not in (None, served.name):
        raise Refused(400, f"the query is for {query.dataset!r}, the selection for {served.name!r}")
    update = {
        "where": await service.work.disk(select.both_conditions, query.where, asked.where),
        "selections": [*query.selections, *asked.selections],
        "outside": [*query.outside, *asked.outside],
    }
    query = query.model_copy(update=update)
    ranked = await service.nearest(served, query)
    keys = served.keys(ranked.positions.tolist())
    if not keys:
        raise Refused(400, "the query has no hits; widen its condition")
    listed = ", ".join(map(literal, keys))
    return f"key IN ({listed})"


async def _within_selections(service: Service, served: ServedDataset, asked: NewSelection) -> str:
    """The condition of what lies in the selections named, and outside of others."""
    view = View(asked.where, False, True, True, tuple(asked.selections), tuple(asked.outside))
    positions = await service.conditions.within(served, service.work.disk, served.allowed, view)
    assert positions is not None  # a selection always leaves out, or is checked
    if not 0 < len(positions) <= MOST_LISTED:
        raise Refused(
            400,
            f"{len(positions)} rows lie in {', '.join(asked.selections) or 'the dataset'} and "
            f"outside of {', '.join(asked.outside) or 'nothing'}; a selection is made so of 1 to "
            f"{MOST_LISTED}",
        )
    keys = await service.work.disk(served.keys, positions.tolist())
    return f"key IN ({', '.join(map(literal, keys))})"


def _selections(served: ServedDataset) -> list[Selected]:
    found = [select.open_selection(served.dataset, n) for n in select.names(served.dataset)]
    return [_selected(served, one).model_copy(update={"sql": None}) for one in found]


def _selected(served: ServedDataset, found: select.Selection) -> Selected:
    return Selected(
        dataset=served.name, name=found.name, rows=len(found), digest=found.digest, sql=found.sql
    )
