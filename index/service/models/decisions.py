"""Bodies and answers of the routes of decisions by hand."""

from __future__ import annotations

from pydantic import BaseModel, Field

from frenchcat.index.service.models.fields import Key, Strict


class NewDecision(Strict):
    """Rows to keep or drop by hand."""

    keep: bool = Field(
        description="Whether the rows are kept; otherwise they are dropped, with the reason "
        "by_hand.",
    )
    keys: list[Key] = Field(min_length=1, max_length=10_000)
    note: str = Field("", max_length=2_000)


class DecisionMade(BaseModel):
    """A decision that was logged."""

    number: int
    keep: bool | None = Field(description="null if it undoes another decision.")
    keys: list[str]
    time: str
    note: str
    undoes: int | None = Field(description="The number of the decision that it undoes.")
    undone: bool = Field(description="Whether another decision undoes it.")
