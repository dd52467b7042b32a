"""Failed rows as /v1 answers with them."""

from __future__ import annotations

from pydantic import BaseModel, Field


class FailedRow(BaseModel):
    """A row of the list without an image."""

    key: str
    url: str | None
    caption: str | None
    reason: str = Field(description="Why it failed, by a stable name: `http_404`.")
    detail: str | None = Field(description="What exactly went wrong, if that is known.")


class Failed(BaseModel):
    """Rows that failed for the reason asked for, or for any."""

    dataset: str
    total: int = Field(description="How many rows failed for the reason asked for, or for any.")
    reasons: dict[str, int] = Field(
        description="All reasons and how many rows each has, the most frequent first."
    )
    rows: list[FailedRow]
