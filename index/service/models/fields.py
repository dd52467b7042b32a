"""Types that several bodies of /v1 use: keys, texts, vectors, and how long they may be."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(max_length=2_000)]

Base64 = Annotated[str, Field(description="A jpg, png or webp file, base64.")]

Address = Annotated[str, Field(max_length=4_096, description="http(s) address of a picture.")]

Numbers = Annotated[list[float], Field(max_length=8_192)]

Key = Annotated[str, Field(max_length=200)]

SelectionName = Annotated[str, Field(max_length=100)]

Expression = Annotated[str, Field(max_length=10_000)]

By = Literal["image", "text"]


class Strict(BaseModel):
    """A body without keys that are not known."""

    model_config = ConfigDict(extra="forbid")


class RowName(BaseModel):
    """A row of any dataset that is served."""

    model_config = ConfigDict(extra="forbid")

    dataset: Annotated[str, Field(max_length=200)]
    key: Key


def listed(columns: str | None) -> list[str] | None:
    """Names as an address has them, with commas."""
    return None if columns is None else [name for name in columns.split(",") if name]
