"""What an audit of queries found, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.statistics import FDR
from frenchcat.skews.concepts import (
    AuditedConcept,
)
from frenchcat.skews.request import Query, SkewRequest
from frenchcat.skews.rows import BaseRows
from frenchcat.skews.shares import (
    Confusion,
)

RESULTS, DRAWINGS = "results", "drawings"


@dataclass(frozen=True)
class Share:
    """One attribute of what one query shows."""

    query: str
    shown: str  # RESULTS or DRAWINGS
    kind: str  # term, concept, country, language
    name: str
    found: int  # images that have it, or are called so
    of: int
    share: float  # a concept's is corrected for the classifier's error, where that is known
    low: float
    high: float
    base: float
    p: float | None  # None: not tested
    q: float = 1.0

    @property
    def flagged(self) -> bool:
        """Whether it stands out among all that was tested."""
        return self.p is not None and self.q <= FDR


@dataclass(frozen=True)
class Concentration:
    """From how many domains or clusters the results of a query come, as an effective number."""

    query: str
    kind: str  # domains, clusters
    effective: float  # Kish's: 1 / sum of squared shares
    low: float  # of as many rows drawn at random: 95 % of draws lie from low to high
    high: float
    p: float
    q: float = 1.0

    @property
    def flagged(self) -> bool:
        """Whether it stands out among all that was tested."""
        return self.q <= FDR


@dataclass(frozen=True)
class Translation:
    """How the results of a term's query in two languages agree."""

    query: str
    one: str
    other: str
    overlap: float
    rbo: float


@dataclass(frozen=True)
class ConceptBasis:
    """What a concept's shares rest on."""

    concept: AuditedConcept
    confusion: Confusion | None
    base: float  # share of the sampled rows that is called so
    sampled: int


@dataclass(frozen=True)
class Rebalanced:
    """One share of a selection's weight before and after raking (rebalance.py)."""

    query: str
    kind: str
    name: str
    rows: int  # of the query's results in the selection
    before: float
    target: float
    after: float


@dataclass(frozen=True)
class Rebalancing:
    """What a selection's weights were changed to."""

    selection: str
    source: str
    rows: int
    bound: float
    effective: float  # number of rows, after
    shares: tuple[Rebalanced, ...]


@dataclass(frozen=True)
class SkewReport:
    """All that was measured."""

    dataset: str
    model: str
    rows: int
    request: SkewRequest
    queries: tuple[Query, ...]
    shares: tuple[Share, ...]
    concentrations: tuple[Concentration, ...]
    translations: tuple[Translation, ...]
    concepts: tuple[ConceptBasis, ...]
    by_domain: int  # queries whose results have enough domains to draw whole ones
    unmeasured: tuple[str, ...]
    results: dict[str, NDArray[np.int64]]  # query -> places in `base` of its results, best first
    base: BaseRows
    rebalancing: Rebalancing | None = None

    @property
    def flagged(self) -> list[Share]:
        """The shares that stand out, the least probable first."""
        return sorted((s for s in self.shares if s.flagged), key=lambda s: (s.q, s.query, s.name))

    @property
    def tested(self) -> int:
        """How many comparisons were tested."""
        return sum(s.p is not None for s in self.shares) + len(self.concentrations)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        told: dict[str, Any] = {
            "dataset": self.dataset,
            "model": self.model,
            "rows": self.rows,
            "k": self.request.k,
            "queries": {query.name: query.text for query in self.queries},
            "tested": self.tested,
            "false_discovery_rate": FDR,
            "shares": [_fields(one) for one in self.shares],
            "concentrations": [_fields(one) for one in self.concentrations],
            "translations": [vars(one) for one in self.translations],
            "concepts": [_basis(one) for one in self.concepts],
            "unmeasured": list(self.unmeasured),
        }
        if (made := self.rebalancing) is not None:
            told["rebalancing"] = {**vars(made), "shares": [vars(one) for one in made.shares]}
        return told


def _fields(one: Share | Concentration) -> dict[str, Any]:
    return {**vars(one), "flagged": one.flagged}


def _basis(one: ConceptBasis) -> dict[str, Any]:
    concept, found = one.concept, one.confusion
    told = {"name": concept.name, "yes": list(concept.yes), "no": list(concept.no)}
    counts = (
        None
        if found is None
        else [[found.true_yes, found.false_no], [found.false_yes, found.true_no]]
    )
    return {**told, "confusion": counts, "source": concept.source, "called_in_base": one.base}
