"""Bodies and answers of the routes of removals."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from frenchcat.index.service.models.fields import Key, Strict


class Removal(Strict):
    """What shall go."""

    dataset: str | None = Field(None, max_length=200)
    by: Literal["key", "url", "uid", "sha256", "domain"]
    value: str = Field(min_length=1, max_length=4_096)
    keys: list[Key] = Field(
        default_factory=list, max_length=10_000, description="By key: further rows."
    )
    near: bool = Field(False, description="Near copies of the matching rows, too.")
    note: str = Field("", max_length=2_000)
    shown: int = Field(1_000, ge=0, le=100_000, description="Matches that are listed.")
    confirm: bool = Field(False, description="False: only show what matches.")
    token: str | None = Field(
        None, max_length=100, description="To confirm: that of the preview; its rows must be these."
    )
    total: int | None = Field(
        None, ge=0, description="To confirm more than confirm_rows: how many rows go."
    )


class Matched(BaseModel):
    """A row that a removal names."""

    key: str
    url: str | None
    caption: str | None
    why: str


class RemovalResponse(BaseModel):
    """What a removal did, or would do."""

    removed: bool
    request: int | None = Field(description="Its number in the log.")
    matches: list[Matched] = Field(description="The first `shown`.")
    total: int
    token: str | None = Field(description="Of a preview: what confirms it.")
    confirm_total: bool = Field(description="Whether to confirm it `total` must be sent, too.")


class RemovalRequest(BaseModel):
    """A removal that was logged."""

    number: int
    by: str = Field(description="How it named its rows; undo: it takes another one back.")
    time: str
    note: str
    rows: int
    undoes: int | None = Field(description="The number of the request that it takes back.")
    undone: bool = Field(description="Whether another request takes it back.")
