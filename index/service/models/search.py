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
    """The parameters of a search by an image that is the body itself."""

    k: int = Field(20, ge=1, le=10_000, description="The number of hits.")


class Search(QueryPart, HitFilters, Chosen, Sorting, Paging):
    """A query: one part, or a weighted sum of terms."""

    terms: list[QueryTerm] | None = Field(None, min_length=1, max_length=16)
    k: int = Field(20, ge=1, le=10_000, description="The number of hits.")
    skip: int = Field(0, ge=0, le=10_000, description="The number of hits to skip.")
    hybrid: bool = Field(
        False, description="Also find rows whose captions contain the words of the texts."
    )

    @model_validator(mode="after")
    def _one(self) -> Search:
        if len(self.given) + (self.terms is not None) != 1:
            raise ValueError(f"a query has exactly one of {', '.join(PARTS)}, terms")
        return self


class LinkedSearch(HitFilters, Sorting, Paging):
    """A search as a query string."""

    q: Text | None = Field(None, description="A text.")
    like: Key | None = Field(None, description="The key of a row of the dataset.")
    picture_url: Address | None = None
    k: int = Field(20, ge=1, le=10_000, description="The number of hits.")
    hybrid: bool = False
    columns: str | None = Field(
        None,
        max_length=10_000,
        description="The columns of each row, separated by commas; by default all.",
    )

    @model_validator(mode="after")
    def _one(self) -> LinkedSearch:
        if sum(part is not None for part in (self.q, self.like, self.picture_url)) != 1:
            raise ValueError("a query has exactly one of q, like, picture_url")
        return self

    def search(self) -> Search:
        """The same search as a body."""
        fields = self.model_dump(exclude={"q", "columns"}, exclude_none=True)
        return Search.model_validate({**fields, "text": self.q, "columns": listed(self.columns)})


class SearchBatch(Strict):
    """Several queries in one request."""

    queries: list[Search] = Field(min_length=1, max_length=64)


class SearchSeveral(Search):
    """A query over several datasets, whose hits are ranked together."""

    datasets: list[Annotated[str, Field(max_length=200)]] | None = Field(
        None, min_length=1, max_length=64, description="By default all that are served."
    )


class SearchResponse(BaseModel):
    """The answer to a query."""

    dataset: str
    index_version: str
    hits: list[HitResponse]
    hidden: dict[str, int] = Field(
        description="How many of the k nearest rows were left out, by reason."
    )
    took_ms: dict[str, float]
    next: str | None = Field(
        None, description="The cursor of the next hits; null if there are no more."
    )


class BatchResponse(BaseModel):
    """Answers in the order of the queries."""

    answers: list[SearchResponse]


class HitOfSeveral(HitResponse):
    """A row that was found, and its dataset."""

    dataset: str


class SeveralResponse(BaseModel):
    """The answer to a query over several datasets."""

    datasets: list[str]
    hits: list[HitOfSeveral]
    took_ms: dict[str, float]
