"""Duplicate clusters to look through: of each kind the largest ones, then some by chance.

Reads the view `duplicates`, writes nothing. A cluster is shown under the kinds of evidence that
tie its rows to the one that stays.
"""

from __future__ import annotations

from dataclasses import dataclass

from frenchcat.curate.catalog import Catalog
from frenchcat.curate.dedup.detectors import DETECTORS
from frenchcat.curate.report.examples import ExampleImage, Examples, among, turn
from frenchcat.curate.report.outcomes import columns_of, rows_of

KINDS = tuple(DETECTORS)
LARGEST = 2
BY_CHANCE = 3
MEMBERS = 6
CONTRADICTED = 6
"""Clusters shown whose rows contradict each other."""


@dataclass(frozen=True)
class Cluster:
    """Images taken for one; the first is the one that stays. `value` of each is its kind."""

    name: str
    rows: int
    members: list[ExampleImage]  # at most MEMBERS


@dataclass(frozen=True)
class Duplicates:
    """What the search for duplicates found."""

    rows: int  # stored images that were compared
    kinds: dict[str, int]  # kind -> rows that another stands for
    sizes: dict[int, int]  # rows per cluster -> clusters, of more than one row; 10 is 10 or more
    shown: list[Cluster]
    contradicted: int = 0  # rows whose image others say something else of
    contradicting: tuple[Cluster, ...] = ()  # some of their clusters, of such rows alone

    @property
    def duplicates(self) -> int:
        """Rows that another stands for."""
        return sum(self.kinds.values())


def duplicates(catalog: Catalog, examples: Examples) -> Duplicates | None:
    """Counts and some clusters; None where duplicates were not looked for."""
    if not {"cluster", "kind", "multiplicity"} <= columns_of(catalog, "duplicates").keys():
        return None
    ((rows,),) = rows_of(catalog, "SELECT count(*) FROM duplicates")
    kinds = dict(
        rows_of(catalog, "SELECT kind, count(*) FROM duplicates WHERE kind IS NOT NULL GROUP BY 1")
    )
    sizes = rows_of(
        catalog,
        "SELECT least(multiplicity, 10)::INTEGER, count(*) FROM duplicates "
        "WHERE multiplicity > 1 AND key = cluster GROUP BY 1 ORDER BY 1",
    )
    known = [kind for kind in KINDS if kind in kinds]
    ordered = {kind: int(kinds[kind]) for kind in [*known, *sorted(kinds.keys() - set(known))]}
    contradicted, contradicting = _contradicting(catalog, examples)
    return Duplicates(
        int(rows), ordered, dict(sizes), _shown(catalog, examples), contradicted, contradicting
    )


def _contradicting(catalog: Catalog, examples: Examples) -> tuple[int, tuple[Cluster, ...]]:
    """How many rows are contradicted by others with their image; some clusters, by chance."""
    if "contradicting" not in columns_of(catalog, "duplicates"):
        return 0, ()  # compared by an older version
    found = rows_of(
        catalog,
        "SELECT cluster, count(*) FROM duplicates WHERE contradicting > 0 GROUP BY 1 "
        f"ORDER BY {turn('cluster')}",
    )
    chosen = [name for name, _ in found[:CONTRADICTED]]
    members = examples.first(
        "duplicates.cluster",
        turn("samples.key"),
        MEMBERS,
        "samples JOIN duplicates USING (key)",
        f"duplicates.contradicting > 0 AND {among('duplicates.cluster', chosen)}",
        "duplicates.kind",
    )
    sizes = dict(found)
    shown = tuple(Cluster(name, int(sizes[name]), members[name]) for name in chosen)
    return sum(sizes.values()), shown


def _shown(catalog: Catalog, examples: Examples) -> list[Cluster]:
    """For each kind the largest clusters and some by chance, each once."""
    chance = turn("cluster")
    found = rows_of(
        catalog,
        f"SELECT kind, max_by(cluster, (m, cluster), {LARGEST}), "
        f"min_by(cluster, {chance}, {LARGEST + BY_CHANCE}) FROM (SELECT kind, cluster, "
        "max(multiplicity) AS m FROM duplicates WHERE kind IS NOT NULL GROUP BY 1, 2) GROUP BY 1",
    )
    chosen: dict[str, None] = {}
    for _, largest, others in sorted(found):
        rest = [name for name in others if name not in largest and name not in chosen]
        chosen |= dict.fromkeys([*largest, *rest[:BY_CHANCE]])
    sizes = dict(
        rows_of(
            catalog,
            "SELECT cluster, max(multiplicity) FROM duplicates WHERE "
            f"{among('cluster', list(chosen))} GROUP BY 1",
        )
    )
    members = examples.first(
        "duplicates.cluster",
        f"(duplicates.duplicate_of IS NOT NULL)::INTEGER + {turn('samples.key')}",
        MEMBERS,
        "samples JOIN duplicates USING (key)",
        among("duplicates.cluster", list(chosen)),
        "duplicates.kind",
    )
    return [Cluster(name, int(sizes[name]), members[name]) for name in chosen if name in members]
