"""clip-retrieval's routes, answered as its back end (2.45.0) does, so that its clients work.

POST /knn-service, POST /metadata, GET /indices-list; its /metrics, /metrics-summary and
/config.json are in operations.py. Bodies are JSON whatever their Content-Type says.

What differs, on purpose: as many rows come back as were asked for, wherever there are as many;
nulls are left out instead of NaN; `image` is the stored file's bytes where it is a JPEG; an empty
or null aesthetic score is not an error; `use_mclip` changes nothing, since a dataset has one model;
a mistake is answered with a 4xx and a reason.
"""

from __future__ import annotations

import base64
import contextlib
import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Request
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, Field, ValidationError
from starlette.responses import JSONResponse, Response

from frenchcat.curate.errors import UserError
from frenchcat.curate.json_text import json_text, plain
from frenchcat.curate.list_names import told_apart
from frenchcat.index.search import Hit
from frenchcat.index.service import media
from frenchcat.index.service.metrics import FULL
from frenchcat.index.service.problems import Refused, documented, said
from frenchcat.index.service.queries import from_base64, vector
from frenchcat.index.service.rows import answer
from frenchcat.index.service.search import NearestRows, Wanted
from frenchcat.index.service.work import stop_if_unwanted
from frenchcat.index.visible import View

if TYPE_CHECKING:
    from frenchcat.index.service.pixels import PixelBudget
    from frenchcat.index.service.served_dataset import ServedDataset
    from frenchcat.index.service.service import Service

IMAGES_UP_TO = 200
"""`image` is left out of answers with more rows: a download of 10,000 would hold a gigabyte."""

router = APIRouter(tags=["clip-retrieval"])


def _none_if_empty(value: Any) -> Any:
    return None if value == "" else value


class Knn(BaseModel):
    """The body of /knn-service. Unknown names are ignored, as upstream does."""

    text: Annotated[str | None, Field(max_length=2_000)] = None
    image: str | None = None
    image_url: Annotated[str | None, Field(max_length=4_096)] = None
    embedding_input: Annotated[list[float] | None, Field(max_length=8_192)] = None
    modality: Literal["image", "text"]
    num_images: int = Field(ge=1, le=10_000)
    num_result_ids: int | None = Field(None, ge=1, le=10_000)
    indice_name: Annotated[str, Field(max_length=200)]
    use_mclip: bool | None = False
    deduplicate: bool | None = False
    use_safety_model: bool | None = False
    use_violence_detector: bool | None = False
    aesthetic_score: Annotated[int | None, BeforeValidator(_none_if_empty)] = None
    aesthetic_weight: Annotated[
        float | None, Field(ge=-100, le=100), BeforeValidator(_none_if_empty)
    ] = None


class Ids(BaseModel):
    """The body of /metadata."""

    ids: list[Annotated[int, Field(ge=-(2**63), lt=2**63)]] = Field(max_length=10_000)
    indice_name: Annotated[str, Field(max_length=200)]


def _body_of(model: type[BaseModel]) -> dict[str, Any]:
    """The OpenAPI of a body that is parsed by hand."""
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": model.model_json_schema()}},
        }
    }


@router.get("/indices-list")
async def indices_list(request: Request) -> list[str]:
    """List the names of the datasets."""
    names: list[str] = request.app.state.service.registry.names
    return names


@router.post("/knn-service", responses=documented(403, 404, 413), openapi_extra=_body_of(Knn))
async def knn_service(request: Request) -> Response:
    """Find the nearest rows to a text, an image, an image's address or a vector."""
    service: Service = request.app.state.service
    asked = await _read(request, Knn)
    with service.metrics.time(FULL):
        served = service.registry.get(asked.indice_name)
        wanted = Wanted(
            k=min(asked.num_result_ids or asked.num_images, service.settings.max_hits),
            by=asked.modality,
            view=View(safe=bool(asked.use_safety_model), duplicates=not asked.deduplicate),
            prompts=service.content_policy.violence if asked.use_violence_detector else None,
        )
        query = await _query(service, served, asked)
        query = service.content_policy.rated(query, asked.aesthetic_score, asked.aesthetic_weight)
        found = await service.find(served, query, wanted)
        return await service.work.search(_answer, service, served, found, asked.num_images)


@router.post("/metadata", responses=documented(404, 413), openapi_extra=_body_of(Ids))
async def metadata(request: Request) -> Response:
    """Show the columns of rows; ids that are unknown or removed are left out."""
    service: Service = request.app.state.service
    asked = await _read(request, Ids)
    if not asked.ids:
        return JSONResponse([])
    served = service.registry.get(asked.indice_name)
    return await service.work.disk(_metadata, service, served, asked.ids)


async def _read(request: Request, model: type[Any]) -> Any:
    body = await request.body()
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(400, "the body is not JSON") from None
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise Refused(422, said(error)) from None


async def _query(service: Service, served: ServedDataset, asked: Knn) -> NDArray[np.float32]:
    """The query's vector; of several kinds upstream's first one counts."""
    if asked.text:
        return await service.queries.text(served, asked.text)
    if asked.image is not None:
        return await service.queries.picture(served, from_base64(asked.image))
    if asked.image_url is not None:
        return await service.queries.address(served, asked.image_url)
    if asked.embedding_input is not None:
        return vector(asked.embedding_input, served)
    raise UserError("give one of text, image, image_url, embedding_input")


def _answer(service: Service, served: ServedDataset, found: NearestRows, images: int) -> Response:
    """The first `images` rows with their columns, the others with id and similarity only."""
    ids = served.searcher.ids(found.positions).tolist()
    similarities = found.similarities.tolist()
    with service.metrics.time("metadata_get_time"):
        first = [
            json_text(
                {
                    **_row(served, hit, len(ids[:images]), service.thumbnails.pixels),
                    "id": id_,
                    "similarity": similarity,
                }
            )
            for hit, id_, similarity in zip(
                served.hits(found.positions[:images]), ids, similarities, strict=False
            )
        ]
    rest = zip(ids[images:], similarities[images:], strict=True)
    first += [f'{{"id": {id_}, "similarity": {similarity}}}' for id_, similarity in rest]
    text = "[" + ", ".join(first) + "]"
    return Response(text.encode(), media_type="application/json")


def _metadata(service: Service, served: ServedDataset, ids: list[int]) -> Response:
    with service.metrics.time("metadata_get_time"):
        places = served.searcher.positions(ids)
        known = [id_ for id_, at in zip(ids, places.tolist(), strict=True) if at >= 0]
        rows = [
            {"id": id_, "metadata": _row(served, hit, len(ids), service.thumbnails.pixels)}
            for id_, hit in zip(known, served.hits(places[places >= 0]), strict=True)
        ]
    return answer(rows)


def _row(served: ServedDataset, hit: Hit, rows: int, pixels: PixelBudget) -> dict[str, Any]:
    """A row's columns without nulls, with clip-retrieval's names; its image as base64."""
    stop_if_unwanted()
    called = told_apart(hit.columns, ("image",))
    columns = {called[name]: value for name, value in hit.columns.items()}
    row = {"image_path": hit.key, "caption": hit.caption, "url": hit.url, **columns}
    row = {name: plain(value) for name, value in row.items() if plain(value) is not None}
    if rows <= IMAGES_UP_TO:
        with contextlib.suppress(Refused, OSError):  # a broken image does not lose the row
            row["image"] = base64.b64encode(_jpeg(served, hit, pixels)).decode()
    return row


def _jpeg(served: ServedDataset, hit: Hit, pixels: PixelBudget) -> bytes:
    data = media.read(served, hit)
    if data[:3] == b"\xff\xd8\xff":
        return data
    with pixels.holding(data):
        return media.shrunk(data, 10_000)
