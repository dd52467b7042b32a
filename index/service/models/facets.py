"""Bodies and answers of /v1/…/facets: how rows are spread over columns."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from frenchcat.index.service.models.query import PARTS, HitFilters, QueryPart, QueryTerm


class FacetsRequest(QueryPart, HitFilters):
    """Which columns are counted, over the rows that meet the filters or the nearest to a query."""

    terms: list[QueryTerm] | None = Field(None, min_length=1, max_length=16)
    k: int = Field(1000, ge=1, le=10_000, description="For a query: how many of the nearest rows.")
    facets: list[Annotated[str, Field(max_length=200)]] | None = Field(
        None, max_length=50, description="The columns; by default the usual ones that exist."
    )
    bins: int = Field(20, ge=1, le=200, description="The number of intervals of a numeric column.")
    top: int = Field(
        10, ge=1, le=1000, description="How many of the most frequent texts are listed."
    )

    @model_validator(mode="after")
    def _one(self) -> FacetsRequest:
        if len(self.given) + (self.terms is not None) > 1:
            raise ValueError(f"a query has exactly one of {', '.join(PARTS)}, terms, or none")
        return self

    @property
    def asks(self) -> bool:
        """Whether there is a query."""
        return bool(self.given) or self.terms is not None


class FacetInterval(BaseModel):
    """A half-open interval of numbers; the last one includes its end."""

    model_config = ConfigDict(populate_by_name=True)

    least: float = Field(alias="from")
    to: float
    rows: int


class FacetValue(BaseModel):
    """A text, and the number of rows that have it."""

    value: str
    rows: int


class Facet(BaseModel):
    """The distribution of a column's values."""

    kind: Literal["number", "text"]
    rows: int = Field(description="The number of rows that have a value.")
    missing: int = Field(description="The number of rows without a value.")
    min: float | None = None
    max: float | None = None
    mean: float | None = None
    bins: list[FacetInterval] | None = None
    distinct: int | None = None
    values: list[FacetValue] | None = Field(None, description="The most frequent texts.")
    others: int | None = Field(None, description="The number of rows with other texts.")


class FacetsResponse(BaseModel):
    """The facets by column."""

    dataset: str
    index_version: str
    rows: int = Field(description="The number of rows that were counted.")
    facets: dict[str, Facet]
    took_ms: float
