"""Bodies and answers of the routes that give rows without a query, and of the map."""

from __future__ import annotations

from pydantic import BaseModel, Field

from frenchcat.index.service.models.fields import listed
from frenchcat.index.service.models.query import Chosen, Filters, Paging, Sorting
from frenchcat.index.service.models.rows import RowResponse


class Browse(Filters, Chosen, Sorting, Paging):
    """Rows without a query."""

    k: int = Field(40, ge=1, le=10_000, description="How many rows.")
    skip: int = Field(0, ge=0, le=100_000_000, description="Rows left out at the front.")


class LinkedBrowse(Filters, Sorting, Paging):
    """Rows without a query, as an address has them."""

    k: int = Field(40, ge=1, le=10_000, description="How many rows.")
    columns: str | None = Field(
        None, max_length=10_000, description="Columns of each row, with commas; none: all."
    )

    def browse(self) -> Browse:
        """The same as a body."""
        fields = self.model_dump(exclude={"columns"}, exclude_none=True)
        return Browse.model_validate({**fields, "columns": listed(self.columns)})


class Browsed(BaseModel):
    """Rows that meet a condition."""

    dataset: str
    index_version: str
    total: int = Field(description="Rows that meet it, before violence and a head are judged.")
    rows: list[RowResponse]
    next: str | None = Field(None, description="The cursor of the next rows; null: no more.")


class Mapped(BaseModel):
    """Where rows lie on the map of their dataset."""

    dataset: str
    index_version: str
    keys: list[str]
    x: list[float] = Field(description="-1 to 1, by key.")
    y: list[float]
    rows: int = Field(description="Rows of the dataset; a large one is shown by some of them.")
