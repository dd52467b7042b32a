"""The audit of queries: what results and drawings of each query show, beside the base rates.

Reads a dataset's index, catalog and model, and a run where one is given; writes nothing. Each query
is a term of a word list in one language. Its k results (or its drawings) are counted by caption
terms, countries, languages and concepts (rows.py, concepts.py), and by how few domains and clusters
they come from. A query's own words are left out: of course its results have them.

All comparisons that are tested make one family; those that stand out are chosen with the false
discovery rate held at FDR over it (Benjamini & Hochberg 1995). Where no query is skewed, the chance
that anything is reported at all is FDR at most.

Cost: a text, a search and a bootstrap per query; concepts read at most SAMPLE vectors for the base.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.curate.report.audit import FDR, benjamini_hochberg, effective
from frenchcat.curate.report.terms import AuditTerm, load_terms
from frenchcat.index.terms import Text
from frenchcat.index.visible import View
from frenchcat.skews.concepts import (
    AuditedConcept,
    called,
    check_confusion,
    confusion_of,
    load_concepts,
)
from frenchcat.skews.rankings import overlap, rank_biased_overlap
from frenchcat.skews.rows import MIN_ROWS, BaseRows, base_rows
from frenchcat.skews.shares import (
    Confusion,
    binomial_p,
    corrected,
    design_effects,
    drawn_shares,
    effective_by_chance,
    interval,
)

if TYPE_CHECKING:
    from frenchcat.index.search import Searcher

SAMPLE = 20_000
"""Rows that the base rate of a concept is counted over, at most."""
CHANCE = 20_000
"""Random draws that a concentration is compared with."""
RESULTS, DRAWINGS = "results", "drawings"


@dataclass(frozen=True)
class SkewRequest:
    """What is asked."""

    terms: tuple[str, ...] = ("occupations",)
    """Word lists whose terms are the queries: names in configs/terms/, or paths."""
    attributes: tuple[str, ...] = ("people", "places")
    """Word lists that are looked for in the captions of what is found."""
    concepts: Path | None = None
    k: int = 100
    language: str = "en"
    template: str = "{}"
    """The query around a term's spelling, such as `a photo of a {}`."""
    view: View = field(default_factory=View)
    run: Path | None = None
    drawings: int = 16
    """Per query, where there is a run."""
    guidance: float = 3.0
    seed: int = 0


@dataclass(frozen=True)
class Query:
    """A term as it is searched for."""

    term: AuditTerm
    text: str

    @property
    def name(self) -> str:
        """The term's name."""
        return self.term.name


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
    random = np.random.default_rng(request.seed)
    queries = queries_of(request)
    attributes = load_terms(request.attributes) if request.attributes else []
    concepts = [] if request.concepts is None else load_concepts(request.concepts)
    rows = base_rows(dataset, searcher, request.view, attributes)
    if not 1 <= request.k < len(rows):
        raise UserError(
            f"k is {request.k} and {len(rows)} rows of {dataset.root} may be found; compare fewer "
            "results than there are rows: -k " + str(max(1, len(rows) // 10))
        )
    bases = _Concepts.of(searcher, rows, concepts, random)
    vectors = searcher.encode_many([[(1.0, Text(query.text))] for query in queries])
    shares: list[Share] = []
    concentrations: list[Concentration] = []
    results: dict[str, NDArray[np.int64]] = {}
    chances = _chances(rows, request.k, random)
    by_domain = 0
    for query, vector in zip(queries, vectors, strict=True):
        told(query.name)
        ranked = searcher.ranked(vector, request.k, "image", request.view)
        places = rows.places(ranked.positions)
        results[query.name] = places
        images = searcher.vectors(ranked.positions) if concepts else None
        called_so = bases.called(images)
        made, drawn = _shares(query, rows, places, called_so, bases, random)
        shares += made
        by_domain += drawn
        concentrations += _concentrations(query, rows, places, chances)
    if request.run is not None and concepts:
        shares += _drawn_shares(searcher, request, queries, bases, random, told)
    shares, concentrations = _adjusted(shares, concentrations)
    return SkewReport(
        dataset=dataset.root,
        model=searcher.clip.name,
        rows=len(rows),
        request=request,
        queries=tuple(queries),
        shares=tuple(shares),
        concentrations=tuple(concentrations),
        translations=tuple(_translations(searcher, request, queries)),
        concepts=tuple(bases.bases),
        by_domain=by_domain,
        unmeasured=(*rows.unmeasured, *_undrawn(request, concepts)),
        results=results,
        base=rows,
    )


def queries_of(request: SkewRequest) -> list[Query]:
    """The queries of a request. Raises `UserError` for a term that its language lacks."""
    if request.template.count("{}") != 1:
        raise UserError(
            f"the template {request.template!r} has no single {{}} for the term; "
            "write it as 'a photo of a {}'"
        )
    made = []
    for term in load_terms(request.terms):
        spelling = term.query(request.language)
        if spelling is None:
            known = ", ".join(language for language, _ in term.queries)
            raise UserError(
                f"the term {term.name!r} has no spelling in {request.language!r}; it has: {known}"
            )
        made.append(Query(term, request.template.format(spelling)))
    return made


def _undrawn(request: SkewRequest, concepts: Sequence[AuditedConcept]) -> list[str]:
    if request.run is not None and not concepts:
        return [
            "drawings: not made, since they have no captions and no concept is given to tell "
            "them apart by; add --concepts FILE"
        ]
    return []


@dataclass(frozen=True)
class _Concepts:
    """The concepts with their prompts' vectors and base rates."""

    bases: list[ConceptBasis]
    prompts: list[tuple[NDArray[np.float32], NDArray[np.float32]]]  # of yes, of no

    @classmethod
    def of(
        cls,
        searcher: Searcher,
        rows: BaseRows,
        concepts: Sequence[AuditedConcept],
        random: np.random.Generator,
    ) -> _Concepts:
        made = cls([], [])
        if not concepts:
            return made
        chosen = np.sort(random.permutation(len(rows))[:SAMPLE])
        images = searcher.vectors(rows.positions[chosen])
        place = {key: at for at, key in enumerate(rows.keys)}
        for concept in concepts:
            yes, no = (
                searcher.clip.encode_texts(list(texts)) for texts in (concept.yes, concept.no)
            )
            confusion = concept.confusion
            if concept.labels is not None:
                if lost := [key for key in concept.labels if key not in place]:
                    raise UserError(
                        f"{concept.source} labels {lost[0]!r}, which is no row that a search of "
                        f"{searcher.dataset.root} may show ({len(lost)} of {len(concept.labels)} "
                        "are not); label rows of this dataset"
                    )
                at = rows.positions[[place[key] for key in concept.labels]]
                labels = np.array(list(concept.labels.values()), bool)
                confusion = confusion_of(labels, called(searcher.vectors(at), yes, no))
                check_confusion(concept.name, confusion, concept.source)
            share = float(called(images, yes, no).mean())
            made.bases.append(ConceptBasis(concept, confusion, share, len(images)))
            made.prompts.append((yes, no))
        return made

    def called(self, images: NDArray[np.float32] | None) -> NDArray[np.bool_]:
        """(n, C) which image is called what."""
        if images is None:
            return np.zeros((0, 0), bool)
        return np.stack([called(images, yes, no) for yes, no in self.prompts], axis=1)


def _shares(
    query: Query,
    rows: BaseRows,
    places: NDArray[np.int64],
    called_so: NDArray[np.bool_],
    bases: _Concepts,
    random: np.random.Generator,
) -> tuple[list[Share], bool]:
    """The shares of a query's results; whether whole domains were drawn."""
    own = _spellings(query.term)
    chosen = [
        at
        for at, attribute in enumerate(rows.attributes)
        if attribute.term is None or not own & _spellings(attribute.term)
    ]
    members = rows.members[places][:, chosen]
    count = len(places)
    both = np.concatenate([members, called_so], axis=1) if called_so.size else members
    effects, by_domain = design_effects(both, rows.domains[places], random)
    made = []
    if chosen:
        base = rows.shares[chosen]
        # An attribute of all rows is one of all results.
        tested = (rows.members[:, chosen].sum(axis=0) >= MIN_ROWS) & (base < 1)
        found, of = members.sum(axis=0), count / effects[: len(chosen)]
        scaled = found / effects[: len(chosen)]
        low, high = interval(*drawn_shares(scaled, of, random))
        p = binomial_p(scaled, of, base)
        for at, place in enumerate(chosen):
            attribute = rows.attributes[place]
            made.append(
                Share(
                    query=query.name,
                    shown=RESULTS,
                    kind=attribute.kind,
                    name=attribute.name,
                    found=int(found[at]),
                    of=count,
                    share=float(found[at] / count),
                    low=float(low[at]),
                    high=float(high[at]),
                    base=float(base[at]),
                    p=float(p[at]) if tested[at] else None,
                )
            )
    made += _concept_shares(query, RESULTS, called_so, effects[len(chosen) :], bases, random)
    return made, by_domain


def _concept_shares(
    query: Query,
    shown: str,
    called_so: NDArray[np.bool_],
    effects: NDArray[np.float64],
    bases: _Concepts,
    random: np.random.Generator,
) -> list[Share]:
    """The shares of concepts among images (n, C) that are called so."""
    made = []
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
        made.append(
            Share(
                query=query.name,
                shown=shown,
                kind="concept",
                name=basis.concept.name,
                found=found,
                of=count,
                share=float(share),
                low=float(low[0]),
                high=float(high[0]),
                base=float(base),
                p=p,
            )
        )
    return made


def _spellings(term: AuditTerm) -> set[str]:
    return {spelling.lower() for spelling in (*term.words, *term.parts)}


def _chances(
    rows: BaseRows, k: int, random: np.random.Generator
) -> dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Kind -> the groups of all rows, and effective numbers of k rows drawn at random."""
    groups = {"domains": rows.domains}
    if rows.clusters is not None:
        groups["clusters"] = rows.clusters
    return {
        kind: (of_rows, effective_by_chance(of_rows, k, CHANCE, random))
        for kind, of_rows in groups.items()
        if len(np.unique(of_rows)) not in (1, len(of_rows))
    }


def _concentrations(
    query: Query,
    rows: BaseRows,
    places: NDArray[np.int64],
    chances: dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]],
) -> list[Concentration]:
    made = []
    for kind, (groups, chance) in chances.items():
        _, sizes = np.unique(groups[places], return_counts=True)
        found = effective(sizes)
        # One-sided: few sources are the question. The least p is 1 / (CHANCE + 1).
        fewer = int(np.searchsorted(chance, found * (1 + 1e-9), side="right"))
        low, high = np.quantile(chance, [0.025, 0.975])
        p = (1 + fewer) / (1 + len(chance))
        made.append(Concentration(query.name, kind, found, float(low), float(high), p))
    return made


def _drawn_shares(
    searcher: Searcher,
    request: SkewRequest,
    queries: Sequence[Query],
    bases: _Concepts,
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
        found = bases.called(searcher.clip.encode_pictures(pictures))
        effects = np.ones(found.shape[1])
        made += _concept_shares(query, DRAWINGS, found, effects, bases, random)
    return made


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


def _translations(
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
