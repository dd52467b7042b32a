"""Raking against the closed form, the form of its solution, and bounds."""

import numpy as np
import pytest

from frenchcat.skews.raking import Margin, rake, shares_of

RANDOM = np.random.default_rng(0)


def margin(rows: int, share: float, target: float) -> Margin:
    return Margin(np.arange(rows), RANDOM.random(rows) < share, target)


def test_one_margin_has_the_weights_of_poststratification() -> None:
    one = margin(100, 0.2, 0.5)
    found = rake(np.ones(120), [one], bound=10)
    share = one.member.mean()
    known = np.where(one.member, 0.5 / share, 0.5 / (1 - share))
    np.testing.assert_allclose(found.weights[:100], known)
    assert (found.weights[100:] == 1).all()  # of no group
    assert found.reached == pytest.approx([0.5])
    assert found.effective == pytest.approx(found.weights.sum() ** 2 / (found.weights**2).sum())


def test_margins_that_cross_are_met_by_products_of_factors() -> None:
    one, other = margin(1000, 0.3, 0.5), margin(1000, 0.6, 0.4)
    found = rake(np.full(1000, 2.0), [one, other], bound=10)
    assert found.reached == pytest.approx([0.5, 0.4], abs=1e-3)
    assert found.weights.sum() == pytest.approx(2000, rel=1e-6)
    # Raking's solution has no interaction: the odds ratio of the four cells is that of before.
    cells = {
        (a, b): found.weights[(one.member == a) & (other.member == b)]
        for a in (True, False)
        for b in (True, False)
    }
    assert all(np.ptp(cell) < 1e-9 for cell in cells.values())
    odds = cells[True, True][0] * cells[False, False][0]
    assert odds == pytest.approx(cells[True, False][0] * cells[False, True][0], rel=1e-6)


def test_bounds_are_kept_and_what_is_missed_is_told() -> None:
    one = Margin(np.arange(100), np.arange(100) < 2, 0.5)
    found = rake(np.linspace(1, 2, 100), [one], bound=3)
    ratio = found.weights / np.linspace(1, 2, 100)
    assert ratio.max() <= 3 + 1e-12
    assert ratio.min() >= 1 / 3 - 1e-12
    assert 0.02 < found.reached[0] < 0.5
    assert found.reached == pytest.approx(shares_of(found.weights, [one]))


def test_a_group_of_members_alone_is_left_as_it_is() -> None:
    found = rake(np.ones(5), [Margin(np.arange(5), np.ones(5, bool), 0.5)], bound=2)
    assert (found.weights == 1).all()
    assert rake(np.ones(3), [], bound=2).weights.tolist() == [1, 1, 1]
