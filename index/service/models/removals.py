"""Bodies and answers of the routes of removals."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from frenchcat.index.service.models.fields import Key, Strict


class Removal(Strict):
    """Which rows to remove."""

    dataset: str | None = Field(None, max_length=200)
    by: Literal["key", "url", "uid", "sha256", "domain"]
    value: str = Field(min_length=1, max_length=4_096)
    keys: list[Key] = Field(
        default_factory=list, max_length=10_000, description="Further keys of a removal by key."
    )
    near: bool = Field(False, description="Also remove near copies of the matching rows.")
    note: str = Field("", max_length=2_000)
    shown: int = Field(1_000, ge=0, le=100_000, description="How many matches are listed.")
    confirm: bool = Field(
        False, description="Whether to remove the rows; otherwise the matches are only shown."
    )
    token: str | None = Field(
        None,
        max_length=100,
        description="To confirm: the token of the preview, whose rows must be these.",
    )
    total: int | None = Field(
        None,
        ge=0,
        description="To confirm more than confirm_rows: the number of rows that are removed.",
    )


class Matched(BaseModel):
    """A row that matches a removal."""

    key: str
    url: str | None
    caption: str | None
    why: str


class RemovalResponse(BaseModel):
    """The result of a removal, or its preview."""

    removed: bool
    request: int | None = Field(description="The number of the request in the log.")
    matches: list[Matched] = Field(description="The first `shown`.")
    total: int
    token: str | None = Field(description="The token that confirms a preview.")
    confirm_total: bool = Field(description="Whether a confirmation must include `total`.")


class RemovalRequest(BaseModel):
    """A removal request in the log."""

    number: int
    by: str = Field(description="How it named its rows; `undo` if it undoes another request.")
    time: str
    note: str
    rows: int
    undoes: int | None = Field(description="The number of the request that it undoes.")
    undone: bool = Field(description="Whether another request undoes it.")
