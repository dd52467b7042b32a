"""/v1: looking without a query: the rows that meet a condition, in order, and the map of a dataset.

Filters count as in a search, but that near copies are left out only where `frenchcat dedup` found
them: there is no query whose hits could be compared. Cost: of a page, the rows up to its end where
a safety head or violence prompts judge them, else the page's alone; of a map, see index/map.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from frenchcat.index.service.content_policy import ContentPolicy, violent
from frenchcat.index.service.models import Browse, Browsed, Filters, Mapped
from frenchcat.index.service.problems import documented
from frenchcat.index.service.rows import answer, rows, sorting
from frenchcat.index.service.search import Wanted

if TYPE_CHECKING:
    from frenchcat.index.search import Positions
    from frenchcat.index.service.served_dataset import ServedDataset
    from frenchcat.index.service.service import Service

router = APIRouter(prefix="/v1", tags=["search"])
_BLOCK = 1024  # rows judged at a time


@router.post("/browse", response_model=Browsed, responses=documented(404, 413))
async def browse(request: Request, asked: Browse) -> Response:
    """The rows that meet a condition, in the order of the index, and how many there are."""
    service: Service = request.app.state.service
    served = service.registry.get(asked.dataset)
    wanted = service.wanted(asked, asked.k)
    given = (served, wanted, service.content_policy, asked)
    return await service.conditions.within(served, service.work.search, _browse, *given)


@router.get("/datasets/{name}/map", response_model=Mapped, responses=documented(404))
async def dataset_map(request: Request, name: str, asked: Annotated[Filters, Query()]) -> Response:
    """Keys and places of at most 10,000 rows; near pictures lie near each other."""
    service: Service = request.app.state.service
    served = service.registry.get(name)
    given = (served, service.wanted(asked, 1), service.content_policy)
    return await service.conditions.within(served, service.work.disk, _map, *given)


def _browse(
    served: ServedDataset,
    wanted: Wanted,
    content_policy: ContentPolicy,
    asked: Browse,
) -> Response:
    positions, skip = _allowed(served, wanted), asked.skip
    total = len(positions)
    if asked.sort is not None:
        positions = served.values.sorted(positions, *sorting(asked.sort))
    if _judges(wanted, content_policy):
        positions = _first_harmless(served, positions, wanted, content_policy, skip + wanted.k)
    hits = served.hits(positions[skip : skip + wanted.k])
    return answer(
        {
            "dataset": served.name,
            "index_version": served.version,
            "total": total,
            "rows": rows(served, hits, asked.columns),
        }
    )


def _map(served: ServedDataset, wanted: Wanted, content_policy: ContentPolicy) -> Response:
    made = served.map.get()
    shown = np.isin(made.rows, _allowed(served, wanted), assume_unique=True)
    if _judges(wanted, content_policy):
        at = np.flatnonzero(shown)
        shown[at[~_harmless(served, made.rows[at], wanted, content_policy)]] = False
    places = made.places[shown].round(4).astype(float)
    keys = served.keys(made.rows[shown].tolist())
    found: dict[str, Any] = {
        "dataset": served.name,
        "index_version": served.version,
        "keys": keys,
        "x": places[:, 0].round(4).tolist(),
        "y": places[:, 1].round(4).tolist(),
        "rows": len(served),
    }
    return answer(found)


def _allowed(served: ServedDataset, wanted: Wanted) -> Positions:
    positions = served.allowed(wanted.view)
    return np.arange(len(served)) if positions is None else positions


def _judges(wanted: Wanted, content_policy: ContentPolicy) -> bool:
    return wanted.prompts is not None or (wanted.view.safe and content_policy.head is not None)


def _harmless(
    served: ServedDataset, positions: Positions, wanted: Wanted, content_policy: ContentPolicy
) -> Any:
    vectors = served.searcher.vectors(positions)
    harmless = np.ones(len(positions), bool)
    if wanted.view.safe:
        harmless &= ~content_policy.unsafe(vectors)
    if wanted.prompts is not None:
        harmless &= ~violent(vectors, wanted.prompts)
    return harmless


def _first_harmless(
    served: ServedDataset,
    positions: Positions,
    wanted: Wanted,
    content_policy: ContentPolicy,
    count: int,
) -> Positions:
    found, left = [positions[:0]], count
    for start in range(0, len(positions), _BLOCK):
        block = positions[start : start + _BLOCK]
        found.append(block[_harmless(served, block, wanted, content_policy)])
        left -= len(found[-1])
        if left <= 0:
            break
    return np.concatenate(found)
