"""/v1: from looking to a dataset: selections that the trainer reads, and removals.

Both write into the dataset, so they hold its lock: while a build is at work they answer 409. What
is lost by them was seen before: a removal names the preview that it confirms, by a token of the
rows shown, and a large one the number of its rows; a selection takes another's name only where
`replace` says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request

from frenchcat.curate import remove as removal
from frenchcat.curate import select
from frenchcat.curate.dataset import digest_of
from frenchcat.curate.remove.request import remove
from frenchcat.curate.sql_text import literal
from frenchcat.index.service.models import (
    Made,
    Matched,
    NewSelection,
    Removal,
    RemovalResponse,
    Selected,
)
from frenchcat.index.service.problems import Refused, documented
from frenchcat.index.visible import View

if TYPE_CHECKING:
    from frenchcat.index.service.served_dataset import ServedDataset
    from frenchcat.index.service.service import Service

router = APIRouter(prefix="/v1", tags=["curation"])
MOST_LISTED = 100_000  # rows of other selections that a selection is made of


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
    where = asked.where
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


@router.post("/remove", responses=documented(403, 404, 409, 413))
async def take_out(request: Request, asked: Removal) -> RemovalResponse:
    """Show what a removal would match; with `confirm`, remove it: absent at once, everywhere."""
    service: Service = request.app.state.service
    check_may_remove(service)
    served = service.registry.get(asked.dataset)
    bound = service.settings.confirm_rows
    return await service.work.disk(_remove, served, asked, bound)


def check_may_select(service: Service) -> None:
    """Raise `Refused` (403) where selections may not be made."""
    if not service.settings.may_select:
        raise Refused(403, "this service makes no selections; start it with --allow-select")


def check_may_remove(service: Service) -> None:
    """Raise `Refused` (403) where nothing may be removed."""
    if not service.settings.allow_remove:
        raise Refused(403, "this service removes nothing; start it with --allow-remove")


async def _hits_as_condition(service: Service, served: ServedDataset, asked: NewSelection) -> str:
    query = asked.query
    assert query is not None
    if query.dataset not in (None, served.name):
        raise Refused(400, f"the query is for {query.dataset!r}, the selection for {served.name!r}")
    given = {"where": asked.where, "selections": asked.selections, "outside": asked.outside}
    query = query.model_copy(
        update={name: value for name, value in given.items() if value and not getattr(query, name)}
    )
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
    return [
        Selected(dataset=served.name, name=one.name, rows=len(one), digest=one.digest)
        for one in found
    ]


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
