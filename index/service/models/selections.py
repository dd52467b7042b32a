"""Bodies and answers of the routes of selections."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from frenchcat.index.service.models.fields import Expression, Strict
from frenchcat.index.service.models.query import Filters
from frenchcat.index.service.models.search import Search

Licence = Annotated[str, Field(max_length=200)]


class NewSelection(Filters):
    """Rows to freeze: those that meet `where`, or the hits of `query` that meet it."""

    name: str = Field(max_length=100)
    query: Search | None = Field(
        None, description="A query; the selection is chosen from its k nearest rows."
    )
    limit: int | None = Field(None, ge=1, le=100_000_000)
    balance: Annotated[str, Field(max_length=200)] | None = Field(
        None,
        description="A column over whose values the rows are spread as evenly as possible, up "
        "to the limit.",
    )
    weight: Expression | None = Field(
        None, description="An expression that gives each row a number: how often training draws it."
    )
    label: Expression | None = Field(
        None,
        description="An expression that gives each row a text, or null: what a classifier learns.",
    )
    licences: list[Licence] = Field(
        default_factory=list,
        max_length=100,
        description="Only rows that state one of these licences: CC BY (every version), CC0-1.0.",
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, description="Determines which rows a limit keeps.")
    replace: bool = Field(
        False, description="Whether another selection of this name may be replaced."
    )


class Selected(BaseModel):
    """A frozen selection."""

    dataset: str
    name: str
    rows: int
    digest: str
    sql: str | None = None


class Made(Selected):
    """A selection that was just made."""

    folder: str | None = Field(description="The dataset's folder; given at loopback only.")


class Rename(Strict):
    """A new name for a selection."""

    name: str = Field(max_length=100)


class Compared(BaseModel):
    """How two selections overlap, in rows."""

    only: dict[str, int] = Field(
        description="By selection: the number of rows that only this one has."
    )
    both: int
