"""/v1/datasets/{name}/decisions, /clusters, /failed: rows to look through, and what is decided.

A decision keeps or drops rows by hand, whatever the rules of the verdicts say; it is logged in the
dataset (curate/decisions.py) and can be taken back. Clusters of duplicates come largest first, with
their rows; failed rows come by reason, without those that were removed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from frenchcat.curate import decisions
from frenchcat.curate.catalog import Catalog
from frenchcat.curate.failures import NAME_SQL
from frenchcat.curate.sql_text import literal
from frenchcat.curate.verdict.stage import judge_again
from frenchcat.index.service.models.clusters import Clusters
from frenchcat.index.service.models.decisions import DecisionMade, NewDecision
from frenchcat.index.service.models.failures import Failed
from frenchcat.index.service.problems import Refused, documented
from frenchcat.index.service.rows import answer, rows

if TYPE_CHECKING:
    from frenchcat.index.service.served_dataset import ServedDataset
    from frenchcat.index.service.service import Service

router = APIRouter(prefix="/v1/datasets/{name}", tags=["curation"])
MOST_SHOWN = 200  # rows of one cluster
MOST_NAMED = 20  # reasons in a message


@router.get("/decisions", responses=documented(404))
async def list_decisions(request: Request, name: str) -> list[DecisionMade]:
    """What was kept and dropped by hand, in order."""
    service: Service = request.app.state.service
    served = service.registry.get(name)
    return await service.work.disk(_all, served)


@router.post("/decisions", status_code=201, responses=documented(403, 404, 409, 413))
async def make_decision(request: Request, name: str, asked: NewDecision) -> DecisionMade:
    """Keep rows, or drop them: search and new selections follow at once."""

    def decided(served: ServedDataset) -> int:
        return decisions.decide(served.dataset, asked.keep, asked.keys, asked.note).number

    return await _changed(request, name, decided)


@router.delete("/decisions/{number}", responses=documented(403, 404, 409))
async def undo_decision(
    request: Request, name: str, number: int, note: Annotated[str, Query(max_length=2_000)] = ""
) -> DecisionMade:
    """Take a decision back: the rules say again what becomes of its rows."""

    def undone(served: ServedDataset) -> int:
        return decisions.undo(served.dataset, number, note).number

    return await _changed(request, name, undone)


@router.get("/clusters", response_model=Clusters, responses=documented(404))
async def clusters(
    request: Request,
    name: str,
    k: Annotated[int, Query(ge=1, le=100)] = 10,
    skip: Annotated[int, Query(ge=0, le=100_000_000)] = 0,
    undecided: bool = False,
) -> Response:
    """Clusters of duplicates, the largest first; `undecided`: without a row decided by hand."""
    service: Service = request.app.state.service
    served = service.registry.get(name)
    return await service.work.disk(_clusters, served, k, skip, undecided)


@router.get("/failed", response_model=Failed, responses=documented(404))
async def failed(
    request: Request,
    name: str,
    reason: Annotated[
        str | None, Query(max_length=200, description="One of `reasons`; none: all of them.")
    ] = None,
    k: Annotated[int, Query(ge=1, le=1000)] = 20,
) -> Response:
    """Rows without an image, of one reason or of all, and how many there are of each.

    A reason that no row has is answered with 404 and the reasons that there are.
    """
    service: Service = request.app.state.service
    served = service.registry.get(name)
    return await service.work.disk(_failed, served, reason, k)


async def _changed(
    request: Request, name: str, change: Callable[[ServedDataset], int]
) -> DecisionMade:
    service: Service = request.app.state.service
    served = service.registry.get(name)
    if not service.settings.may_decide:
        raise Refused(
            403, "this service decides about no rows; start it with --set allow_decide=true"
        )

    def locked() -> DecisionMade:
        with served.dataset.lock():
            number = change(served)
            judge_again(served.dataset)
        service.registry.renew(name)  # there may be verdicts for the first time
        return next(one for one in _all(served) if one.number == number)

    return await service.work.disk(locked)


def _all(served: ServedDataset) -> list[DecisionMade]:
    made = decisions.decisions(served.dataset)
    gone = decisions.undone(made)
    return [
        DecisionMade(
            number=one.number,
            keep=one.keep,
            keys=list(one.keys),
            time=one.time,
            note=one.note,
            undoes=one.undoes,
            undone=one.number in gone,
        )
        for one in made
    ]


def _clusters(served: ServedDataset, k: int, skip: int, undecided: bool) -> Response:
    groups = served.searcher.visible.groups()
    by_hand = decisions.decided(served.dataset)
    if undecided and by_hand:
        known = served.searcher.places.of([int(key) for key in by_hand])
        groups = [one for one in groups if not np.isin(one, known).any()]
    found: list[dict[str, Any]] = []
    for positions in groups[skip : skip + k]:
        members = rows(served, served.hits(positions[:MOST_SHOWN]))
        for member in members:
            member["by_hand"] = by_hand.get(member["key"])
        found.append({"rows": len(positions), "members": members})
    return answer({"dataset": served.name, "total": len(groups), "clusters": found})


def _failed(served: ServedDataset, reason: str | None, k: int) -> Response:
    with Catalog(served.dataset, joined=()) as catalog:
        counted = catalog.run(
            f"SELECT {NAME_SQL} AS reason, count(*) AS n FROM ({catalog.failed_sql}) "
            "GROUP BY ALL ORDER BY n DESC, reason"
        )
        reasons = {row["reason"]: row["n"] for row in counted.to_pylist()}
        if reason is not None and reason not in reasons:
            raise Refused(404, _no_such_reason(served.name, reason, list(reasons)))
        where = "" if reason is None else f"WHERE {NAME_SQL} = {literal(reason)} "
        found = catalog.run(
            f"SELECT key, url, caption, {NAME_SQL} AS reason, failure_detail AS detail "
            f"FROM ({catalog.failed_sql}) {where}ORDER BY key LIMIT {int(k)}"
        )
    total = sum(reasons.values()) if reason is None else reasons[reason]
    return answer(
        {"dataset": served.name, "total": total, "reasons": reasons, "rows": found.to_pylist()}
    )


def _no_such_reason(dataset: str, reason: str, reasons: Sequence[str]) -> str:
    if not reasons:
        return f"no row of {dataset} failed for {reason!r}, nor for any other reason"
    more = ", …" if len(reasons) > MOST_NAMED else ""
    return (
        f"no row of {dataset} failed for {reason!r}; rows failed for: "
        f"{', '.join(reasons[:MOST_NAMED])}{more}"
    )
