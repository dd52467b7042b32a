"""Who may ask: keys of a file, the keys of a request, and the routes that answer without one."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.datastructures import Headers

from frenchcat.curate.errors import UserError

_PUBLIC = "frenchcat_public"

F = TypeVar("F", bound=Callable[..., object])


def public(endpoint: F) -> F:
    """Mark a route's function: it answers without a key, and so must not reveal data."""
    setattr(endpoint, _PUBLIC, True)
    return endpoint


def public_paths(routers: Iterable[APIRouter]) -> frozenset[str]:
    """The paths of the marked routes. Raises ValueError for a path with a parameter."""
    marked = {
        route.path
        for router in routers
        for route in router.routes
        if isinstance(route, APIRoute) and getattr(route.endpoint, _PUBLIC, False)
    }
    if varying := [path for path in marked if "{" in path]:
        raise ValueError(f"{varying[0]} cannot be public: what its parameter names may be data")
    return frozenset(marked)


def read_keys(file: str) -> tuple[bytes, ...]:
    """The digests of a file's keys. Raises `UserError` if it is missing or contains none."""
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UserError(
            f"--api-key-file {file} cannot be read ({said}); give a file of keys, one per line"
        ) from None
    keys = [line.strip() for line in lines]
    keys = [key for key in keys if key and not key.startswith("#")]
    if not keys:
        raise UserError(f"--api-key-file {file} contains no key; write one per line")
    if short := next((key for key in keys if len(key) < 16), None):
        raise UserError(
            f"--api-key-file {file}: a key of {len(short)} characters can be guessed; "
            "give at least 16, for example from: openssl rand -hex 16"
        )
    return tuple(hashlib.sha256(key.encode()).digest() for key in keys)


def given_keys(headers: Headers) -> list[str]:
    """The keys of a request: X-API-Key, Bearer, or Basic, as its password or its user's name."""
    if key := headers.get("x-api-key"):
        return [key]
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return [given.strip() if scheme.lower() == "bearer" else headers.get("authorization", "")]
    try:
        user, _, password = base64.b64decode(given, validate=True).decode().partition(":")
    except ValueError:  # binascii.Error and UnicodeDecodeError are such
        return [""]
    return [password, user]
