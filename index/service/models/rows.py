"""Rows as /v1 answers with them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class RowResponse(BaseModel):
    """A row of a dataset; and its other columns, whatever the list brought."""

    model_config = ConfigDict(extra="allow")

    key: str
    url: str | None = None
    caption: str | None = None
    picture: str | None = Field(None, description="Path of the stored picture.")
    thumbnail: str | None = Field(None, description="Path of a small one.")
    stored: bool | None = Field(None, description="False: the dataset has its address alone.")
    copies: int | None = Field(None, description="How many other rows are duplicates of it.")


class HitResponse(RowResponse):
    """A row found."""

    similarity: float = Field(description="Cosine to the query, -1 to 1.")
