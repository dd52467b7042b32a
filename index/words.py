"""Words: captions found by BM25, combined with CLIP's hits by reciprocal rank.

Reads the captions of an open index at the first query that asks for them; writes nothing. BM25 is
Lucene's (Robertson, Zaragoza: "The Probabilistic Relevance Framework: BM25 and Beyond", 2009), by
bm25s. Words are runs of letters and digits, without case and accents: "Chât" finds "chat". In
scripts without spaces each run is one word, which only an equal run matches. The two rankings are
combined by rank alone, since cosines and BM25 scores have no common scale: the sum over rankings of
1 / (60 + rank) (Cormack, Clarke, Büttcher: "Reciprocal Rank Fusion outperforms Condorcet and
individual Rank Learning Methods", 2009).

Cost: some 30 s and 200 MB per million captions at the first query; then a pass over the rows that
contain a word of the query.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.index.rows import IndexRows

Positions = NDArray[np.int64]
RANK_CONSTANT = 60  # k of Cormack et al.
DEPTH = 100  # of each ranking, at least
_WORD = re.compile(r"\w+")


def words_of(text: str) -> list[str]:
    """A text's words, without case and accents."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return _WORD.findall("".join(c for c in plain if not unicodedata.combining(c)))


class Words:
    """The captions of an index by their words; may be used from several threads."""

    def __init__(self, rows: IndexRows) -> None:
        self._rows, self._lock = rows, Lock()
        self._bm25: Any = None

    def ranked(self, text: str, k: int, allowed: NDArray[np.bool_] | None) -> Positions:
        """At most k positions of rows whose captions contain words of a text, best first."""
        import logging

        import bm25s

        logging.getLogger("bm25s").setLevel(logging.WARNING)  # it prints what it does

        with self._lock:
            if self._bm25 is None:
                captions = [words_of(caption or "") for caption in _captions(self._rows)]
                made = bm25s.BM25(method="lucene")
                # One more word: the vocabulary may not be empty if no caption has words.
                made.index([*captions, ["\0"]], show_progress=False)
                self._bm25 = made
        bm25 = self._bm25
        known = [word for word in dict.fromkeys(words_of(text)) if word in bm25.vocab_dict]
        if not known:
            return np.empty(0, np.int64)
        scores = np.asarray(bm25.get_scores(known))[: self._rows.count]
        if allowed is not None:
            scores = np.where(allowed, scores, 0)
        found = np.flatnonzero(scores > 0)
        return found[np.argsort(-scores[found], kind="stable")[:k]]


def joined(rankings: Sequence[Positions], k: int) -> Positions:
    """The k best positions by reciprocal rank; ties in the order of the earlier list."""
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, position in enumerate(ranking.tolist(), 1):
            scores[position] = scores.get(position, 0.0) + 1 / (RANK_CONSTANT + rank)
    best = sorted(scores, key=lambda position: -scores[position])[:k]
    return np.array(best, np.int64)


def _captions(rows: IndexRows) -> list[str | None]:
    found: list[str | None] = []
    for batch in rows.batches:
        has = "caption" in batch.schema.names
        found += batch.column("caption").to_pylist() if has else [None] * batch.num_rows
    return found
