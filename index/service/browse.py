"""/v1: looking without a query: the rows that meet a condition, in order, and the map of a dataset.

Filters count as in a search, except that near-duplicates are hidden only if `frenchcat dedup` found
them: there is no query whose hits could be compared. Cost: of a page, the rows up to its end where
a safety head or violence prompts judge them, else the page's alone; of a map, see index/map.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from frenchcat.curate.errors import UserError
from frenchcat.index.service import cursors
from frenchcat.index.service.content_policy import ContentPolicy, violent
from frenchcat.index.service.cursors import PageCursor
from frenchcat.index.service.models.browse import Browse, Browsed, Mapped
from frenchcat.index.service.models.query import Filters
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
    """List the rows that meet a condition, in the order of the index, and count them."""
    service: Service = request.app.state.service
    return await browsed(service, service.registry.get(asked.dataset), asked)


async def browsed(service: Service, served: ServedDataset, asked: Browse) -> Response:
    """List the rows of a dataset that meet the filters."""
    wanted = service.wanted(asked, asked.k)
    given = (served, wanted, service.content_policy, asked)
    return await service.conditions.within(served, service.work.search, _browse, *given)


@router.get("/datasets/{name}/map", response_model=Mapped, responses=documented(404))
async def dataset_map(request: Request, name: str, asked: Annotated[Filters, Query()]) -> Response:
    """Keys and places of at most 10,000 rows; similar images are near each other."""
    service: Service = request.app.state.service
    served = service.registry.get(name)
    given = (served, service.wanted(asked, 1), service.content_policy)
    return await service.conditions.within(served, service.work.disk, _map, *given)


def _browse(
    served: ServedDataset, wanted: Wanted, content_policy: ContentPolicy, asked: Browse
) -> Response:
    positions, skip = _allowed(served, wanted), asked.skip
    total = len(positions)
    after = None
    if asked.cursor is not None:
        if skip:
            raise UserError(f"skip is {skip} beside a cursor; give one of them")
        after = cursors.read(asked.cursor, asked, served.name, served.version)
    if asked.sort is not None:
        positions = served.values.sorted(positions, *sorting(asked.sort))
    if after is not None:
        positions = positions[_first(positions, after, asked) :]
    if _judges(wanted, content_policy):
        positions = _first_harmless(served, positions, wanted, content_policy, skip + wanted.k)
    page = positions[skip : skip + wanted.k]
    following = None
    if len(page) == wanted.k:
        last = PageCursor(int(page[-1]), (after.given if after else skip) + len(page))
        following = cursors.write(last, asked, served.name, served.version)
    return answer(
        {
            "dataset": served.name,
            "index_version": served.version,
            "total": total,
            "rows": rows(served, served.hits(page), asked.columns),
            "next": following,
        }
    )


def _first(positions: Positions, after: PageCursor, asked: Browse) -> int:
    """The place after the row that was returned last, which may have been removed since."""
    if asked.sort is None:
        return int(np.searchsorted(positions, after.position, side="right"))
    at = np.flatnonzero(positions == after.position)
    return int(at[0]) + 1 if at.size else after.given - 1


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
