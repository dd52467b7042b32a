"""Bodies and answers of the routes of selections."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from frenchcat.index.service.models.fields import Expression, Strict
from frenchcat.index.service.models.query import Filters
from frenchcat.index.service.models.search import Search


class NewSelection(Filters):
    """Rows to freeze: those that meet `where`, or the hits of `query`, or both."""

    name: str = Field(max_length=100)
    query: Search | None = Field(None, description="Its k nearest rows are chosen from.")
    limit: int | None = Field(None, ge=1, le=100_000_000)
    balance: Annotated[str, Field(max_length=200)] | None = Field(
        None, description="A column: of its values as many rows of each as can be, up to limit."
    )
    weight: Expression | None = Field(
        None, description="How often training draws a row: a number for each."
    )
    label: Expression | None = Field(
        None, description="What a classifier learns: a text for each row, or null."
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, description="Which rows a limit keeps.")
    replace: bool = Field(False, description="Whether another selection of the name may be lost.")


class Selected(BaseModel):
    """A frozen selection."""

    dataset: str
    name: str
    rows: int
    digest: str
    sql: str | None = None


class Made(Selected):
    """A selection that was frozen now."""

    folder: str | None = Field(description="The dataset's; told at loopback alone.")


class Rename(Strict):
    """Another name of a selection."""

    name: str = Field(max_length=100)


class Compared(BaseModel):
    """How two selections overlap, in rows."""

    only: dict[str, int] = Field(description="By selection: rows that the other one lacks.")
    both: int
