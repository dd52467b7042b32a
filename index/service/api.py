"""/v1: which datasets there are, and what is in them: search, rows, columns, duplicates."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from frenchcat.curate.errors import UserError
from frenchcat.curate.expression import FUNCTIONS
from frenchcat.index.service.models import (
    Columns,
    DatasetInfo,
    PictureSearch,
    RowResponse,
    Search,
    SearchResponse,
)
from frenchcat.index.service.problems import documented
from frenchcat.index.service.rows import answer, rows, sorting
from frenchcat.index.terms import Unit

if TYPE_CHECKING:
    from frenchcat.index.service.search import NearestRows
    from frenchcat.index.service.served_dataset import ServedDataset
    from frenchcat.index.service.service import Service

router = APIRouter(prefix="/v1", tags=["search"])
Name = Annotated[str | None, Query(max_length=200, description="None: the first one served.")]
POOL = 1000  # nearest rows of a query that are sorted by a column
MOST_LIKE = 200  # rows of a cluster that are shown


@router.get("/datasets")
async def datasets(request: Request) -> list[DatasetInfo]:
    """What is served."""
    service: Service = request.app.state.service
    found = service.registry.all_served()
    return [await service.work.disk(_about, service, served) for served in found]


@router.post("/search", response_model=SearchResponse, responses=documented(403, 404, 413))
async def search(request: Request, asked: Search) -> Response:
    """The k nearest rows, nearest first, and how many nearer ones were left out and why."""
    service: Service = request.app.state.service
    begun = perf_counter()
    served = service.registry.get(asked.dataset)
    vector = await service.queries.search(served, asked)
    return await _found(service, served, vector, asked, asked.skip, begun)


@router.post(
    "/search/picture",
    response_model=SearchResponse,
    responses=documented(403, 404, 413),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                kind: {"schema": {"type": "string", "format": "binary"}}
                for kind in ("image/jpeg", "image/png", "image/webp", "application/octet-stream")
            },
        }
    },
)
async def search_picture(request: Request, asked: Annotated[PictureSearch, Query()]) -> Response:
    """The rows nearest to the picture that is the request's body."""
    service: Service = request.app.state.service
    begun = perf_counter()
    served = service.registry.get(asked.dataset)
    vector = await service.queries.picture(served, await request.body())
    return await _found(service, served, vector, asked, 0, begun)


@router.get("/columns", response_model=Columns, responses=documented(404))
async def columns(request: Request, dataset: Name = None) -> Response:
    """What a condition may name, to complete it while it is typed."""
    served = request.app.state.service.registry.get(dataset)
    columns = await request.app.state.service.work.disk(lambda: served.columns)
    there = [{"name": name, "type": kind} for name, kind in columns.items()]
    return answer({"columns": there, "functions": sorted(FUNCTIONS)})


@router.get("/rows/{dataset}/{key}", response_model=RowResponse, responses=documented(404))
async def one_row(request: Request, dataset: str, key: str) -> Response:
    """A row's columns: caption, address, licence, creator, whatever the list brought."""
    service: Service = request.app.state.service
    served = service.registry.get(dataset)
    return await service.work.disk(lambda: answer(rows(served, [served.row(key)])[0]))


@router.get(
    "/duplicates/{dataset}/{key}", response_model=list[RowResponse], responses=documented(404)
)
async def duplicates(request: Request, dataset: str, key: str) -> Response:
    """The rows of a row's cluster, itself first."""
    service: Service = request.app.state.service
    served = service.registry.get(dataset)
    return await service.work.disk(_cluster, served, key)


async def _found(
    service: Service,
    served: ServedDataset,
    vector: Unit,
    asked: PictureSearch | Search,
    skip: int,
    begun: float,
) -> Response:
    k, sort = asked.k, asked.sort if isinstance(asked, Search) else None
    if k + skip > service.settings.max_hits:
        raise UserError(
            f"k + skip is {k + skip}; this service gives at most {service.settings.max_hits} hits"
        )
    vector = service.content_policy.rated(vector, asked.aesthetic_score, asked.aesthetic_weight)
    encoded = perf_counter()
    wanted = service.wanted(asked, k + skip)
    if sort is not None and isinstance(asked, Search):
        pool = max(k + skip, asked.pool or POOL)
        wanted = service.wanted(asked, min(pool, service.settings.max_hits))
    found = await service.find(served, vector, wanted)
    if sort is not None:
        found = await service.work.disk(_sorted, served, found, sort, k + skip)
    times = {"encode": encoded - begun, "search": perf_counter() - encoded}
    return await service.work.search(_answer, served, found, skip, times, asked.columns)


def _sorted(served: ServedDataset, found: NearestRows, sort: str, count: int) -> NearestRows:
    """The first `count` of the nearest rows, by a column."""
    places = np.argsort(found.positions)
    positions = served.values.sorted(found.positions, *sorting(sort))[:count]
    at = places[np.searchsorted(found.positions, positions, sorter=places)]
    return replace(found, positions=positions, similarities=found.similarities[at])


def _answer(
    served: ServedDataset,
    found: NearestRows,
    skip: int,
    times: dict[str, float],
    columns: list[str] | None,
) -> Response:
    similarities = found.similarities[skip:].tolist()
    hits = rows(served, served.hits(found.positions[skip:]), columns)
    for hit, similarity in zip(hits, similarities, strict=True):
        hit["similarity"] = round(similarity, 6)
    return answer(
        {
            "dataset": served.name,
            "index_version": served.version,
            "hits": hits,
            "hidden": found.hidden,
            "took_ms": {name: round(sec * 1000, 3) for name, sec in times.items()},
        }
    )


def _cluster(served: ServedDataset, key: str) -> Response:
    return answer(rows(served, served.cluster(key)[:MOST_LIKE]))


def _about(service: Service, served: ServedDataset) -> DatasetInfo:
    filters = served.filters()
    filters["safe"] |= service.content_policy.head is not None
    return DatasetInfo(
        name=served.name,
        rows=len(served),
        model=served.model,
        dimension=served.dimension,
        index_version=served.version,
        filters={
            **filters,
            "violence": service.content_policy.violence is not None,
            "ratings": service.content_policy.ratings is not None,
        },
    )
