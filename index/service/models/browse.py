"""Bodies and answers of the routes that give rows without a query, and of the map."""

from __future__ import annotations

from pydantic import BaseModel, Field

from frenchcat.index.service.models.fields import listed
from frenchcat.index.service.models.query import Chosen, Filters, Paging, Sorting
from frenchcat.index.service.models.rows import RowResponse


class Browse(Filters, Chosen, Sorting, Paging):
    """Rows without a query."""

    k: int = Field(40, ge=1, le=10_000, description="The number of rows.")
    skip: int = Field(0, ge=0, le=100_000_000, description="The number of rows to skip.")


class LinkedBrowse(Filters, Sorting, Paging):
    """Rows without a query, as a query string."""

    k: int = Field(40, ge=1, le=10_000, description="The number of rows.")
    columns: str | None = Field(
        None,
        max_length=10_000,
        description="The columns of each row, separated by commas; by default all.",
    )

    def browse(self) -> Browse:
        """The same request as a body."""
        fields = self.model_dump(exclude={"columns"}, exclude_none=True)
        return Browse.model_validate({**fields, "columns": listed(self.columns)})


class Browsed(BaseModel):
    """Rows that meet a condition."""

    dataset: str
    index_version: str
    total: int = Field(
        description="The number of rows that meet it, before safety heads and the violence "
        "prompts are applied.",
    )
    rows: list[RowResponse]
    next: str | None = Field(
        None, description="The cursor of the next rows; null if there are no more."
    )


class Mapped(BaseModel):
    """Where rows lie on the map of their dataset."""

    dataset: str
    index_version: str
    keys: list[str]
    x: list[float] = Field(description="From -1 to 1, in the order of the keys.")
    y: list[float]
    rows: int = Field(
        description="The number of rows of the dataset; of a large one a sample is shown."
    )
