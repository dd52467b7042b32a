"""What is searched for, and which rows may be found. Names are those of the command line."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from frenchcat.index.service.models.fields import (
    Address,
    Base64,
    By,
    Key,
    Numbers,
    RowName,
    SelectionName,
    Strict,
    Text,
)

PARTS = ("text", "picture", "picture_url", "vector", "like")


class QueryPart(Strict):
    """One thing to look for: exactly one of text, picture, picture_url, vector, like."""

    text: Text | None = None
    picture: Base64 | None = None
    picture_url: Address | None = None
    vector: Numbers | None = None
    like: Key | RowName | None = Field(
        None, description="The key of a row of the dataset, or a row of another one."
    )

    @property
    def given(self) -> list[str]:
        """The names of the parts that are there."""
        return [name for name in PARTS if getattr(self, name) is not None]


class QueryTerm(QueryPart):
    """A part of a sum of queries."""

    weight: float = Field(1.0, ge=-100, le=100, allow_inf_nan=False)

    @model_validator(mode="after")
    def _one(self) -> QueryTerm:
        if len(self.given) != 1:
            raise ValueError(f"a term has exactly one of {', '.join(PARTS)}")
        return self


class Filters(Strict):
    """Which rows may be found."""

    dataset: str | None = Field(None, max_length=200, description="None: the first one served.")
    by: By = Field("image", description="What is compared: pictures or captions.")
    where: str | None = Field(
        None, max_length=100_000, description="A condition over the columns: width >= 512"
    )
    safe: bool = Field(True, description="Leave out what is judged unsafe.")
    dropped: bool = Field(False, description="Show what a verdict drops.")
    violence: bool = Field(False, description="Let through what looks violent.")
    duplicates: bool = Field(False, description="Show all of a cluster, not one of it.")
    selections: list[SelectionName] = Field(
        default_factory=list, max_length=16, description="Frozen selections; rows are in all."
    )
    outside: list[SelectionName] = Field(
        default_factory=list, max_length=16, description="Frozen selections; rows are in none."
    )
    count_hidden: bool = Field(False, description="Tell why nearer rows are not shown.")
    aesthetic_score: int | None = Field(
        None, ge=0, le=9, description="Move the query to pictures rated so (--ratings)."
    )
    aesthetic_weight: float = Field(0.5, ge=-100, le=100, allow_inf_nan=False)


class HitFilters(Filters):
    """Which hits of a query are given."""

    min_similarity: float | None = Field(
        None, ge=-1, le=1, description="Leave out hits whose cosine to the query is less."
    )


class Chosen(Strict):
    """What an answer says of each row."""

    columns: list[Annotated[str, Field(max_length=200)]] | None = Field(
        None, max_length=200, description="Columns of each row beside its key; None: all."
    )


class Sorting(Strict):
    """In which order rows are given."""

    sort: Annotated[str, Field(max_length=200)] | None = Field(
        None, description="A column; with - before it: greatest first. None: nearest first."
    )
    pool: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="Of a query: how many of the nearest are sorted; None: 1,000.",
    )


class Paging(Strict):
    """Where an answer goes on."""

    cursor: str | None = Field(
        None, max_length=2_000, description="`next` of the answer before; all else is the same."
    )
