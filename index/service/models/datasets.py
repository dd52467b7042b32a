"""What /v1 says of a dataset: its size, its counts, its columns."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class DatasetInfo(BaseModel):
    """A served dataset."""

    name: str
    rows: int
    model: str
    dimension: int
    index_version: str
    filters: dict[str, bool] = Field(description="Which filters have the columns that they need.")


class RuleCounts(BaseModel):
    """What a rule of the verdicts did, in numbers of rows."""

    dropped: int = Field(description="Rows that this rule dropped first.")
    alone: int = Field(description="Rows that it would drop as the only rule.")
    unknown: int = Field(description="Rows for which it is null, so that it did not drop them.")


class CountedColumn(BaseModel):
    """A column that a condition may use."""

    model_config = ConfigDict(extra="allow")

    type: str | None = Field(None, description="The DuckDB type.")


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
    """A column that a condition may use."""

    name: str
    type: str = Field(description="The DuckDB type.")


class Columns(BaseModel):
    """The columns and functions that a condition may use."""

    columns: list[ColumnInfo]
    functions: list[str]
