"""Shares, intervals and tests against scipy, closed forms and brute force."""

import numpy as np
import pytest
import scipy.stats

from frenchcat.curate.statistics import effective
from frenchcat.skews.shares import (
    Confusion,
    binomial_p,
    corrected,
    design_effects,
    drawn_shares,
    effective_by_chance,
    interval,
)

RANDOM = np.random.default_rng


@pytest.mark.parametrize("found", [0, 1, 30, 99, 100])
def test_an_interval_is_clopper_and_pearsons(found: int) -> None:
    counts = np.array([float(found)]), np.array([100.0])
    ((low,), (high,)) = interval(*drawn_shares(*counts, RANDOM(0)))
    known = scipy.stats.binomtest(found, 100).proportion_ci(method="exact")
    assert (low, high) == pytest.approx((known.low, known.high), abs=0.01)


def test_p_values_are_exact_and_two_sided() -> None:
    found, base = np.array([0, 3, 12, 60]), np.array([0.05, 0.05, 0.05, 0.5])
    tails = scipy.stats.binom(100, base)
    known = np.minimum(1, 2 * np.minimum(tails.cdf(found), tails.sf(found - 1)))
    np.testing.assert_allclose(
        binomial_p(found.astype(float), np.full(4, 100.0), base), known, rtol=1e-9
    )
    assert binomial_p(np.array([0.0, 5.0]), np.full(2, 9.0), np.zeros(2)).tolist() == [1, 0]


def test_images_of_a_site_that_are_alike_count_as_one() -> None:
    random = RANDOM(1)
    domains = np.repeat(np.arange(200), 5)
    alike = np.repeat(random.random(200) < 0.3, 5)
    apart = random.random(1000) < 0.3
    effects, by_domain = design_effects(np.stack([alike, apart], axis=1), domains, random)
    assert by_domain
    assert effects == pytest.approx([5, 1], rel=0.2)
    few, by_domain = design_effects(alike[:, None], domains % 10, random)
    assert (few.tolist(), by_domain) == ([1.0], False)


def test_few_domains_widen_the_interval_as_students_quantile_does() -> None:
    random = RANDOM(2)

    def effect(count: int, times: int) -> float:
        domains, found = np.repeat(np.arange(count), 5), []
        for _ in range(times):
            alike = np.repeat(random.random(count) < 0.4, 5)
            found.append(design_effects(alike[:, None], domains, random)[0][0])
        return float(np.mean(found))

    student = scipy.stats.t.ppf(0.975, [24, 124])
    known = 25 / 24 * (student[0] / student[1]) ** 2
    assert effect(25, 60) / effect(400, 10) == pytest.approx(known, rel=0.05)


def test_a_classifiers_error_is_taken_out_and_folded_in() -> None:
    confusion = Confusion(80, 20, 10, 90)
    assert corrected(0.8 * 0.3 + 0.1 * 0.7, confusion.sensitivity, confusion.specificity) == (
        pytest.approx(0.3)
    )
    assert corrected(0.0, 0.8, 0.9) == 0
    random = RANDOM(0)
    lower, upper = drawn_shares(np.array([31.0]), np.array([100.0]), random)
    alone = interval(lower, upper)
    errors = [error[:, None] for error in confusion.drawn(random)]
    low, high = interval(corrected(lower, *errors), corrected(upper, *errors))
    sharp = corrected(np.array(alone), confusion.sensitivity, confusion.specificity)
    assert low[0] < sharp[0, 0]
    assert high[0] > sharp[1, 0]
    assert np.isnan(corrected(0.5, 0.4, 0.5))  # no better than chance


def test_a_sample_that_shows_nothing_is_not_informative() -> None:
    assert Confusion(45, 5, 8, 92).informative(RANDOM(0))
    assert not Confusion(3, 2, 2, 3).informative(RANDOM(0))
    assert not Confusion(50, 50, 50, 50).informative(RANDOM(0))


def test_effective_numbers_by_chance_are_those_of_random_draws() -> None:
    groups = np.repeat([0, 1, 2, 3], [50, 30, 15, 5])
    found = effective_by_chance(groups, 20, 4000, RANDOM(0))
    random = RANDOM(1)
    known = [
        effective(np.bincount(groups[random.integers(0, 100, 20)], minlength=4))
        for _ in range(4000)
    ]
    assert (np.diff(found) >= 0).all()
    assert np.quantile(found, [0.05, 0.5, 0.95]) == pytest.approx(
        np.quantile(known, [0.05, 0.5, 0.95]), rel=0.03
    )
