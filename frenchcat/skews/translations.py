"""How the results of a term's queries agree between its languages."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from frenchcat.index.terms import Text
from frenchcat.skews.rankings import overlap, rank_biased_overlap
from frenchcat.skews.report import Translation
from frenchcat.skews.request import Query, SkewRequest

if TYPE_CHECKING:
    from frenchcat.index.search import Searcher


def translations_of(
    searcher: Searcher, request: SkewRequest, queries: Sequence[Query]
) -> list[Translation]:
    """How the results of each term agree between every two of its languages."""
    spelt = [
        (query.name, language, request.template.format(spelling))
        for query in queries
        for language, spelling in query.term.queries
    ]
    vectors = searcher.encode_many([[(1.0, Text(text))] for _, _, text in spelt])
    ranked: dict[str, dict[str, list[int]]] = {}
    for (name, language, _), vector in zip(spelt, vectors, strict=True):
        found = searcher.ranked(vector, request.k, "image", request.view)
        ranked.setdefault(name, {})[language] = found.positions.tolist()
    return [
        Translation(
            name,
            one,
            other,
            overlap(found[one], found[other]),
            rank_biased_overlap(found[one], found[other]),
        )
        for name, found in ranked.items()
        for one, other in itertools.combinations(found, 2)
    ]
