"""Clusters of duplicates as /v1 answers with them."""

from __future__ import annotations

from pydantic import BaseModel, Field

from frenchcat.index.service.models.rows import RowResponse


class ClusterMember(RowResponse):
    """A row of a cluster."""

    by_hand: bool | None = Field(None, description="Whether somebody keeps or drops it.")


class ListedCluster(BaseModel):
    """Rows that are duplicates of each other."""

    rows: int
    members: list[ClusterMember] = Field(description="The first 200.")


class Clusters(BaseModel):
    """Clusters of duplicates, the largest first."""

    dataset: str
    total: int
    clusters: list[ListedCluster]
