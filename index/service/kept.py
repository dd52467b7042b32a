"""/v1/datasets/{name}/selections and /removals: what was frozen and what was removed, and undoing.

Whatever writes holds the dataset's lock, and is allowed as in curation.py: selections where the
service may make them, removals where it may remove.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

from fastapi import APIRouter, Query, Request

from frenchcat.curate import remove as removal
from frenchcat.curate import select
from frenchcat.curate.removals import removed
from frenchcat.index.service import curation
from frenchcat.index.service.dataset_registry import check_address
from frenchcat.index.service.models import (
    Compared,
    Made,
    NewSelection,
    Removal,
    RemovalRequest,
    RemovalResponse,
    Rename,
    Selected,
)
from frenchcat.index.service.problems import Refused, documented

if TYPE_CHECKING:
    from frenchcat.index.service.served_dataset import ServedDataset
    from frenchcat.index.service.service import Service

Named = TypeVar("Named", NewSelection, Removal)
Changed = TypeVar("Changed")
router = APIRouter(prefix="/v1/datasets/{name}", tags=["curation"])


@router.get("/selections", responses=documented(404))
async def list_selections(request: Request, name: str) -> list[Selected]:
    """The frozen selections of a dataset."""
    return await curation.selections(request, name)


@router.post("/selections", status_code=201, responses=documented(403, 404, 409, 413))
async def create_selection(request: Request, name: str, asked: NewSelection) -> Made:
    """Freeze the rows that meet a condition, or a query's hits."""
    return await curation.make_selection(request, _named(asked, name))


@router.get("/selections/{selection}", responses=documented(404))
async def one_selection(request: Request, name: str, selection: str) -> Selected:
    """A frozen selection."""
    service: Service = request.app.state.service
    served = service.registry.get(name)
    return await service.work.disk(
        lambda: _selected(served, select.open_selection(served.dataset, selection))
    )


@router.get("/selections/{selection}/compare", responses=documented(404))
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


@router.patch("/selections/{selection}", responses=documented(403, 404, 409, 413))
async def rename_selection(request: Request, name: str, selection: str, to: Rename) -> Selected:
    """Give a selection another name."""

    def renamed(served: ServedDataset) -> Selected:
        return _selected(served, select.rename_selection(served.dataset, selection, to.name))

    return await _changed(request, name, curation.check_may_select, renamed)


@router.delete("/selections/{selection}", responses=documented(403, 404, 409))
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

    return await _changed(request, name, curation.check_may_select, deleted)


@router.get("/removals", responses=documented(403, 404))
async def list_removals(request: Request, name: str) -> list[RemovalRequest]:
    """The log of removals, the newest first."""
    service: Service = request.app.state.service
    served = service.registry.get(name)
    curation.check_may_remove(service)
    return await service.work.disk(_removals, served)


@router.post("/removals", responses=documented(403, 404, 409, 413))
async def create_removal(request: Request, name: str, asked: Removal) -> RemovalResponse:
    """Show what a removal would match; with `confirm` and its `token`, remove it."""
    return await curation.take_out(request, _named(asked, name))


@router.delete("/removals/{number}", responses=documented(403, 404, 409))
async def undo_removal(
    request: Request, name: str, number: int, note: Annotated[str, Query(max_length=2_000)] = ""
) -> RemovalRequest:
    """Take a removal back, as long as its rows were not compacted away."""

    def undone(served: ServedDataset) -> RemovalRequest:
        removal.undo(served.dataset, number, note)
        return next(one for one in _removals(served) if one.number == number)

    return await _changed(request, name, curation.check_may_remove, undone)


async def _changed(
    request: Request,
    name: str,
    check: Callable[[Service], None],
    change: Callable[[ServedDataset], Changed],
) -> Changed:
    """What `change` makes of a dataset, whose lock is held, where `check` allows it."""
    service: Service = request.app.state.service
    served = service.registry.get(name)
    check(service)

    def locked() -> Changed:
        with served.dataset.lock():
            return change(served)

    return await service.work.disk(locked)


def _named(asked: Named, name: str) -> Named:
    """A body with the dataset of its path. Raises `Refused` where it names another one."""
    check_address(name, asked.dataset)
    return asked.model_copy(update={"dataset": name})


def _selected(served: ServedDataset, found: select.Selection) -> Selected:
    return Selected(
        dataset=served.name, name=found.name, rows=len(found), digest=found.digest, sql=found.sql
    )


def _removals(served: ServedDataset) -> list[RemovalRequest]:
    requests = removed(served.dataset).requests
    undone = {one.undoes for one in requests}
    return [
        RemovalRequest(
            number=one.number,
            by=one.by,
            time=one.time,
            note=one.note,
            rows=len(one.keys),
            undoes=one.undoes,
            undone=one.number in undone,
        )
        for one in sorted(requests, key=lambda one: -one.number)
    ]
