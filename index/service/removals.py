"""/v1: removals: previewed, confirmed, listed, undone.

A removal holds the dataset's lock: while a build is at work the answer is 409. It names the preview
that it confirms by a token of the rows shown, and a large one also the number of its rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request

from frenchcat.curate import remove as removal
from frenchcat.curate.dataset import digest_of
from frenchcat.curate.removals import removed
from frenchcat.curate.remove.request import remove
from frenchcat.index.service.dataset_writes import changed, of_dataset
from frenchcat.index.service.models.removals import (
    Matched,
    Removal,
    RemovalRequest,
    RemovalResponse,
)
from frenchcat.index.service.problems import Refused, documented

if TYPE_CHECKING:
    from frenchcat.index.service.served_dataset import ServedDataset
    from frenchcat.index.service.service import Service

router = APIRouter(prefix="/v1", tags=["curation"])


def check_may_remove(service: Service) -> None:
    """Raise `Refused` (403) where nothing may be removed."""
    if not service.settings.allow_remove:
        raise Refused(403, "this service removes nothing; start it with --allow-remove")


@router.post("/remove", responses=documented(403, 404, 409, 413))
async def take_out(request: Request, asked: Removal) -> RemovalResponse:
    """Show what a removal would match; with `confirm`, remove it: absent at once, everywhere."""
    service: Service = request.app.state.service
    check_may_remove(service)
    served = service.registry.get(asked.dataset)
    bound = service.settings.confirm_rows
    return await service.work.disk(_remove, served, asked, bound)


@router.get("/datasets/{name}/removals", responses=documented(403, 404))
async def list_removals(request: Request, name: str) -> list[RemovalRequest]:
    """The log of removals, the newest first."""
    service: Service = request.app.state.service
    served = service.registry.get(name)
    check_may_remove(service)
    return await service.work.disk(_removals, served)


@router.post("/datasets/{name}/removals", responses=documented(403, 404, 409, 413))
async def create_removal(request: Request, name: str, asked: Removal) -> RemovalResponse:
    """Show what a removal would match; with `confirm` and its `token`, remove it."""
    return await take_out(request, of_dataset(asked, name))


@router.delete("/datasets/{name}/removals/{number}", responses=documented(403, 404, 409))
async def undo_removal(
    request: Request, name: str, number: int, note: Annotated[str, Query(max_length=2_000)] = ""
) -> RemovalRequest:
    """Take a removal back, as long as its rows were not compacted away."""

    def undone(served: ServedDataset) -> RemovalRequest:
        removal.undo(served.dataset, number, note)
        return next(one for one in _removals(served) if one.number == number)

    return await changed(request, name, check_may_remove, undone)


def _remove(served: ServedDataset, asked: Removal, bound: int) -> RemovalResponse:
    """Preview or carry out a removal; one of more than `bound` rows names their number."""
    if asked.keys and asked.by != "key":
        raise Refused(400, f"keys are further rows of a removal by key, not by {asked.by}")
    asked_for = removal.RemovalQuery(asked.by, asked.value, asked.near, tuple(asked.keys))
    if not asked.confirm:
        matches, number = removal.matches(served.dataset, asked_for), None
    else:
        with served.dataset.lock():
            matches = removal.matches(served.dataset, asked_for)
            _check_confirmed(served, asked, matches, bound)
            number = remove(served.dataset, asked_for, matches, asked.note).number
    shown = [
        Matched(key=match.key, url=match.url, caption=match.caption, why=match.why)
        for match in matches[: asked.shown]
    ]
    return RemovalResponse(
        removed=number is not None,
        request=number,
        matches=shown,
        total=len(matches),
        token=None if asked.confirm else _token(served, asked, matches),
        confirm_total=len(matches) > bound,
    )


def _token(served: ServedDataset, asked: Removal, matches: Sequence[removal.Match]) -> str:
    """Names a preview: what was asked for, and the rows that it matched."""
    keys = sorted(match.key for match in matches)
    return digest_of([served.dataset.root, asked.by, asked.value, asked.near, keys])[:32]


def _check_confirmed(
    served: ServedDataset, asked: Removal, matches: Sequence[removal.Match], bound: int
) -> None:
    """Raise `Refused` (409) unless what would be removed now is what was shown."""
    total = len(matches)
    if asked.token is None:
        raise Refused(
            409,
            "a removal is confirmed with the token of its preview; send the same without confirm, "
            f"then confirm with the token that it answers ({total} rows would go now)",
            code="preview-needed",
        )
    if asked.token != _token(served, asked, matches):
        raise Refused(
            409,
            f"the token {asked.token[:40]!r} is of another preview: {asked.by} {asked.value[:200]}"
            f"{' with near copies' if asked.near else ''} matches {total} rows now that were not "
            "those shown; nothing was removed; look at the preview again",
            code="preview-changed",
        )
    if total > bound and asked.total != total:
        said = "none was" if asked.total is None else f"{asked.total} was"
        raise Refused(
            409,
            f"this removes {total} rows, more than {bound} (confirm_rows); confirm the number with "
            f"total={total} ({said} sent); nothing was removed",
            code="total-needed",
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
