"""Shares of images, with intervals and tests: pure functions of counts.

A share is that of n images (the results of a query, or drawings) which have an attribute; the base
rate is the share among all rows that the search may show.

**Interval.** The results of one site resemble each other, so n results may tell as much as fewer
independent ones. A bootstrap that draws whole domains (Poisson(1) weights, as
curate/report/audit.py does) gives the variance of a share; its ratio to the binomial variance is
the design effect (Kish 1965), and n divided by it the effective number of images. The interval is
Clopper & Pearson's of the effective counts, with Student's quantiles for the number of domains
(Korn & Graubard, Survey Methodology 24, 1998): from the quantile of Beta(x, n - x + 1) to that of
Beta(x + 1, n - x). Unlike the plain percentile bootstrap it does not shrink to a point where no
image has the attribute.

**A classifier's error.** Where a classifier calls the attribute, its sensitivity and specificity
are drawn as well, from Beta distributions of the counts of a labelled sample, and each draw of the
share p called positive becomes (p + specificity - 1) / (sensitivity + specificity - 1) (Rogan &
Gladen, Am. J. Epidemiol. 107, 1978; with both uncertainties: Lang & Reiczigel, Prev. Vet. Med. 113,
2014).

**Test.** The exact binomial probability, two-sided, of as extreme a count among that effective
number of images if they were drawn at the base rate. It compares what is called positive on both
sides, so a classifier that errs alike on both does not bear on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.statistics import LEVEL, MIN_DOMAINS, binomial_two_sided, effective

DRAWS = 4000
"""Of each share's distribution."""
REPLICATES = 1000
"""Of the bootstrap over domains."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Confusion:
    """What a classifier called a labelled sample: counts of images."""

    true_yes: int  # are, and are called so
    false_no: int  # are, and are not called so
    false_yes: int  # are not, and are called so
    true_no: int

    @property
    def sensitivity(self) -> float:
        """Of those that are, the share called so."""
        return self.true_yes / (self.true_yes + self.false_no)

    @property
    def specificity(self) -> float:
        """Of those that are not, the share not called so."""
        return self.true_no / (self.true_no + self.false_yes)

    def drawn(self, random: np.random.Generator, draws: int = DRAWS) -> tuple[Array, Array]:
        """(draws,) sensitivities and specificities that the counts are compatible with."""
        sensitivity = random.beta(self.true_yes + 0.5, self.false_no + 0.5, draws)
        return sensitivity, random.beta(self.true_no + 0.5, self.false_yes + 0.5, draws)

    def informative(self, random: np.random.Generator) -> bool:
        """Whether the sample shows that it does better than chance (Youden's index above 0)."""
        sensitivity, specificity = self.drawn(random)
        return bool(np.quantile(sensitivity + specificity - 1, (1 - LEVEL) / 2) > 0)


def corrected(called: Any, sensitivity: Any, specificity: Any) -> Any:
    """Shares called positive -> shares that are, from 0 to 1 (Rogan & Gladen)."""
    index = np.asarray(sensitivity + specificity - 1, np.float64)
    # A draw that does no better than chance says nothing: any share is compatible with it.
    found = np.divide(
        np.asarray(called + specificity - 1, np.float64),
        index,
        out=np.full(np.broadcast(called, index).shape, np.nan),
        where=index > 0,
    )
    return np.clip(found, 0.0, 1.0)


def design_effects(
    members: NDArray[np.bool_], domains: NDArray[np.int64], random: np.random.Generator
) -> tuple[Array, bool]:
    """(A,) design effects of the shares of (n, A) attributes, and whether domains were drawn.

    What the variance is known by, a number of domains, is allowed for by Student's quantile over
    the normal one. 1 where too few domains carry the images (an effective number below
    MIN_DOMAINS): single images count then, which takes those of a site for independent.
    """
    count, attributes = members.shape
    _, place, sizes = np.unique(domains, return_inverse=True, return_counts=True)
    carried = effective(sizes)
    if carried < MIN_DOMAINS:
        return np.ones(attributes), False
    # The bootstrap's variance is that of so many domains, not of one fewer.
    fewer = carried / (carried - 1) * (_student(carried - 1) / _student(count - 1)) ** 2
    table = np.zeros((len(sizes), attributes))
    np.add.at(table, place, members)
    weights = random.poisson(1.0, (REPLICATES, len(sizes))).astype(np.float64)
    shares = (weights @ table) / (weights @ sizes)[:, None]
    share = members.mean(axis=0)
    binomial = share * (1 - share) / count
    ratio = np.divide(shares.var(axis=0), binomial, out=np.ones(attributes), where=binomial > 0)
    return np.maximum(ratio * fewer, 1.0), True


def _student(freedom: float) -> float:
    """The quantile of Student's distribution at the end of LEVEL (Cornish & Fisher's expansion)."""
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / freedom + second / freedom**2


def drawn_shares(found: Array, of: Array, random: np.random.Generator) -> tuple[Array, Array]:
    """Twice (DRAWS, A) shares: draws for the lower end and for the upper end of an interval.

    `found` (A,) of so many (A,) effective images have the attribute.
    """
    least = 1e-9  # Beta(0, n) is all at 0
    lower = random.beta(np.maximum(found, least), of - found + 1, (DRAWS, len(found)))
    upper = random.beta(found + 1, np.maximum(of - found, least), (DRAWS, len(found)))
    return lower, upper


def interval(lower: Array, upper: Array) -> tuple[Array, Array]:
    """The ends (A,) of the interval of LEVEL, of (DRAWS, A) draws for either end."""
    tail = (1 - LEVEL) / 2
    return np.nanquantile(lower, tail, axis=0), np.nanquantile(upper, 1 - tail, axis=0)


def binomial_p(found: Array, of: Array, base: Array) -> Array:
    """(A,) two-sided exact p-values of counts among so many images at base rates.

    Effective counts are rounded.
    """
    total = np.maximum(np.round(of).astype(np.int64), 1)
    counts = np.clip(np.round(found).astype(np.int64), 0, total)
    cases = zip(counts.tolist(), total.tolist(), base.tolist(), strict=True)
    return np.array([binomial_two_sided(*case) for case in cases])


def effective_by_chance(
    groups: NDArray[np.int64], count: int, draws: int, random: np.random.Generator
) -> Array:
    """(draws,) effective numbers of groups among `count` rows drawn at random, sorted.

    `groups` (N,) has the group of every row. Rows are drawn with replacement, so that the cost does
    not grow with N.
    """
    found = np.empty(draws)
    at_once = max(1, 2_000_000 // count)
    for start in range(0, draws, at_once):
        some = min(at_once, draws - start)
        taken = np.sort(groups[random.integers(0, len(groups), (some, count))], axis=1)
        # Runs of equal groups: their lengths are the sizes.
        ends = np.ones((some, count), bool)
        ends[:, :-1] = taken[:, 1:] != taken[:, :-1]
        places = np.flatnonzero(ends.ravel())
        sizes = np.diff(np.concatenate([[-1], places]))
        squares = np.bincount(places // count, sizes.astype(np.float64) ** 2, some)
        found[start : start + some] = count**2 / squares
    return np.sort(found)
