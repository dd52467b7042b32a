"""Rows as /v1 answers with them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class RowResponse(BaseModel):
    """A row of a dataset, with all other columns of its list."""

    model_config = ConfigDict(extra="allow")

    key: str
    url: str | None = None
    caption: str | None = None
    picture: str | None = Field(None, description="Path of the stored image.")
    thumbnail: str | None = Field(None, description="Path of a small version.")
    stored: bool | None = Field(
        None, description="False if the dataset has only the image's address."
    )
    copies: int | None = Field(None, description="How many other rows are duplicates of it.")


class HitResponse(RowResponse):
    """A row that was found."""

    similarity: float = Field(description="The cosine to the query, -1 to 1.")
