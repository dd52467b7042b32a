"""A query -> the nearest rows, filtered: exactly k where k exist, however much is left out.

What a dataset's files say of its rows (removals, conditions, verdicts, clusters of duplicates) the
index's search obeys itself. What only vectors tell (violence, a safety head; near copies, where
`frenchcat dedup` was never run) is judged on the hits, of which more are fetched until k are left.
Such near copies are, as in clip-retrieval, hits that are connected by cosines of .94 and above.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from curate.dedup.cluster import components
from index.search import Positions
from index.service.taste import Taste, violent
from index.visible import View

if TYPE_CHECKING:
    from index.service.metrics import Metrics
    from index.service.volume import Volume

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


@dataclass(frozen=True)
class Found:
    """Positions of rows, nearest first, with their cosines; and what was left out, by reason."""

    positions: Positions
    similarities: NDArray[np.float32]
    hidden: dict[str, int] = field(default_factory=dict)


def find(volume: Volume, vector: Rows, wanted: Wanted, taste: Taste, metrics: Metrics) -> Found:
    """The nearest rows to a (D,) unit vector. Raises `UserError` for a bad condition."""
    compares = not wanted.view.duplicates and not volume.filters()["duplicates"]
    judges = compares or wanted.prompts is not None or (wanted.view.safe and taste.head is not None)
    fetched = wanted.k + (wanted.k // 8 + MARGIN if judges else 0)
    while True:
        with metrics.time("knn_index_time"):
            ranked = volume.searcher.ranked(vector, fetched, wanted.by, wanted.view)
        reasons = np.full(len(ranked), "", "<U16")
        if judges and len(ranked):
            reasons = _judged(volume, ranked.positions, wanted, taste, metrics, compares)
        kept = np.flatnonzero(reasons == "")
        if len(kept) >= wanted.k or len(ranked) < fetched:
            break
        fetched *= 4
    kept = kept[: wanted.k]
    reach = int(kept[-1]) + 1 if len(kept) == wanted.k else len(ranked)
    hidden = Counter(str(reason) for reason in reasons[:reach] if reason)
    if wanted.count_hidden:
        hidden += Counter(volume.searcher.hidden(vector, wanted.k, wanted.by, wanted.view))
    return Found(ranked.positions[kept], ranked.similarities[kept], dict(hidden))


def _judged(
    volume: Volume,
    positions: Positions,
    wanted: Wanted,
    taste: Taste,
    metrics: Metrics,
    compares: bool,
) -> NDArray[np.str_]:
    """Why each hit is left out: (n,) text, "" for one that stays."""
    reasons = np.full(len(positions), "", "<U16")
    vectors = volume.searcher.vectors(positions)
    with metrics.time("safety_time"):
        if wanted.view.safe:
            reasons[taste.unsafe(vectors)] = "unsafe"
        if wanted.prompts is not None:
            reasons[violent(vectors, wanted.prompts)] = "violence"
    if compares:
        with metrics.time("dedup_time"):
            left = np.flatnonzero(reasons == "")
            reasons[left[later_copies(vectors[left])]] = "duplicate"
    return reasons


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
