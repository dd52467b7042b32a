"""What the service says of itself."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class Health(BaseModel):
    """Whether all is well."""

    status: str
    detail: dict[str, Any] = {}
