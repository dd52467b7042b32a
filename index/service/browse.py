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

from frenchcat.index.service.models import Browse, Browsed, Filters, Mapped
from frenchcat.index.service.problems import documented
from frenchcat.index.service.rows import answer, row
from frenchcat.index.service.search import Wanted
from frenchcat.index.service.taste import Taste, violent

if TYPE_CHECKING:
    from frenchcat.index.search import Positions
    from frenchcat.index.service.service import Service
    from frenchcat.index.service.volume import Volume

router = APIRouter(prefix="/v1", tags=["search"])
_BLOCK = 1024  # rows judged at a time


@router.post("/browse", response_model=Browsed, responses=documented(404, 413))
async def browse(request: Request, asked: Browse) -> Response:
    """The rows that meet a condition, in the order of the index, and how many there are."""
    service: Service = request.app.state.service
    volume = service.shelf.get(asked.dataset)
    wanted = service.wanted(asked, asked.k)
    return await service.work.search(_browse, volume, wanted, service.taste, asked.skip)


@router.get("/datasets/{name}/map", response_model=Mapped, responses=documented(404))
async def dataset_map(request: Request, name: str, asked: Annotated[Filters, Query()]) -> Response:
    """Keys and places of at most 10,000 rows; near pictures lie near each other."""
    service: Service = request.app.state.service
    volume = service.shelf.get(name)
    return await service.work.disk(_map, volume, service.wanted(asked, 1), service.taste)


def _browse(volume: Volume, wanted: Wanted, taste: Taste, skip: int) -> Response:
    positions = _allowed(volume, wanted)
    total = len(positions)
    if _judges(wanted, taste):
        positions = _first_harmless(volume, positions, wanted, taste, skip + wanted.k)
    hits = volume.hits(positions[skip : skip + wanted.k])
    return answer(
        {
            "dataset": volume.name,
            "index_version": volume.version,
            "total": total,
            "rows": [row(volume.name, hit) for hit in hits],
        }
    )


def _map(volume: Volume, wanted: Wanted, taste: Taste) -> Response:
    made = volume.map.get()
    shown = np.isin(made.rows, _allowed(volume, wanted), assume_unique=True)
    if _judges(wanted, taste):
        at = np.flatnonzero(shown)
        shown[at[~_harmless(volume, made.rows[at], wanted, taste)]] = False
    places = made.places[shown].round(4).astype(float)
    keys = volume.keys(made.rows[shown].tolist())
    found: dict[str, Any] = {
        "dataset": volume.name,
        "index_version": volume.version,
        "keys": keys,
        "x": places[:, 0].round(4).tolist(),
        "y": places[:, 1].round(4).tolist(),
        "rows": len(volume),
    }
    return answer(found)


def _allowed(volume: Volume, wanted: Wanted) -> Positions:
    mask = volume.searcher.visible.mask(wanted.view)
    return np.arange(len(volume)) if mask is None else np.flatnonzero(mask)


def _judges(wanted: Wanted, taste: Taste) -> bool:
    return wanted.prompts is not None or (wanted.view.safe and taste.head is not None)


def _harmless(volume: Volume, positions: Positions, wanted: Wanted, taste: Taste) -> Any:
    vectors = volume.searcher.vectors(positions)
    harmless = np.ones(len(positions), bool)
    if wanted.view.safe:
        harmless &= ~taste.unsafe(vectors)
    if wanted.prompts is not None:
        harmless &= ~violent(vectors, wanted.prompts)
    return harmless


def _first_harmless(
    volume: Volume, positions: Positions, wanted: Wanted, taste: Taste, count: int
) -> Positions:
    found, left = [positions[:0]], count
    for start in range(0, len(positions), _BLOCK):
        block = positions[start : start + _BLOCK]
        found.append(block[_harmless(volume, block, wanted, taste)])
        left -= len(found[-1])
        if left <= 0:
            break
    return np.concatenate(found)
