"""Statistics that audits share, against scipy and closed forms."""

import numpy as np
import pytest
from scipy.stats import binomtest, false_discovery_control, fisher_exact

from frenchcat.curate.statistics import (
    benjamini_hochberg,
    binomial_tail,
    binomial_two_sided,
    effective,
    fisher_p,
)


def test_adjusted_p_values_are_those_of_scipy() -> None:
    p = np.random.default_rng(0).random(200) ** 3
    assert benjamini_hochberg(p) == pytest.approx(false_discovery_control(p))
    assert benjamini_hochberg(np.array([])).tolist() == []


def test_effective_numbers() -> None:
    assert effective(np.array([5, 5, 5])) == pytest.approx(3)
    assert effective(np.array([100, 0])) == pytest.approx(1)
    assert effective(np.array([], np.int64)) == 0


@pytest.mark.parametrize(
    ("successes", "trials", "chance"),
    [(3, 20, 0.05), (0, 5, 0.3), (9, 9, 1), (0, 9, 0), (1, 9, 0), (700, 1000, 0.6), (6, 0, 0.5)],
)
def test_a_binomial_tail_is_scipys(successes: int, trials: int, chance: float) -> None:
    wanted = binomtest(successes, trials, chance, "greater").pvalue if trials else 0.0
    assert binomial_tail(successes, trials, chance) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize(("successes", "chance"), [(0, 0.1), (3, 0.1), (17, 0.1), (60, 0.5)])
def test_both_tails_count(successes: int, chance: float) -> None:
    tails = [binomtest(successes, 100, chance, side).pvalue for side in ("less", "greater")]
    wanted = min(1, 2 * min(tails))
    assert binomial_two_sided(successes, 100, chance) == pytest.approx(wanted, rel=1e-9)


def test_draws_without_replacement_are_scipys() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        total = int(rng.integers(2, 400))
        marked, n = int(rng.integers(0, total + 1)), int(rng.integers(1, total + 1))
        k = int(rng.integers(max(0, n - (total - marked)), min(n, marked) + 1))
        table = [[k, n - k], [marked - k, total - n - marked + k]]
        expected = fisher_exact(table, "greater").pvalue
        assert fisher_p(k, n, marked, total) == pytest.approx(expected, rel=1e-6, abs=1e-12)
