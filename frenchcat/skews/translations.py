"""How the results of a term's queries agree between its languages, and in what they differ.

Agreement is overlap and rank-biased overlap of the rankings. The difference is that of attributes'
shares among the results; it is told and not tested, since the two results share images.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from frenchcat.index.terms import Text
from frenchcat.skews.rankings import overlap, rank_biased_overlap
from frenchcat.skews.report import Difference, Translation
from frenchcat.skews.request import Query, SkewRequest, spellings
from frenchcat.skews.rows import BaseRows

if TYPE_CHECKING:
    from frenchcat.index.search import Searcher

TOLD = 3
"""Attributes per pair of languages."""
LEAST = 0.1
"""Smaller differences of shares are left out."""


def translations_of(
    searcher: Searcher, request: SkewRequest, queries: Sequence[Query], rows: BaseRows
) -> list[Translation]:
    """How the results of each term agree between every two of its languages."""
    spelt = [
        (query, language, request.worded(spelling))
        for query in queries
        for language, spelling in query.term.queries
    ]
    vectors = searcher.encode_many([[(1.0, Text(text))] for _, _, text in spelt])
    ranked: dict[str, dict[str, NDArray[np.int64]]] = {}
    for (query, language, _), vector in zip(spelt, vectors, strict=True):
        found = searcher.ranked(vector, request.k, "image", request.view)
        ranked.setdefault(query.name, {})[language] = found.positions
    made = []
    for query in queries:
        found_by = ranked[query.name]
        shares = {name: _shares(rows, positions) for name, positions in found_by.items()}
        for one, other in itertools.combinations(found_by, 2):
            lists = found_by[one].tolist(), found_by[other].tolist()
            differs = _differences(query, rows, shares[one], shares[other])
            made.append(
                Translation(
                    query.name, one, other, overlap(*lists), rank_biased_overlap(*lists), differs
                )
            )
    return made


def _shares(rows: BaseRows, positions: NDArray[np.int64]) -> NDArray[np.float64]:
    """(A,) the share of each attribute among results."""
    return np.asarray(rows.members[rows.places(positions)].mean(axis=0), np.float64)


def _differences(
    query: Query, rows: BaseRows, one: NDArray[np.float64], other: NDArray[np.float64]
) -> tuple[Difference, ...]:
    """The attributes whose shares differ most; the query's own words are left out."""
    own = spellings(query.term)
    found: list[Difference] = []
    for at in np.argsort(-np.abs(one - other), kind="stable").tolist():
        attribute = rows.attributes[at]
        if abs(one[at] - other[at]) < LEAST or len(found) == TOLD:
            break
        if attribute.term is None or not own & spellings(attribute.term):
            shares = float(one[at]), float(other[at])
            found.append(Difference(attribute.kind, attribute.name, *shares))
    return tuple(found)
