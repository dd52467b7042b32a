"""The shares of attributes among what one query shows, beside their base rates.

Attributes are caption terms, countries, languages and concepts (rows.py, concepts.py). A query's
own words are left out: of course its results have them. The spread of a share takes whole domains
at a time, since rows of a domain are not independent (shares.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.skews.concept_bases import ConceptBases
from frenchcat.skews.report import DRAWINGS, RESULTS, Share
from frenchcat.skews.request import Query, SkewRequest, spellings
from frenchcat.skews.rows import MIN_ROWS, BaseRows
from frenchcat.skews.shares import (
    binomial_p,
    corrected,
    design_effects,
    drawn_shares,
    interval,
)

if TYPE_CHECKING:
    from frenchcat.index.search import Searcher


def result_shares(
    query: Query,
    rows: BaseRows,
    places: NDArray[np.int64],
    called_so: NDArray[np.bool_],
    bases: ConceptBases,
    random: np.random.Generator,
) -> tuple[list[Share], bool]:
    """The shares of a query's results; whether whole domains were drawn."""
    own = spellings(query.term)
    chosen = [
        at
        for at, attribute in enumerate(rows.attributes)
        if attribute.term is None or not own & spellings(attribute.term)
    ]
    members = rows.members[places][:, chosen]
    count = len(places)
    both = np.concatenate([members, called_so], axis=1) if called_so.size else members
    effects, by_domain = design_effects(both, rows.domains[places], random)
    made: list[Share] = []
    if chosen:
        base = rows.shares[chosen]
        # An attribute of all rows is one of all results.
        tested = (rows.members[:, chosen].sum(axis=0) >= MIN_ROWS) & (base < 1)
        found, of = members.sum(axis=0), count / effects[: len(chosen)]
        scaled = found / effects[: len(chosen)]
        low, high = interval(*drawn_shares(scaled, of, random))
        p = binomial_p(scaled, of, base)
        names = [(rows.attributes[place].kind, rows.attributes[place].name) for place in chosen]
        tests = [value if test else None for value, test in zip(p, tested, strict=True)]
        measured = zip(found, found / count, low, high, base, tests, strict=True)
        made = _measured(query, RESULTS, names, count, measured)
    made += _concept_shares(query, RESULTS, called_so, effects[len(chosen) :], bases, random)
    return made, by_domain


def drawn_concepts(
    searcher: Searcher,
    request: SkewRequest,
    queries: Sequence[Query],
    bases: ConceptBases,
    random: np.random.Generator,
    told: Callable[[str], None],
) -> list[Share]:
    """The shares of concepts among drawings of each query, as many as are asked for."""
    from frenchcat.train.draw import SampleRequest, draw
    from frenchcat.train.run import open_run

    assert request.run is not None
    parts, _, _ = open_run(request.run)
    made: list[Share] = []
    for query in queries:
        told(f"{query.name}, {request.drawings} drawings")
        wanted = [SampleRequest(query.text, request.seed + n) for n in range(request.drawings)]
        pictures = draw(parts, wanted, guidance=request.guidance)
        found = bases.called(searcher.clip.encode_images(pictures))
        effects = np.ones(found.shape[1])
        made += _concept_shares(query, DRAWINGS, found, effects, bases, random)
    return made


def _concept_shares(
    query: Query,
    shown: str,
    called_so: NDArray[np.bool_],
    effects: NDArray[np.float64],
    bases: ConceptBases,
    random: np.random.Generator,
) -> list[Share]:
    """The shares of concepts among images (n, C) that are called so."""
    measured: list[tuple[Any, ...]] = []
    for at, basis in enumerate(bases.bases):
        count, found = len(called_so), int(called_so[:, at].sum())
        of, scaled = np.array([count / effects[at]]), np.array([found / effects[at]])
        ends = drawn_shares(scaled, of, random)
        share, base = found / count, basis.base
        # Smoothed: a base of 0 or 1 in a sample is not 0 or 1 of the dataset.
        chance = (base * basis.sampled + 0.5) / (basis.sampled + 1)
        p: float | None = float(binomial_p(scaled, of, np.array([chance]))[0])
        if basis.confusion is None:
            p = None  # what would stand out may be the classifier's error
        else:
            known = (basis.confusion.sensitivity, basis.confusion.specificity)
            share, base = float(corrected(share, *known)), float(corrected(base, *known))
            errors = [error[:, None] for error in basis.confusion.drawn(random)]
            ends = (corrected(ends[0], *errors), corrected(ends[1], *errors))
        low, high = interval(*ends)
        measured.append((found, share, low[0], high[0], base, p))
    names = [("concept", basis.concept.name) for basis in bases.bases]
    return _measured(query, shown, names, len(called_so), measured)


def _measured(
    query: Query,
    shown: str,
    names: Iterable[tuple[str, str]],
    of: int,
    measured: Iterable[tuple[Any, ...]],
) -> list[Share]:
    """Shares of attributes by kind and name; each has found, share, low, high, base and p."""
    return [
        Share(
            query=query.name,
            shown=shown,
            kind=kind,
            name=name,
            found=int(found),
            of=of,
            share=float(share),
            low=float(low),
            high=float(high),
            base=float(base),
            p=None if p is None else float(p),
        )
        for (kind, name), (found, share, low, high, base, p) in zip(names, measured, strict=True)
    ]
