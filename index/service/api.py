"""/v1: which datasets are served, and what they contain: search, rows, columns, duplicates."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from frenchcat.curate.errors import UserError
from frenchcat.curate.expression import FUNCTIONS
from frenchcat.index.service import cursors
from frenchcat.index.service.cursors import PageCursor
from frenchcat.index.service.models.datasets import Columns, DatasetInfo
from frenchcat.index.service.models.rows import RowResponse
from frenchcat.index.service.models.search import (
    PictureSearch,
    Search,
    SearchResponse,
    SearchSeveral,
    SeveralResponse,
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
PICTURE_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in ("image/jpeg", "image/png", "image/webp", "application/octet-stream")
        },
    }
}
POOL = 1000  # nearest rows of a query that are sorted by a column
MOST_LIKE = 200  # rows of a cluster that are shown


@router.get("/datasets")
async def datasets(request: Request) -> list[DatasetInfo]:
    """List the datasets that are served."""
    service: Service = request.app.state.service
    found = service.registry.all_served()
    return [await service.work.disk(about, service, served) for served in found]


@router.post("/search", response_model=SearchResponse, responses=documented(403, 404, 413))
async def search(request: Request, asked: Search) -> Response:
    """Find the k nearest rows, nearest first; also says how many nearer ones were left out
    and why.
    """
    service: Service = request.app.state.service
    begun = perf_counter()
    served = service.registry.get(asked.dataset)
    vector = await service.queries.search(served, asked)
    return await found(service, served, vector, asked, asked.skip, begun)


@router.post(
    "/search/picture",
    response_model=SearchResponse,
    responses=documented(403, 404, 413),
    openapi_extra=PICTURE_BODY,
)
async def search_picture(request: Request, asked: Annotated[PictureSearch, Query()]) -> Response:
    """Find the rows nearest to the image that is the request's body."""
    service: Service = request.app.state.service
    begun = perf_counter()
    served = service.registry.get(asked.dataset)
    vector = await service.queries.picture(served, await request.body())
    return await found(service, served, vector, asked, 0, begun)


@router.post(
    "/search/datasets", response_model=SeveralResponse, responses=documented(403, 404, 413)
)
async def search_several(request: Request, asked: SearchSeveral) -> Response:
    """Find the k nearest rows of several datasets with the same model, nearest first."""
    service: Service = request.app.state.service
    begun = perf_counter()
    names = dict.fromkeys(asked.datasets or service.registry.names)
    several = [service.registry.get(name) for name in names]
    _check_several(several, asked)
    query = Search.model_validate(
        asked.model_dump(exclude={"datasets", "skip"}, exclude_none=True)
    ).model_copy(update={"k": asked.k + asked.skip})
    if query.k > service.settings.max_hits:
        raise UserError(f"k + skip is {query.k}; at most {service.settings.max_hits} here")
    vector = await service.queries.search(several[0], query)
    vector = service.content_policy.rated(vector, asked.aesthetic_score, asked.aesthetic_weight)
    encoded = perf_counter()
    wanted = service.wanted(query, query.k)
    ranked = await asyncio.gather(*(service.find(served, vector, wanted) for served in several))
    times = {"encode": encoded - begun, "search": perf_counter() - encoded}
    return await service.work.search(_merged, several, ranked, asked, times)


@router.get("/columns", response_model=Columns, responses=documented(404))
async def columns(request: Request, dataset: Name = None) -> Response:
    """List what a condition may name, for completion while typing."""
    served = request.app.state.service.registry.get(dataset)
    columns = await request.app.state.service.work.disk(lambda: served.columns)
    there = [{"name": name, "type": kind} for name, kind in columns.items()]
    return answer({"columns": there, "functions": sorted(FUNCTIONS)})


@router.get("/rows/{dataset}/{key}", response_model=RowResponse, responses=documented(404))
async def one_row(request: Request, dataset: str, key: str) -> Response:
    """Show a row's columns: caption, address, licence, creator, whatever the list has."""
    service: Service = request.app.state.service
    served = service.registry.get(dataset)
    return await service.work.disk(lambda: answer(rows(served, [served.row(key)])[0]))


@router.get(
    "/duplicates/{dataset}/{key}", response_model=list[RowResponse], responses=documented(404)
)
async def duplicates(request: Request, dataset: str, key: str) -> Response:
    """Show the rows of a row's cluster, itself first."""
    service: Service = request.app.state.service
    served = service.registry.get(dataset)
    return await service.work.disk(_cluster, served, key)


@dataclass(frozen=True)
class RankedPage:
    """The nearest rows of a query, before their columns are read."""

    served: ServedDataset
    found: NearestRows
    skip: int
    after: PageCursor | None
    times: dict[str, float]
    asked: PictureSearch | Search

    def fields(self) -> dict[str, Any]:
        """The answer with the rows of the hits."""
        served, found, asked, after = self.served, self.found, self.asked, self.after
        first = self.skip if after is None else _first(found, after)
        positions = found.positions[first : first + asked.k]
        similarities = found.similarities[first : first + asked.k].tolist()
        hits = rows(served, served.hits(positions), asked.columns)
        for hit, similarity in zip(hits, similarities, strict=True):
            hit["similarity"] = round(similarity, 6)
        following = None
        if isinstance(asked, Search) and len(hits) == asked.k:
            given = (after.given if after else self.skip) + len(hits)
            last = PageCursor(int(positions[-1]), given, similarities[-1])
            following = cursors.write(last, asked, served.name, served.version)
        return {
            "dataset": served.name,
            "index_version": served.version,
            "hits": hits,
            "hidden": found.hidden,
            "took_ms": {name: round(sec * 1000, 3) for name, sec in self.times.items()},
            "next": following,
        }


async def found(
    service: Service,
    served: ServedDataset,
    vector: Unit,
    asked: PictureSearch | Search,
    skip: int,
    begun: float,
) -> Response:
    """The answer to a query whose vector is known."""
    page = await ranked_page(service, served, vector, asked, skip, begun)
    return await service.work.search(lambda: answer(page.fields()))


async def ranked_page(
    service: Service,
    served: ServedDataset,
    vector: Unit,
    asked: PictureSearch | Search,
    skip: int,
    begun: float,
) -> RankedPage:
    """Rank for a query whose vector is known. Raises `UserError` beyond `max_hits`."""
    if asked.k + skip > service.settings.max_hits:
        raise UserError(
            f"k + skip is {asked.k + skip}; this service gives at most "
            f"{service.settings.max_hits} hits, and with a cursor more, page by page"
        )
    after = _cursor(served, asked)
    if after is not None:
        skip = after.given
    count = asked.k + skip
    vector = service.content_policy.rated(vector, asked.aesthetic_score, asked.aesthetic_weight)
    encoded = perf_counter()
    wanted = service.wanted(asked, count)
    sort = asked.sort if isinstance(asked, Search) else None
    if sort is not None and isinstance(asked, Search):
        # As many for each page: with more, other rows might come first.
        wanted = service.wanted(asked, min(asked.pool or POOL, service.settings.max_hits))
    ranked = await service.find(served, vector, wanted)
    if sort is not None:
        ranked = await service.work.disk(_sorted, served, ranked, sort, count)
    times = {"encode": encoded - begun, "search": perf_counter() - encoded}
    return RankedPage(served, ranked, skip, after, times, asked)


def _cursor(served: ServedDataset, asked: PictureSearch | Search) -> PageCursor | None:
    if not isinstance(asked, Search) or asked.cursor is None:
        return None
    if asked.skip:
        raise UserError(f"skip is {asked.skip} beside a cursor; give one of them")
    return cursors.read(asked.cursor, asked, served.name, served.version)


def _check_several(several: list[ServedDataset], asked: SearchSeveral) -> None:
    """Raise `UserError` for datasets that cannot be ranked together, and for parts of only one."""
    if other := next((one for one in several if one.weights != several[0].weights), None):
        raise UserError(
            f"{several[0].name} is of {several[0].model} and {other.name} of {other.model}: "
            "similarities of two models do not compare; search them one by one"
        )
    for name in ("cursor", "sort", "dataset"):
        if getattr(asked, name) is not None:
            raise UserError(f"{name} is of one dataset; search {asked.datasets} one by one")


def _merged(
    several: list[ServedDataset],
    ranked: list[NearestRows],
    asked: SearchSeveral,
    times: dict[str, float],
) -> Response:
    similarities = np.concatenate([one.similarities for one in ranked])
    owners = np.repeat(np.arange(len(several)), [len(one.positions) for one in ranked])
    positions = np.concatenate([one.positions for one in ranked])
    best = np.argsort(-similarities, kind="stable")[asked.skip : asked.skip + asked.k]
    hits: list[dict[str, Any]] = [{} for _ in best]
    for owner, served in enumerate(several):
        places = np.flatnonzero(owners[best] == owner)
        found = rows(served, served.hits(positions[best[places]]), asked.columns)
        for place, hit in zip(places.tolist(), found, strict=True):
            similarity = round(float(similarities[best[place]]), 6)
            hits[place] = {**hit, "similarity": similarity, "dataset": served.name}
    return answer(
        {
            "datasets": [served.name for served in several],
            "hits": hits,
            "took_ms": {name: round(sec * 1000, 3) for name, sec in times.items()},
        }
    )


def _sorted(served: ServedDataset, found: NearestRows, sort: str, count: int) -> NearestRows:
    """The first `count` of the nearest rows, sorted by a column."""
    places = np.argsort(found.positions)
    positions = served.values.sorted(found.positions, *sorting(sort))[:count]
    at = places[np.searchsorted(found.positions, positions, sorter=places)]
    return replace(found, positions=positions, similarities=found.similarities[at])


def _first(found: NearestRows, after: PageCursor) -> int:
    """The place after the row that was returned last, which may have been removed since."""
    at = np.flatnonzero(found.positions == after.position)
    if at.size:
        return int(at[0]) + 1
    return min(after.given, int((found.similarities > after.similarity).sum()))


def _cluster(served: ServedDataset, key: str) -> Response:
    return answer(rows(served, served.cluster(key)[:MOST_LIKE]))


def about(service: Service, served: ServedDataset) -> DatasetInfo:
    """The description of a dataset that is served."""
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
