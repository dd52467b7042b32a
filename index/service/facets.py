"""/v1: how rows are spread over columns: histograms of numbers, the most frequent texts.

Counts cover the rows that meet the filters or, with a query, its nearest rows. Judgements of
vectors (a safety head, violence prompts) count only with a query. Cost: one scan per column, once;
then, at a million rows, some 5 ms (`python -m bench.facets`).
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from starlette.responses import Response

from frenchcat.index.service.column_values import usual_of
from frenchcat.index.service.models.facets import FacetsRequest, FacetsResponse
from frenchcat.index.service.models.search import Search
from frenchcat.index.service.problems import documented
from frenchcat.index.service.rows import answer
from frenchcat.index.service.search import Wanted

if TYPE_CHECKING:
    from frenchcat.index.search import Positions
    from frenchcat.index.service.served_dataset import ServedDataset
    from frenchcat.index.service.service import Service

router = APIRouter(prefix="/v1", tags=["search"])


@router.post(
    "/datasets/{name}/facets", response_model=FacetsResponse, responses=documented(404, 413)
)
async def facets(request: Request, name: str, asked: FacetsRequest) -> Response:
    """Show how the rows that meet the filters, or a query's nearest, are spread over columns."""
    service: Service = request.app.state.service
    served = service.registry.get(name)
    begun = perf_counter()
    if asked.asks:
        fields = {"facets", "bins", "top"}
        query = Search.model_validate(asked.model_dump(exclude=fields, exclude_none=True))
        vector = await service.queries.search(served, query)
        vector = service.content_policy.rated(vector, query.aesthetic_score, query.aesthetic_weight)
        found = await service.find(served, vector, service.wanted(query, query.k))
        return await service.work.disk(_answer, served, asked, found.positions, begun)
    given = (served, asked, service.wanted(asked, 1), begun)
    return await service.conditions.within(served, service.work.disk, _counted, *given)


def _counted(served: ServedDataset, asked: FacetsRequest, wanted: Wanted, begun: float) -> Response:
    return _answer(served, asked, served.allowed(wanted.view), begun)


def _answer(
    served: ServedDataset, asked: FacetsRequest, positions: Positions | None, begun: float
) -> Response:
    names = asked.facets
    if names is None:
        names = usual_of(served.columns)
    found = served.values.facets(names, positions, asked.bins, asked.top)
    return answer(
        {
            "dataset": served.name,
            "index_version": served.version,
            "rows": len(served) if positions is None else len(positions),
            "facets": found,
            "took_ms": round((perf_counter() - begun) * 1000, 3),
        }
    )
