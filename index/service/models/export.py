"""Bodies of /v1/…/export."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from frenchcat.index.service.models.fields import Key, Text, listed
from frenchcat.index.service.models.query import PARTS, Chosen, HitFilters, QueryPart, QueryTerm
from frenchcat.index.service.models.search import Search

ExportFormat = Literal["ndjson", "json", "csv", "parquet", "arrow"]


class Export(QueryPart, HitFilters, Chosen):
    """Which rows are exported: those that meet the filters, or the nearest to a query."""

    terms: list[QueryTerm] | None = Field(None, min_length=1, max_length=16)
    k: int = Field(1000, ge=1, le=10_000, description="For a query: how many of the nearest rows.")
    format: ExportFormat = Field("ndjson", description="The format of the answer.")

    @model_validator(mode="after")
    def _one(self) -> Export:
        if len(self.given) + (self.terms is not None) > 1:
            raise ValueError(f"a query has exactly one of {', '.join(PARTS)}, terms, or none")
        return self

    @property
    def query(self) -> Search | None:
        """The query; None for all rows that meet the filters."""
        if not self.given and self.terms is None:
            return None
        fields = self.model_dump(exclude={"format", "columns"}, exclude_none=True)
        return Search.model_validate(fields)


class LinkedExport(HitFilters):
    """An export as a query string."""

    q: Text | None = Field(
        None, description="A text; without one all rows that meet the filters are exported."
    )
    like: Key | None = Field(None, description="The key of a row of the dataset.")
    k: int = Field(1000, ge=1, le=10_000, description="For a query: how many of the nearest rows.")
    format: ExportFormat = "ndjson"
    columns: str | None = Field(
        None, max_length=10_000, description="The columns, separated by commas; by default all."
    )

    @model_validator(mode="after")
    def _one(self) -> LinkedExport:
        if self.q is not None and self.like is not None:
            raise ValueError("a query has exactly one of q, like, or none")
        return self

    def export(self) -> Export:
        """The same export as a body."""
        fields = self.model_dump(exclude={"q", "columns"}, exclude_none=True)
        return Export.model_validate({**fields, "text": self.q, "columns": listed(self.columns)})
