"""Statistics that audits share: effective sizes, exact tails of counts, a false discovery rate.

Pure functions of counts and p-values, and the levels of the audits: of filters (report/audit.py),
of replaced images (image_changes.py), of queries (frenchcat/skews) and of stamps (train/stamps.py).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

FDR = 0.05
"""The false discovery rate that is held over all findings of one audit."""
LEVEL = 0.95
"""Of the intervals, each by itself."""
MIN_DOMAINS = 20
"""Effective number (Kish) of domains below which rows are drawn in place of domains."""

Array = NDArray[np.float64]


def effective(sizes: NDArray[np.int64]) -> float:
    """Kish's effective number of groups: (sum n)^2 / sum n^2; 0 where there is nothing."""
    squares = float((sizes.astype(np.float64) ** 2).sum())
    return float(sizes.sum()) ** 2 / squares if squares else 0.0


def benjamini_hochberg(p: Array) -> Array:
    """Adjusted p-values (n,): the least false discovery rate at which each is rejected.

    Benjamini & Hochberg, J. R. Stat. Soc. B 57, 1995, section 3.
    """
    total = len(p)
    order = np.argsort(p)
    scaled = p[order] * total / np.arange(1, total + 1)
    adjusted = np.empty(total)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted


def binomial_tail(successes: int, trials: int, chance: float) -> float:
    """P(X >= successes): at least so many successes in so many independent trials.

    The sum of C(n, k) p^k (1 - p)^(n - k) over k from `successes` to n (Feller, An Introduction to
    Probability Theory and Its Applications, volume I, VI.2), with logarithms of the factorials.
    """
    if not 0 < chance < 1:
        return float(successes <= (trials if chance >= 1 else 0))
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, trials + 1)))])  # of factorials
    k = np.arange(max(successes, 0), trials + 1)
    mass = logs[trials] - logs[k] - logs[trials - k]
    mass += k * np.log(chance) + (trials - k) * np.log1p(-chance)
    return min(1.0, float(np.exp(mass).sum()))


def binomial_two_sided(successes: int, trials: int, chance: float) -> float:
    """The exact two-sided p-value of so many successes: twice the smaller tail, at most 1.

    The tails are those of Clopper & Pearson's interval (Biometrika 26, 1934).
    """
    above = binomial_tail(successes, trials, chance)
    below = binomial_tail(trials - successes, trials, 1 - chance)
    return min(1.0, 2 * min(above, below))


def fisher_p(successes: int, draws: int, marked: int, total: int) -> float:
    """P(X >= successes) of so many draws without replacement (hypergeometric).

    Drawn from `total` of which `marked` would be successes: Fisher's exact test, one-sided (J. R.
    Stat. Soc. 85, 1922). Unlike a binomial test it does not take the others' rate for known.
    """
    first, last = max(successes, draws - (total - marked), 0), min(draws, marked)
    logs = [
        _log_choose(marked, k) + _log_choose(total - marked, draws - k) - _log_choose(total, draws)
        for k in range(first, last + 1)
    ]
    return min(1.0, math.fsum(math.exp(log) for log in logs))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
