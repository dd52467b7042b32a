"""Bodies and answers of /v1/…/facets: how rows are spread over columns."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from frenchcat.index.service.models.query import PARTS, HitFilters, QueryPart, QueryTerm


class FacetsRequest(QueryPart, HitFilters):
    """Which columns are counted: of the rows that meet the filters, or of a query's nearest."""

    terms: list[QueryTerm] | None = Field(None, min_length=1, max_length=16)
    k: int = Field(1000, ge=1, le=10_000, description="Of a query: how many of the nearest.")
    facets: list[Annotated[str, Field(max_length=200)]] | None = Field(
        None, max_length=50, description="Columns; None: those that are usual, where they are."
    )
    bins: int = Field(20, ge=1, le=200, description="Intervals of a number.")
    top: int = Field(10, ge=1, le=1000, description="Texts that are told, the most frequent.")

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
    """An interval of a number: its end belongs to the next one, but for the last's."""

    model_config = ConfigDict(populate_by_name=True)

    least: float = Field(alias="from")
    to: float
    rows: int


class FacetValue(BaseModel):
    """A text, and how many rows have it."""

    value: str
    rows: int


class Facet(BaseModel):
    """How the rows are spread over a column."""

    kind: Literal["number", "text"]
    rows: int = Field(description="That have a value.")
    missing: int = Field(description="That have none.")
    min: float | None = None
    max: float | None = None
    mean: float | None = None
    bins: list[FacetInterval] | None = None
    distinct: int | None = None
    values: list[FacetValue] | None = Field(None, description="The most frequent.")
    others: int | None = Field(None, description="Rows with other texts.")


class FacetsResponse(BaseModel):
    """The facets by column."""

    dataset: str
    index_version: str
    rows: int = Field(description="That were counted.")
    facets: dict[str, Facet]
    took_ms: float
