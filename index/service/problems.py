"""Every mistake -> a status and one line of JSON: ``{"error": "what, the value and the fix"}``.

400 a value that does not do, 401 no key, 403 not allowed here, 404 no such thing, 409 the dataset
is being written, a name is taken or a removal is not what was shown, 413 too much, 415 not JSON,
422 a body of another form, 429 too often, 503 too slow, not ready, or a dataset that cannot be
written, 507 a full disk.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from frenchcat.curate.errors import AlreadyThere, Busy, NoSpace, Unwritable, UserError
from frenchcat.index.service.rows import StrictJSON

_log = logging.getLogger("frenchcat.serve")
_SHOWN = 80  # characters of a value that is quoted


class Problem(BaseModel):
    """What was wrong."""

    error: str


class Refused(Exception):
    """A request that is answered with a status of its own."""

    def __init__(self, status: int, error: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(error)
        self.status, self.headers = status, dict(headers or {})


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """`responses` of a route: which problems it answers with."""
    return {status: {"model": Problem} for status in (400, 422, *statuses)}


def problem(status: int, error: str, headers: Mapping[str, str] | None = None) -> StrictJSON:
    """The answer."""
    return StrictJSON({"error": error}, status, headers=dict(headers or {}))


def handle_problems(app: FastAPI) -> None:
    """Have an application answer so, whatever is raised."""
    app.add_exception_handler(UserError, _user_error)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


def said(error: ValidationError | RequestValidationError) -> str:
    """The first thing that does not fit, in one line."""
    first = error.errors()[0]
    parts = [str(part) for part in first["loc"] if part not in ("body", "query", "path")]
    place = ".".join(parts) or "the body"
    text = str(first["msg"])
    message = text[0].lower() + text[1:]
    value = _quoted(first.get("input"))
    return f"{place}: {message}" + (f" (it is {value})" if value else "")


def _quoted(value: Any) -> str:
    if value is None or isinstance(value, dict | list):
        return ""
    try:
        return repr(value)[:_SHOWN]
    except ValueError:  # a number of thousands of digits
        return ""


def _user_error(request: Request, error: Exception) -> StrictJSON:
    statuses = {AlreadyThere: 409, Busy: 409, NoSpace: 507, Unwritable: 503}
    found = (status for kind, status in statuses.items() if isinstance(error, kind))
    return problem(next(found, 400), str(error))


def _refused(request: Request, error: Exception) -> StrictJSON:
    assert isinstance(error, Refused)
    return problem(error.status, str(error), error.headers)


def _invalid(request: Request, error: Exception) -> StrictJSON:
    assert isinstance(error, RequestValidationError)
    return problem(422, said(error))


def _http(request: Request, error: Exception) -> StrictJSON:
    assert isinstance(error, HTTPException)
    text = str(error.detail)
    if error.status_code == 404 and text == "Not Found":
        text = f"there is nothing at {request.url.path}; /openapi.json lists what there is"
    if error.status_code == 405:
        text = f"{request.url.path} does not take {request.method}; see /openapi.json"
    return problem(error.status_code, text, error.headers)


def _unexpected(request: Request, error: Exception) -> StrictJSON:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem(500, "the service failed; its log says why")
