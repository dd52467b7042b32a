"""Bodies and answers of /v1/…/search."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, model_validator

from frenchcat.index.service.models.fields import Address, Key, Strict, Text, listed
from frenchcat.index.service.models.query import (
    PARTS,
    Chosen,
    HitFilters,
    Paging,
    QueryPart,
    QueryTerm,
    Sorting,
)
from frenchcat.index.service.models.rows import HitResponse


class PictureSearch(HitFilters, Chosen):
    """What stands beside a picture that is sent as it is."""

    k: int = Field(20, ge=1, le=10_000, description="How many hits.")


class Search(QueryPart, HitFilters, Chosen, Sorting, Paging):
    """A query: one part, or a weighted sum of terms."""

    terms: list[QueryTerm] | None = Field(None, min_length=1, max_length=16)
    k: int = Field(20, ge=1, le=10_000, description="How many hits.")
    skip: int = Field(0, ge=0, le=10_000, description="Hits left out at the front: a page's.")
    hybrid: bool = Field(
        False, description="Join in the rows whose captions hold the words of the texts."
    )

    @model_validator(mode="after")
    def _one(self) -> Search:
        if len(self.given) + (self.terms is not None) != 1:
            raise ValueError(f"a query has exactly one of {', '.join(PARTS)}, terms")
        return self


class LinkedSearch(HitFilters, Sorting, Paging):
    """A search as an address has it."""

    q: Text | None = Field(None, description="A text.")
    like: Key | None = Field(None, description="The key of a row of the dataset.")
    picture_url: Address | None = None
    k: int = Field(20, ge=1, le=10_000, description="How many hits.")
    hybrid: bool = False
    columns: str | None = Field(
        None, max_length=10_000, description="Columns of each row, with commas; none: all."
    )

    @model_validator(mode="after")
    def _one(self) -> LinkedSearch:
        if sum(part is not None for part in (self.q, self.like, self.picture_url)) != 1:
            raise ValueError("a query has exactly one of q, like, picture_url")
        return self

    def search(self) -> Search:
        """The same as a body."""
        fields = self.model_dump(exclude={"q", "columns"}, exclude_none=True)
        return Search.model_validate({**fields, "text": self.q, "columns": listed(self.columns)})


class SearchBatch(Strict):
    """Queries that are answered together."""

    queries: list[Search] = Field(min_length=1, max_length=64)


class SearchSeveral(Search):
    """A query over several datasets, whose hits are ranked together."""

    datasets: list[Annotated[str, Field(max_length=200)]] | None = Field(
        None, min_length=1, max_length=64, description="None: all that are served."
    )


class SearchResponse(BaseModel):
    """The answer to a query."""

    dataset: str
    index_version: str
    hits: list[HitResponse]
    hidden: dict[str, int] = Field(
        description="Of the nearest k rows, how many were left out, by reason."
    )
    took_ms: dict[str, float]
    next: str | None = Field(None, description="The cursor of the next hits; null: no more.")


class BatchResponse(BaseModel):
    """Answers in the order of the queries."""

    answers: list[SearchResponse]


class HitOfSeveral(HitResponse):
    """A row found, and where."""

    dataset: str


class SeveralResponse(BaseModel):
    """The answer to a query over several datasets."""

    datasets: list[str]
    hits: list[HitOfSeveral]
    took_ms: dict[str, float]
