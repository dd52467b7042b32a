"""Health, metrics, and the configuration of the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from frenchcat.index.service.keys import public
from frenchcat.index.service.models.health import Health
from frenchcat.index.service.problems import Refused, documented

if TYPE_CHECKING:
    from frenchcat.index.service.service import Service

router = APIRouter(tags=["operations"])


@router.get("/healthz")
@public
async def healthz() -> Health:
    """Check whether the process answers."""
    return Health(status="ok")


@router.get("/readyz", responses=documented(503))
@public
async def readyz(request: Request) -> Health:
    """Check whether queries can be answered: datasets are open, and the service is not stopping."""
    service = request.app.state.service
    if not service.ready:
        raise Refused(503, "the service is starting or stopping", {"Retry-After": "2"})
    rows = {served.name: len(served) for served in service.registry.all_served()}
    return Health(status="ready", detail={"rows": rows})


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Prometheus' numbers; clip-retrieval's histograms by its names, and ours."""
    text = request.app.state.service.metrics.exposition()
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/metrics-summary", response_class=PlainTextResponse)
async def metrics_summary(request: Request) -> Response:
    """Show how an average request's time is spent."""
    return PlainTextResponse(request.app.state.service.metrics.summary())


@router.get("/config.json", response_class=JSONResponse)
@public
async def config(request: Request) -> dict[str, Any]:
    """clip-retrieval's three settings of a page, and those that ours needs besides."""
    service = request.app.state.service
    settings = service.settings
    return {
        "defaultBackend": str(request.base_url),
        "defaultIndex": service.registry.names[0],
        "urlColumn": settings.url_column,
        "frenchcat": {
            "datasets": service.registry.names if settings.api_key_file is None else [],
            "asksForKey": settings.api_key_file is not None,
            "mayRemove": settings.allow_remove,
            "maySelect": settings.may_select,
            "mayDecide": settings.may_decide,
            "mayAskUsed": service.may_ask_used,
            "maxHits": settings.max_hits,
            "remotePictures": settings.remote_pictures,
            "ratings": service.content_policy.ratings is not None,
            "contact": settings.contact,
            "draw": _draw(service),
        },
    }


def _draw(service: Service) -> dict[str, int] | None:
    """How much may be drawn; None: nothing."""
    if service.draw_queue is None:
        return None
    settings = service.settings
    return {"pictures": settings.draw_pictures, "steps": settings.draw_steps}
