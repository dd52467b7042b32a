"""Failed rows as /v1 answers with them."""

from __future__ import annotations

from pydantic import BaseModel, Field


class FailedRow(BaseModel):
    """A row of the list without an image."""

    key: str
    url: str | None
    caption: str | None
    detail: str | None = Field(description="What exactly went wrong, if that is known.")


class Failed(BaseModel):
    """Rows that failed for one reason."""

    dataset: str
    total: int
    rows: list[FailedRow]
