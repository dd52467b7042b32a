"""A query -> the nearest rows, filtered: exactly k where k exist, however much is left out.

What a dataset's files say of its rows (removals, conditions, verdicts, clusters of duplicates) the
index's search obeys itself. What only vectors tell (violence, a safety head; near copies, where
`frenchcat dedup` was never run) is judged on the hits, of which more are fetched until k are left.
Such near copies are, as in clip-retrieval, hits that are connected by cosines of .94 and above.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.dedup.cluster import components
from frenchcat.index.hit import Ranked
from frenchcat.index.search import Positions
from frenchcat.index.service.content_policy import ContentPolicy, violent
from frenchcat.index.visible import View

if TYPE_CHECKING:
    from frenchcat.index.service.metrics import Metrics
    from frenchcat.index.service.served_dataset import ServedDataset

Rows = NDArray[np.float32]  # (n, D)
NEAR = 0.94  # cosine; clip-retrieval's
MARGIN = 64  # hits fetched beyond k at once
_BLOCK = 512  # rows compared at a time


@dataclass(frozen=True)
class Wanted:
    """Which rows, and how many."""

    k: int
    by: str = "image"
    view: View = field(default_factory=View)
    prompts: Rows | None = None  # (2, D): what is nearer to the second is left out
    count_hidden: bool = False  # costs a second search
    min_similarity: float | None = None  # the minimum cosine of a hit to the query
    words: str | None = None  # of a hybrid query: what captions shall hold


@dataclass(frozen=True)
class NearestRows:
    """Positions of rows, nearest first, with their cosines; and what was left out, by reason."""

    positions: Positions
    similarities: NDArray[np.float32]
    hidden: dict[str, int] = field(default_factory=dict)


def find(
    served: ServedDataset,
    vector: Rows,
    wanted: Wanted,
    content_policy: ContentPolicy,
    metrics: Metrics,
) -> NearestRows:
    """The nearest rows to a (D,) unit vector. Raises `UserError` for a bad condition."""
    judge = _Judge(served, wanted, content_policy, metrics)
    fetched = wanted.k + (wanted.k // 8 + MARGIN if judge.judges else 0)
    while True:
        with metrics.time("knn_index_time"):
            ranked = _ranked(served, vector, fetched, wanted, judge.obeyed)
            ranked = ranked.at_least(wanted.min_similarity)
        reasons = judge.reasons(ranked.positions)
        kept = np.flatnonzero(reasons == "")
        if len(kept) >= wanted.k or len(ranked) < fetched:
            break
        fetched *= 4
    kept = kept[: wanted.k]
    reach = int(kept[-1]) + 1 if len(kept) == wanted.k else len(ranked)
    hidden = Counter(str(reason) for reason in reasons[:reach] if reason)
    if wanted.count_hidden:
        if judge.collapses:
            del hidden["duplicate"]  # counted below
        hidden += Counter(served.searcher.hidden(vector, wanted.k, wanted.by, wanted.view))
    return NearestRows(ranked.positions[kept], ranked.similarities[kept], dict(hidden))


def _ranked(served: ServedDataset, vector: Rows, count: int, wanted: Wanted, view: View) -> Ranked:
    if wanted.words is None:
        return served.searcher.ranked(vector, count, wanted.by, view)
    return served.searcher.hybrid(wanted.words, vector, count, wanted.by, view)


class _Judge:
    """What is left out of the hits of one query, after the index's search."""

    def __init__(
        self, served: ServedDataset, wanted: Wanted, content_policy: ContentPolicy, metrics: Metrics
    ) -> None:
        self._served, self._wanted, self._content_policy, self._metrics = (
            served,
            wanted,
            content_policy,
            metrics,
        )
        view = wanted.view
        clustered = served.filters()["duplicates"]
        self.collapses = not view.duplicates and clustered
        self._compares = not view.duplicates and not clustered
        self._looks = wanted.prompts is not None or (view.safe and content_policy.head is not None)
        self.judges = self.collapses or self._compares or self._looks
        # Few rows are duplicates: to drop them from the hits is cheaper than to ask at every row.
        self.obeyed = replace(view, duplicates=True) if self.collapses else view

    def reasons(self, positions: Positions) -> NDArray[np.str_]:
        """Why each hit is left out: (n,) text, "" for one that stays."""
        reasons = np.full(len(positions), "", "<U9")
        if not self.judges or not len(positions):
            return reasons
        vectors = None
        if self._looks or self._compares:
            vectors = self._served.searcher.vectors(positions)
        if self._looks and vectors is not None:
            with self._metrics.time("safety_time"):
                if self._wanted.view.safe:
                    reasons[self._content_policy.unsafe(vectors)] = "unsafe"
                if self._wanted.prompts is not None:
                    reasons[violent(vectors, self._wanted.prompts)] = "violence"
        if not self._wanted.view.duplicates:
            with self._metrics.time("dedup_time"):
                left = np.flatnonzero(reasons == "")
                reasons[left[self._doubles(positions[left], vectors, left)]] = "duplicate"
        return reasons

    def _doubles(
        self, positions: Positions, vectors: Rows | None, left: NDArray[np.int64]
    ) -> NDArray[np.bool_] | NDArray[np.int64]:
        """Which of the hits another row stands for."""
        if vectors is not None and self._compares:
            return later_copies(vectors[left])
        return ~self._served.searcher.shown(positions, self._wanted.view)


def later_copies(vectors: Rows) -> NDArray[np.int64]:
    """The places of (n, D) unit rows that an earlier row of the same group stands for.

    A group is what is connected by cosines of NEAR and above.
    """
    edges = [np.empty((0, 2), np.int64)]
    for start in range(0, len(vectors), _BLOCK):
        cosines = vectors[start : start + _BLOCK] @ vectors[start:].T
        pairs = np.argwhere(cosines >= NEAR) + start
        edges.append(pairs[pairs[:, 0] < pairs[:, 1]])
    groups = components(len(vectors), np.concatenate(edges))
    return np.flatnonzero(groups != np.arange(len(vectors)))
