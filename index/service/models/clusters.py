"""Clusters of duplicates as /v1 answers with them."""

from __future__ import annotations

from pydantic import BaseModel, Field

from frenchcat.index.service.models.rows import RowResponse


class ClusterMember(RowResponse):
    """A row of a cluster."""

    by_hand: bool | None = Field(
        None, description="true if it is kept by hand, false if it is dropped by hand."
    )


class ListedCluster(BaseModel):
    """Rows that are duplicates of each other."""

    rows: int
    members: list[ClusterMember] = Field(description="The first 200 rows of the cluster.")


class Clusters(BaseModel):
    """Clusters of duplicates, the largest first."""

    dataset: str
    total: int
    clusters: list[ListedCluster]
