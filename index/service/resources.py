"""/v1/datasets/{name}/…: a dataset's resources, for programs: the address names the dataset.

Search by an address that can be linked, by a body, in batches; rows, images, vectors, facets.
Answers continue with a cursor, which has no end. The routes without a dataset in their path
(api.py, browse.py, media.py) answer the same for the first dataset or that of the body.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import numpy as np
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel
from starlette.responses import Response

from frenchcat.curate.errors import UserError
from frenchcat.index.service import api, browse, media
from frenchcat.index.service.dataset_registry import check_address
from frenchcat.index.service.models.browse import Browse, Browsed, LinkedBrowse
from frenchcat.index.service.models.datasets import Columns, DatasetCounts, DatasetInfo
from frenchcat.index.service.models.fields import By
from frenchcat.index.service.models.rows import RowResponse
from frenchcat.index.service.models.search import (
    BatchResponse,
    LinkedSearch,
    PictureSearch,
    Search,
    SearchBatch,
    SearchResponse,
)
from frenchcat.index.service.models.vectors import Embed, Embedded, Vectors, VectorsOf
from frenchcat.index.service.problems import documented
from frenchcat.index.service.rows import answer

if TYPE_CHECKING:
    from frenchcat.index.service.served_dataset import ServedDataset
    from frenchcat.index.service.service import Service

router = APIRouter(prefix="/v1/datasets/{name}", tags=["datasets"])


@router.get("", response_model=DatasetInfo, responses=documented(404))
async def dataset(request: Request, name: str) -> DatasetInfo:
    """Describe one dataset."""
    service: Service = request.app.state.service
    return await service.work.disk(api.about, service, service.registry.get(name))


@router.get("/info", response_model=DatasetCounts, responses=documented(404))
async def dataset_info(request: Request, name: str) -> Response:
    """Rows counted by what became of them: failed, kept, dropped, each by reason."""
    service: Service = request.app.state.service
    served = service.registry.get(name)
    return await service.work.disk(lambda: answer({**served.info().as_dict(), "name": name}))


@router.get("/search", response_model=SearchResponse, responses=documented(403, 404, 409))
async def search_link(
    request: Request, name: str, asked: Annotated[LinkedSearch, Query()]
) -> Response:
    """Find the nearest rows, by an address that can be linked."""
    return await _searched(request.app.state.service, name, asked.search())


@router.post("/search", response_model=SearchResponse, responses=documented(403, 404, 409, 413))
async def search_dataset(request: Request, name: str, asked: Search) -> Response:
    """Find the nearest rows, nearest first."""
    return await _searched(request.app.state.service, name, asked)


@router.post(
    "/search/batch", response_model=BatchResponse, responses=documented(403, 404, 409, 413)
)
async def search_batch(request: Request, name: str, asked: SearchBatch) -> Response:
    """Run several searches; their texts are encoded together."""
    service: Service = request.app.state.service
    if (total := sum(query.k for query in asked.queries)) > service.settings.max_hits:
        raise UserError(
            f"the queries ask for {total} hits; this service gives {service.settings.max_hits} at "
            "a time; send fewer queries or a smaller k"
        )
    pages = await asyncio.gather(*(_ranked(service, name, query) for query in asked.queries))
    return await service.work.search(lambda: answer({"answers": [page.fields() for page in pages]}))


@router.post(
    "/search/picture",
    response_model=SearchResponse,
    responses=documented(403, 404, 413),
    openapi_extra=api.PICTURE_BODY,
)
async def search_dataset_by_picture(
    request: Request, name: str, asked: Annotated[PictureSearch, Query()]
) -> Response:
    """Find the rows nearest to the image that is the request's body."""
    service: Service = request.app.state.service
    begun = perf_counter()
    served = _served(service, name, asked)
    vector = await service.queries.picture(served, await request.body())
    return await api.found(service, served, vector, asked, 0, begun)


@router.get("/rows", response_model=Browsed, responses=documented(404, 409))
async def rows_link(
    request: Request, name: str, asked: Annotated[LinkedBrowse, Query()]
) -> Response:
    """List the rows that meet the filters, by an address that can be linked."""
    return await rows(request, name, asked.browse())


@router.post("/rows", response_model=Browsed, responses=documented(404, 409, 413))
async def rows(request: Request, name: str, asked: Browse) -> Response:
    """List the rows that meet the filters, and count them."""
    service: Service = request.app.state.service
    return await browse.browsed(service, _served(service, name, asked), asked)


@router.get("/rows/{key}", response_model=RowResponse, responses=documented(404))
async def row_of_dataset(request: Request, name: str, key: str) -> Response:
    """Show a row's columns, the list's own and every stage's."""
    return await api.one_row(request, name, key)


@router.get("/rows/{key}/duplicates", response_model=list[RowResponse], responses=documented(404))
async def row_duplicates(request: Request, name: str, key: str) -> Response:
    """Show the rows of a row's cluster, itself first."""
    return await api.duplicates(request, name, key)


@router.get("/rows/{key}/vector", response_model=Vectors, responses=documented(404))
async def row_vector(request: Request, name: str, key: str, by: By = "image") -> Response:
    """The stored vector of a row."""
    return await vectors(request, name, VectorsOf(keys=[key], by=by))


@router.get(
    "/pictures/{key}",
    response_class=Response,
    responses={**documented(404), **media.CONTENT},
)
async def row_picture(request: Request, name: str, key: str) -> Response:
    """The stored image of a row."""
    return await media.picture(request, name, key)


@router.get(
    "/thumbnails/{key}",
    response_class=Response,
    responses={**documented(404), **media.CONTENT, 200: {"content": {"image/jpeg": {}}}},
)
async def row_thumbnail(request: Request, name: str, key: str, size: media.Size = 256) -> Response:
    """A small JPEG of a row's image."""
    return await media.thumbnail(request, name, key, size)


@router.post("/vectors", response_model=Vectors, responses=documented(404, 413))
async def vectors(request: Request, name: str, asked: VectorsOf) -> Response:
    """Stored vectors of rows, scaled to length 1."""
    service: Service = request.app.state.service
    served = service.registry.get(name)
    return await service.work.disk(_vectors, served, asked)


@router.post("/embed", response_model=Embedded, responses=documented(403, 404, 413))
async def embed(request: Request, name: str, asked: Embed) -> Response:
    """Encode a text, an image or a sum as a vector of the dataset's model."""
    service: Service = request.app.state.service
    served = service.registry.get(name)
    vector = await service.queries.search(served, asked)
    found = {"dataset": served.name, "model": served.model, "vector": vector.tolist()}
    return await service.work.search(answer, found)


@router.get("/columns", response_model=Columns, responses=documented(404))
async def dataset_columns(request: Request, name: str) -> Response:
    """List what a condition may name."""
    return await api.columns(request, name)


async def _searched(service: Service, name: str, asked: Search) -> Response:
    page = await _ranked(service, name, asked)
    return await service.work.search(lambda: answer(page.fields()))


async def _ranked(service: Service, name: str, asked: Search) -> api.RankedPage:
    begun = perf_counter()
    served = _served(service, name, asked)
    vector = await service.queries.search(served, asked)
    return await api.ranked_page(service, served, vector, asked, asked.skip, begun)


def _served(service: Service, name: str, asked: BaseModel) -> ServedDataset:
    """The dataset of the path. Raises `Refused` if the body names another one."""
    check_address(name, getattr(asked, "dataset", None))
    return service.registry.get(name)


def _vectors(served: ServedDataset, asked: VectorsOf) -> Response:
    positions = np.array([served.position(key) for key in asked.keys], np.int64)
    found = served.searcher.vectors(positions, asked.by)
    found = found / np.linalg.norm(found, axis=1, keepdims=True)
    return answer(
        {
            "dataset": served.name,
            "model": served.model,
            "keys": asked.keys,
            "vectors": found.astype(float).round(7).tolist(),
        }
    )
