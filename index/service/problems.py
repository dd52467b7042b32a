"""Every mistake -> a status and one line, as RFC 9457's problem details (application/problem+json).

``{"type", "title", "status", "detail", "code", "error"}``: `detail` is what is wrong, the value and
the fix; `error` is the same by clip-retrieval's name. `code`, from which `type` is made, never
changes: programs decide by it. 400 an invalid value, 401 no key, 403 not allowed here, 404 not
found, 405 another method, 409 the dataset is being written, a name is taken or a removal differs
from what was shown, 413 too large, 415 not JSON, 422 a body of another form, 429 too many requests,
503 too slow, not ready, a dataset that cannot be written or a database that is down, 507 a full
disk.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from frenchcat.curate.errors import (
    AlreadyThere,
    Busy,
    NoSpace,
    NotFound,
    UnknownColumn,
    Unreachable,
    UnreadableImage,
    Unwritable,
    UserError,
)
from frenchcat.index.service.rows import StrictJSON

_log = logging.getLogger("frenchcat.serve")
_SHOWN = 80  # characters of a quoted value


MEDIA_TYPE = "application/problem+json"
LEFT = 499  # nginx's status for a disconnected client; it is only counted
CODES = {
    400: "bad-value",
    401: "no-key",
    403: "not-allowed",
    404: "not-found",
    405: "method-not-allowed",
    408: "request-too-slow",
    409: "conflict",
    413: "too-large",
    415: "not-json",
    422: "bad-form",
    429: "too-many-requests",
    500: "failed",
    503: "unavailable",
    507: "no-space",
}
"""The code of a status if nothing more specific is known."""


class Problem(BaseModel):
    """What went wrong, as in RFC 9457."""

    type: str = Field(description="urn:frenchcat: and the code.")
    title: str = Field(description="The code in words.")
    status: int
    detail: str = Field(description="One line: what is wrong, the value and the fix.")
    code: str = Field(description="The kind of mistake; stable.")
    error: str = Field(description="The detail again.")
    column: str | None = Field(None, description="Of unknown-column: its name.")
    reason: str | None = Field(None, description="Of unreadable-image: why, without its name.")


class Refused(Exception):
    """A request that is answered with a status of its own; `code` None: the status's."""

    def __init__(
        self,
        status: int,
        error: str,
        headers: Mapping[str, str] | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(error)
        self.status, self.headers, self.code = status, dict(headers or {}), code


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """`responses` of a route: the problems it answers with."""
    return {status: {"model": Problem} for status in (400, 422, *statuses)}


def problem(
    status: int,
    error: str,
    headers: Mapping[str, str] | None = None,
    code: str | None = None,
    more: Mapping[str, str] = MappingProxyType({}),
) -> StrictJSON:
    """The answer; `more` are its further members."""
    code = code or CODES.get(status, "failed")
    content = {
        "type": f"urn:frenchcat:{code}",
        "title": code.replace("-", " ").capitalize(),
        "status": status,
        "detail": error,
        "code": code,
        "error": error,
        **more,
    }
    return StrictJSON(content, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def handle_problems(app: FastAPI, methods: Callable[[str], Sequence[str]]) -> None:
    """Make an application answer in this form, whatever is raised.

    `methods` returns which methods a path supports.
    """
    app.add_exception_handler(UserError, _user_error)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, partial(_http, methods))
    app.add_exception_handler(ClientDisconnect, _left)
    app.add_exception_handler(Exception, _unexpected)


def said(error: ValidationError | RequestValidationError) -> str:
    """The first invalid part, in one line."""
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
    statuses = {
        **{AlreadyThere: 409, Busy: 409, NotFound: 404, NoSpace: 507},
        **{Unwritable: 503, Unreachable: 503},
    }
    found = (status for kind, status in statuses.items() if isinstance(error, kind))
    more = {}
    if isinstance(error, UnknownColumn):
        more["column"] = error.column
    if isinstance(error, UnreadableImage):
        more["reason"] = error.reason
    service, text = request.app.state.service, str(error)
    if not service.settings.private:
        text = service.registry.by_name(text)
    return problem(next(found, 400), text, code=_code(type(error)), more=more)


def _code(kind: type[Exception]) -> str | None:
    """A class of curate/errors.py by its name: BadCondition is bad-condition."""
    if kind is UserError:
        return None
    return re.sub("(?<=[a-z])(?=[A-Z])", "-", kind.__name__).lower()


def _refused(request: Request, error: Exception) -> StrictJSON:
    assert isinstance(error, Refused)
    return problem(error.status, str(error), error.headers, error.code)


def _invalid(request: Request, error: Exception) -> StrictJSON:
    assert isinstance(error, RequestValidationError)
    return problem(422, said(error))


def _http(
    methods: Callable[[str], Sequence[str]], request: Request, error: Exception
) -> StrictJSON:
    assert isinstance(error, HTTPException)
    text, status, headers = str(error.detail), error.status_code, dict(error.headers or {})
    path = request.url.path
    if status in (404, 405) and text in ("Not Found", "Method Not Allowed"):
        if taken := methods(path) or (["GET", "HEAD"] if status == 405 else []):
            status, headers = 405, {**headers, "Allow": ", ".join(taken)}
            text = f"{path} does not support {request.method}, but {', '.join(taken)}"
        else:
            text = f"there is nothing at {path}; /openapi.json lists what there is"
    return problem(status, text, headers)


def _left(request: Request, error: Exception) -> StrictJSON:
    """Of a client that left before its whole body was here: nobody reads it."""
    return problem(LEFT, "the client has disconnected")


def _unexpected(request: Request, error: Exception) -> StrictJSON:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem(500, "the service failed; its log says why")
