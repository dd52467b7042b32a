"""The audit of queries: what results and drawings of each query show, beside the base rates.

Reads a dataset's index, catalog and model, and a run where one is given; writes nothing. Each query
is a term of a word list in one language. Its k results (or its drawings) are counted by attribute
(query_shares.py), and by how few domains and clusters they come from (concentrations.py).

All comparisons that are tested make one family; those that stand out are chosen with the false
discovery rate held at FDR over it (Benjamini & Hochberg 1995). Where no query is skewed, the chance
that anything is reported at all is FDR at most.

Cost: a text, a search and a bootstrap per query.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.command_text import shell_command
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.curate.report.terms import load_terms
from frenchcat.curate.statistics import benjamini_hochberg
from frenchcat.index.terms import Text
from frenchcat.skews.concentrations import chances_of, concentrations_of
from frenchcat.skews.concept_bases import ConceptBases
from frenchcat.skews.concepts import (
    AuditedConcept,
    load_concepts,
)
from frenchcat.skews.query_shares import drawn_concepts, result_shares
from frenchcat.skews.report import Concentration, Share, SkewReport
from frenchcat.skews.request import SkewRequest, check_request, queries_of
from frenchcat.skews.rows import base_rows
from frenchcat.skews.translations import translations_of

if TYPE_CHECKING:
    from frenchcat.index.search import Searcher


def audit_queries(
    dataset: Dataset,
    searcher: Searcher,
    request: SkewRequest,
    told: Callable[[str], None] = lambda _: None,
) -> SkewReport:
    """Measure. `told` is called with each query's name before it is drawn or searched for.

    Raises `UserError` for a bad list, a language that a list lacks, a k that is not below the rows
    that the view shows, and concepts that do no better than chance.
    """
    check_request(request)
    random = np.random.default_rng(request.seed)
    queries = queries_of(request)
    attributes = load_terms(request.attributes) if request.attributes else []
    concepts = [] if request.concepts is None else load_concepts(request.concepts)
    rows = base_rows(dataset, searcher, request.view, attributes)
    if not len(rows):
        raise UserError(
            f"no row of {dataset.root} is shown; loosen --where, or see what verdicts drop: "
            f"{shell_command('info', dataset.root)}"
        )
    if not 1 <= request.k < len(rows):
        raise UserError(
            f"k is {request.k} and {len(rows)} rows of {dataset.root} may be found; compare fewer "
            "results than there are rows: -k " + str(max(1, len(rows) // 10))
        )
    bases = ConceptBases.of(searcher, rows, concepts, random)
    vectors = searcher.encode_many([[(1.0, Text(query.text))] for query in queries])
    shares: list[Share] = []
    concentrations: list[Concentration] = []
    results: dict[str, NDArray[np.int64]] = {}
    chances = chances_of(rows, request.k, random)
    by_domain = 0
    for query, vector in zip(queries, vectors, strict=True):
        told(query.name)
        ranked = searcher.ranked(vector, request.k, "image", request.view)
        places = rows.places(ranked.positions)
        results[query.name] = places
        images = searcher.vectors(ranked.positions) if concepts else None
        called_so = bases.called(images)
        made, drawn = result_shares(query, rows, places, called_so, bases, random)
        shares += made
        by_domain += drawn
        concentrations += concentrations_of(query, rows, places, chances)
    if request.run is not None and concepts:
        shares += drawn_concepts(searcher, request, queries, bases, random, told)
    shares, concentrations = _adjusted(shares, concentrations)
    return SkewReport(
        dataset=dataset.root,
        model=searcher.clip.name,
        rows=len(rows),
        request=request,
        queries=tuple(queries),
        shares=tuple(shares),
        concentrations=tuple(concentrations),
        translations=tuple(translations_of(searcher, request, queries, rows)),
        concepts=tuple(bases.bases),
        by_domain=by_domain,
        unmeasured=(*rows.unmeasured, *_undrawn(request, concepts)),
        results=results,
        base=rows,
    )


def _undrawn(request: SkewRequest, concepts: Sequence[AuditedConcept]) -> list[str]:
    if request.run is not None and not concepts:
        return [
            "drawings: not made, since they have no captions and no concept is given to tell "
            "them apart by; add --concepts FILE"
        ]
    return []


def _adjusted(
    shares: Sequence[Share], concentrations: Sequence[Concentration]
) -> tuple[list[Share], list[Concentration]]:
    """With q values over all that was tested."""
    every: list[Share | Concentration] = [*shares, *concentrations]
    tested = [one for one in every if one.p is not None]
    found = benjamini_hochberg(np.array([one.p for one in tested], np.float64))
    q = {id(one): float(value) for one, value in zip(tested, found, strict=True)}
    return (
        [replace(one, q=q.get(id(one), 1.0)) for one in shares],
        [replace(one, q=q[id(one)]) for one in concentrations],
    )
