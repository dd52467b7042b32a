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
        """The names of the parts that are given."""
        return [name for name in PARTS if getattr(self, name) is not None]


class QueryTerm(QueryPart):
    """One term of a weighted sum of queries."""

    weight: float = Field(1.0, ge=-100, le=100, allow_inf_nan=False)

    @model_validator(mode="after")
    def _one(self) -> QueryTerm:
        if len(self.given) != 1:
            raise ValueError(f"a term has exactly one of {', '.join(PARTS)}")
        return self


class Filters(Strict):
    """Which rows may be found."""

    dataset: str | None = Field(
        None, max_length=200, description="By default the first one served."
    )
    by: By = Field("image", description="What is compared with the query: images or captions.")
    where: str | None = Field(
        None,
        max_length=100_000,
        description="A SQL condition over the columns, such as width >= 512.",
    )
    safe: bool = Field(True, description="Leave out rows that are judged unsafe.")
    dropped: bool = Field(False, description="Also show rows that a verdict drops.")
    violence: bool = Field(False, description="Also show rows that look violent.")
    duplicates: bool = Field(
        False, description="Show all rows of a cluster of duplicates, not one of them."
    )
    selections: list[SelectionName] = Field(
        default_factory=list,
        max_length=16,
        description="Selections; only rows that are in all of them are found.",
    )
    outside: list[SelectionName] = Field(
        default_factory=list,
        max_length=16,
        description="Selections; only rows that are in none of them are found.",
    )
    count_hidden: bool = Field(
        False, description="Count the nearer rows that are not shown, by reason."
    )
    aesthetic_score: int | None = Field(
        None,
        ge=0,
        le=9,
        description="Move the query towards images with this rating (needs --ratings).",
    )
    aesthetic_weight: float = Field(0.5, ge=-100, le=100, allow_inf_nan=False)


class HitFilters(Filters):
    """Which rows may be found, and how similar they must be."""

    min_similarity: float | None = Field(
        None, ge=-1, le=1, description="Leave out hits whose cosine to the query is below this."
    )


class Chosen(Strict):
    """Which columns an answer has."""

    columns: list[Annotated[str, Field(max_length=200)]] | None = Field(
        None, max_length=200, description="The columns of each row beside its key; by default all."
    )


class Sorting(Strict):
    """The order of the rows."""

    sort: Annotated[str, Field(max_length=200)] | None = Field(
        None,
        description="A column, with a - before it for the greatest first. By default the "
        "nearest come first.",
    )
    pool: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="For a query: how many of the nearest rows are sorted; by default 1,000.",
    )


class Paging(Strict):
    """Where the answer continues an earlier one."""

    cursor: str | None = Field(
        None,
        max_length=2_000,
        description="`next` of the previous answer; the rest of the request must be the same.",
    )
