"""What each filter does to the share of captions that hold a term, with intervals.

A pure function of counts. For a filter and a term, of the rows that reach the filter::

    ratio = share of the term in what stays / share of the term before

below 1, the filter thins the term out. A filter is judged by the rows that reached it alone, or an
earlier one's bias would be laid at its door: failures and opt-outs are steps of one download, each
beside what was stored; the verdict's rules come one after the other in their order, each beside
what none of the earlier ones had dropped. Rules whose order is not known are taken for steps of
one, each beside what was kept.

Intervals are percentile bootstrap (Efron, "Bootstrap methods: another look at the jackknife",
Ann. Statist. 7, 1979): whole domains are drawn, since captions of one site resemble each other,
with Poisson(1) weights in place of multinomial ones (Chamandy et al., "Estimating uncertainty for
massive data streams", 2012). Where too few domains carry the dataset, rows are drawn instead, which
takes captions for independent: too narrow then.

A p-value compares the drop rate of the term's captions with that of all. Its standard error is the
larger of the bootstrap's and of the hypergeometric's under no effect, as the former alone is too
small where next to nothing was dropped. Pairs are flagged with the false discovery rate held at
FDR over all of them (Benjamini & Hochberg, J. R. Stat. Soc. B 57, 1995). Pairs with fewer rows than
MIN_ROWS, or in which fewer than MIN_EXPECTED would be dropped or stay under no effect, are not
tested: that depends on the margins alone, so it favours neither finding.

Cost: replicates x (domains that have the term) x fates per term; memory the weights, one byte per
domain and replicate, of at most MAX_GROUPS domains. tests/curate/report/test_scale.py measures a
million captions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.catalog import Catalog
from frenchcat.curate.failures import OPTED_OUT
from frenchcat.curate.manifest import Manifest
from frenchcat.curate.report.outcomes import NOT_EMBEDDED, REMOVED
from frenchcat.curate.report.settings import ReportSettings
from frenchcat.curate.report.terms import DUPLICATE, AuditTerm, Counts, Fate, count_terms
from frenchcat.curate.statistics import FDR, LEVEL, MIN_DOMAINS, benjamini_hochberg, effective

MIN_ROWS = 30
MIN_EXPECTED = 5
MIN_TERM_DOMAINS = 10
"""Effective number of domains with the term, below which it is not tested when they are drawn."""

Array = NDArray[np.float64]
Drawn = NDArray[np.floating[Any]]
Draw = Callable[[NDArray[np.int64], NDArray[np.int64]], tuple[Drawn, Drawn]]
"""(groups of a term, its rows there by fate) -> rows by fate (B, O): with the term, in all."""


@dataclass(frozen=True)
class Filter:
    """A filter; `lost` and `stays` are places among the fates, `kind` groups them on the page."""

    name: str
    kind: str  # all, failure, opt-out, removal, rule, duplicates
    lost: tuple[int, ...]
    stays: tuple[int, ...]


@dataclass(frozen=True)
class Effect:
    """What one filter does to one term."""

    term: int
    filter: int
    rows: int  # captions with the term that reached the filter
    lost: int  # of them, those it dropped
    rate: float  # lost / rows
    overall: float  # the drop rate of all captions that reached it
    share_before: float
    share_after: float
    ratio: float
    low: float  # the ends of the interval of the ratio
    high: float
    p: float
    q: float = 1.0  # adjusted: the least false discovery rate at which it is flagged

    @property
    def flagged(self) -> bool:
        """Whether it stands out among all pairs that were tested."""
        return self.q <= FDR


@dataclass(frozen=True)
class Audit:
    """The effects that were tested, the strongest first, and how."""

    effects: tuple[Effect, ...]
    by_domain: bool  # whether domains were drawn
    domains: float  # effective number
    untested: int  # pairs with too few rows

    @property
    def flagged(self) -> list[Effect]:
        """Those that stand out."""
        return [effect for effect in self.effects if effect.flagged]


@dataclass(frozen=True)
class TermAudit:
    """The audit with what its numbers stand for."""

    terms: list[AuditTerm]
    filters: list[Filter]
    counts: Counts
    result: Audit


def audit_terms(
    catalog: Catalog, terms: list[AuditTerm], manifest: Manifest, settings: ReportSettings
) -> TermAudit:
    """The filter-impact audit of a dataset whose outcomes are open."""
    counts = count_terms(catalog, terms)
    filters = filters_of(counts.fates, _order(manifest))
    result = audit(counts, len(terms), filters, settings.replicates, settings.seed)
    return TermAudit(terms, filters, counts, result)


def _order(manifest: Manifest) -> list[str]:
    """The verdict's reasons in the order in which they are tried, as far as they are known."""
    rules = manifest.entry("verdict").setting("rules", [])
    return [str(rule[0]) for rule in rules]


# -- filters -----------------------------------------------------------------------------------


def filters_of(fates: Sequence[Fate], order: Sequence[str] = ()) -> list[Filter]:
    """The filters among the fates; `order` is that of the verdict's rules, as far as known."""

    def places(meets: Callable[[str, str | None], bool]) -> tuple[int, ...]:
        return tuple(at for at, fate in enumerate(fates) if meets(*fate))

    lost = ("failed", OPTED_OUT)
    stored = places(lambda outcome, _: outcome not in lost)
    stays = places(lambda outcome, _: outcome in ("kept", "stored"))
    everything = places(lambda outcome, _: outcome not in ("kept", "stored"))
    found = [Filter("everything together", "all", everything, stays)]
    for lost_to, kind, title in (
        ("failed", "failure", "all failures"),
        (OPTED_OUT, "opt-out", "all opt-outs"),
    ):
        reasons = [reason for outcome, reason in fates if outcome == lost_to]
        if len(reasons) > 1:
            found.append(Filter(title, kind, _of(fates, lost_to, *reasons), stored))
        found += [
            Filter(_named(reason), kind, _of(fates, lost_to, reason), stored) for reason in reasons
        ]
    present = tuple(at for at in stored if fates[at][0] != REMOVED)
    removed = places(lambda outcome, _: outcome == REMOVED)
    found.append(Filter("removal on request", "removal", removed, present))
    found += _rules(fates, order)
    twice = places(lambda _, reason: reason == DUPLICATE)
    twice = tuple(at for at in twice if at in stays)
    once = tuple(at for at in stays if at not in twice)
    found.append(Filter("duplicates among what stays", "duplicates", twice, once))
    return [each for each in found if each.lost and each.stays]


def _rules(fates: Sequence[Fate], order: Sequence[str]) -> Iterable[Filter]:
    dropped: list[str | None] = [reason for outcome, reason in fates if outcome == "dropped"]
    known = [reason for reason in dropped if (reason or "").startswith(NOT_EMBEDDED)]
    known += [reason for reason in order if reason in dropped]
    kept = tuple(at for at, (outcome, _) in enumerate(fates) if outcome == "kept")
    rest = [reason for reason in dropped if reason not in known]
    for place, reason in enumerate(known):
        later = _of(fates, "dropped", *known[place + 1 :], *rest)
        yield Filter(_named(reason), "rule", _of(fates, "dropped", reason), (*later, *kept))
    for reason in rest:
        yield Filter(_named(reason), "rule", _of(fates, "dropped", reason), kept)


def _of(fates: Sequence[Fate], outcome: str, *reasons: str | None) -> tuple[int, ...]:
    wanted = {(outcome, reason) for reason in reasons}
    return tuple(at for at, fate in enumerate(fates) if fate in wanted)


def _named(reason: str | None) -> str:
    return (reason or "unknown").removeprefix(f"{OPTED_OUT}:")


# -- their effects -----------------------------------------------------------------------------


def audit(
    counts: Counts,
    terms: int,
    filters: Sequence[Filter],
    replicates: int = 1000,
    seed: int = 0,
) -> Audit:
    """Test every filter on every one of so many terms."""
    random = np.random.default_rng(seed)
    domains = effective(counts.totals.sum(axis=1))
    by_domain = domains >= MIN_DOMAINS
    draw = _domains(counts, replicates, random) if by_domain else _rows(counts, replicates, random)
    lost, stays = _indicators(filters, len(counts.fates))
    found: list[Effect] = []
    for term in range(terms):
        groups, table = counts.of_term(term)
        if by_domain and effective(table.sum(axis=1)) < MIN_TERM_DOMAINS:
            continue
        observed = _Sums.of(table.sum(axis=0)[None], counts.totals.sum(axis=0)[None], lost, stays)
        tested = np.flatnonzero(_enough(observed))
        if len(tested):
            drawn = _Sums.of(*draw(groups, table), lost[:, tested], stays[:, tested])
            found += _effects(term, tested, observed, drawn)
    adjusted = benjamini_hochberg(np.array([effect.p for effect in found]))
    found = [replace(effect, q=float(q)) for effect, q in zip(found, adjusted, strict=True)]
    found.sort(key=lambda effect: (effect.p, effect.filter, effect.term))
    return Audit(tuple(found), by_domain, domains, terms * len(filters) - len(found))


@dataclass(frozen=True)
class _Sums:
    """Rows (replicates, filters): with the term and in all, lost and staying."""

    lost: Array
    stays: Array
    all_lost: Array
    all_stay: Array

    @classmethod
    def of(cls, term: NDArray[Any], total: NDArray[Any], lost: Array, stays: Array) -> _Sums:
        """From rows by fate (replicates, O), with the filters' indicators (O, F)."""
        return cls(term @ lost, term @ stays, total @ lost, total @ stays)

    @property
    def rows(self) -> Array:
        return self.lost + self.stays

    @property
    def all_rows(self) -> Array:
        return self.all_lost + self.all_stay

    @property
    def rate(self) -> Array:
        return _over(self.lost, self.rows)

    @property
    def overall(self) -> Array:
        return _over(self.all_lost, self.all_rows)

    @property
    def shares(self) -> tuple[Array, Array]:
        return _over(self.rows, self.all_rows), _over(self.stays, self.all_stay)

    @property
    def ratio(self) -> Array:
        before, after = self.shares
        return _over(after, before)


def _over(a: Array, b: Array) -> Array:
    found: Array = np.divide(a, b, out=np.full(a.shape, np.nan), where=b > 0)
    return found


def _indicators(filters: Sequence[Filter], fates: int) -> tuple[Array, Array]:
    lost, stays = np.zeros((2, fates, len(filters)))
    for at, each in enumerate(filters):
        lost[list(each.lost), at] = 1
        stays[list(each.stays), at] = 1
    return lost, stays


def _enough(observed: _Sums) -> NDArray[np.bool_]:
    rows, rate = observed.rows[0], np.nan_to_num(observed.overall[0])
    expected = np.minimum(rows * rate, rows * (1 - rate))
    # A term in every caption has no share that could change.
    enough: NDArray[np.bool_] = (rows >= MIN_ROWS) & (rows < observed.all_rows[0])
    enough &= expected >= MIN_EXPECTED
    return enough


def _domains(counts: Counts, replicates: int, random: np.random.Generator) -> Draw:
    """Draws of whole domains: a weight a group, the same for every term."""
    # No one draws Poisson(1) = 256: P < 1e-500.
    weights = random.poisson(1.0, (len(counts.totals), replicates)).astype(np.uint8)  # (G, B)
    totals = weights.T.astype(np.float32) @ counts.totals.astype(np.float32)

    def draw(groups: NDArray[np.int64], table: NDArray[np.int64]) -> tuple[Drawn, Drawn]:
        return weights[groups].T.astype(np.float32) @ table.astype(np.float32), totals

    return draw


def _rows(counts: Counts, replicates: int, random: np.random.Generator) -> Draw:
    """Draws of single rows: a sum of n weights of Poisson(1) is one of Poisson(n)."""
    everything = counts.totals.sum(axis=0)  # (O,)

    def draw(_: NDArray[np.int64], table: NDArray[np.int64]) -> tuple[Drawn, Drawn]:
        mine = table.sum(axis=0)
        term, rest = (random.poisson(n, (replicates, len(n))) for n in (mine, everything - mine))
        return term.astype(np.float64), (term + rest).astype(np.float64)

    return draw


def _effects(term: int, tested: NDArray[np.int64], observed: _Sums, drawn: _Sums) -> list[Effect]:
    tail = 50 * (1 - LEVEL)
    low, high = np.nanpercentile(drawn.ratio, [tail, 100 - tail], axis=0)
    spread = np.nanstd(drawn.rate - drawn.overall, axis=0)
    before, after = observed.shares
    found = []
    for at, place in enumerate(tested):
        rows, all_rows = observed.rows[0, place], observed.all_rows[0, place]
        rate, overall = observed.rate[0, place], observed.overall[0, place]
        null = overall * (1 - overall) / rows * (all_rows - rows) / (all_rows - 1)
        error = max(spread[at], math.sqrt(null))
        found.append(
            Effect(
                term=term,
                filter=int(place),
                rows=int(rows),
                lost=int(observed.lost[0, place]),
                rate=float(rate),
                overall=float(overall),
                share_before=float(before[0, place]),
                share_after=float(after[0, place]),
                ratio=float(observed.ratio[0, place]),
                low=float(low[at]),
                high=float(high[at]),
                p=math.erfc(abs(rate - overall) / error / math.sqrt(2)),
            )
        )
    return found
