"""What /v1 says of a dataset: its size, its counts, its columns."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class DatasetInfo(BaseModel):
    """A dataset that is served."""

    name: str
    rows: int
    model: str
    dimension: int
    index_version: str
    filters: dict[str, bool] = Field(description="Which filters have something to go by.")


class RuleCounts(BaseModel):
    """What a rule of the verdicts did, in rows."""

    dropped: int = Field(description="As the first rule that dropped them.")
    alone: int = Field(description="That it would drop if it were the only rule.")
    unknown: int = Field(description="For which it is null, so that it did not drop them.")


class CountedColumn(BaseModel):
    """A column that a condition may name."""

    model_config = ConfigDict(extra="allow")

    type: str | None = Field(None, description="DuckDB's.")


class DatasetCounts(BaseModel):
    """A dataset's rows by what became of them: failed, kept, or dropped."""

    name: str
    rows: int
    downloaded: int
    failed: int
    failed_reasons: dict[str, int]
    embedded: int
    kept: int
    dropped: dict[str, int] = Field(description="By reason.")
    indexed: int
    model: str | None
    rules: dict[str, RuleCounts]
    columns: dict[str, CountedColumn]


class ColumnInfo(BaseModel):
    """A column that a condition may name."""

    name: str
    type: str = Field(description="DuckDB's.")


class Columns(BaseModel):
    """What a condition is made of."""

    columns: list[ColumnInfo]
    functions: list[str]
