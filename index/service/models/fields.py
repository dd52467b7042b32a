"""Types that several bodies of /v1 use: keys, texts, vectors, and how long they may be."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(max_length=2_000)]

Base64 = Annotated[str, Field(description="A jpg, png or webp file, base64.")]

Address = Annotated[str, Field(max_length=4_096, description="The http(s) address of an image.")]

Numbers = Annotated[list[float], Field(max_length=8_192)]

Key = Annotated[str, Field(max_length=200)]

SelectionName = Annotated[str, Field(max_length=100)]

Expression = Annotated[str, Field(max_length=10_000)]

By = Literal["image", "text"]


class Strict(BaseModel):
    """A body; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid")


class RowName(BaseModel):
    """The name of a row of any served dataset."""

    model_config = ConfigDict(extra="forbid")

    dataset: Annotated[str, Field(max_length=200)]
    key: Key


def listed(columns: str | None) -> list[str] | None:
    """Names that a query string separates by commas."""
    return None if columns is None else [name for name in columns.split(",") if name]
