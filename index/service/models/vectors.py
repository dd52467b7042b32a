"""Bodies and answers of the routes that give vectors."""

from __future__ import annotations

from pydantic import BaseModel, Field, model_validator

from frenchcat.index.service.models.fields import By, Key, Strict
from frenchcat.index.service.models.query import PARTS, QueryPart, QueryTerm


class Embed(QueryPart):
    """What is turned into a vector: one part, or a weighted sum of terms."""

    terms: list[QueryTerm] | None = Field(None, min_length=1, max_length=16)

    @model_validator(mode="after")
    def _one(self) -> Embed:
        if len(self.given) + (self.terms is not None) != 1:
            raise ValueError(f"give exactly one of {', '.join(PARTS)}, terms")
        return self


class Embedded(BaseModel):
    """A vector."""

    dataset: str
    model: str
    vector: list[float] = Field(description="A unit vector.")


class VectorsOf(Strict):
    """The rows whose vectors are requested."""

    keys: list[Key] = Field(min_length=1, max_length=1_000)
    by: By = Field("image", description="The image's vector, or the caption's.")


class Vectors(BaseModel):
    """Stored vectors, in the order of the keys."""

    dataset: str
    model: str
    keys: list[str]
    vectors: list[list[float]]
