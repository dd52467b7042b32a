"""Metrics against closed forms, double loops and sets whose answer is plain."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frenchcat.train.metrics import clip_score, cmmd, frechet_distance, precision_recall
from tests.sample.vectors import unit_rows


def gaussian(n: int, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """(n, D) rows whose sample mean and covariance are exactly these."""
    rows = np.random.default_rng(1).standard_normal((n, len(mean)))
    rows -= rows.mean(0)
    white = np.linalg.inv(np.linalg.cholesky(np.cov(rows, rowvar=False)))
    return rows @ white.T @ np.linalg.cholesky(covariance).T + mean


def test_frechet_distance_of_gaussians_is_the_closed_form() -> None:
    """For covariances that commute: |m - m'|^2 + sum (sqrt v - sqrt v')^2."""
    turn, _ = np.linalg.qr(np.random.default_rng(2).standard_normal((3, 3)))
    v, w = np.array([1.0, 4.0, 9.0]), np.array([4.0, 1.0, 2.25])
    mean, other = np.array([0.0, 1.0, 2.0]), np.array([1.0, 1.0, 0.0])
    one = gaussian(50, mean, turn @ np.diag(v) @ turn.T)
    two = gaussian(70, other, turn @ np.diag(w) @ turn.T)
    expected = ((mean - other) ** 2).sum() + ((v**0.5 - w**0.5) ** 2).sum()
    assert frechet_distance(one, two) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_that_does_not_commute_is_scipys() -> None:
    linalg = pytest.importorskip("scipy.linalg")
    a, b = unit_rows(40, 6, 1) * 3, unit_rows(50, 6, 2) + 1
    c, d = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = linalg.sqrtm(c @ d).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(c + d - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-5)


@given(st.integers(2, 30), st.integers(2, 30), st.integers(0, 99))
def test_mmd_is_the_double_loop(n: int, m: int, seed: int) -> None:
    one, other = unit_rows(n, 5, seed), unit_rows(m, 5, seed + 1)

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float(np.exp(-((x.astype(float) - y.astype(float)) ** 2).sum() / (2 * 10**2)))

    def mean(a: np.ndarray, b: np.ndarray, *, same: bool) -> float:
        pairs = [(i, j) for i in range(len(a)) for j in range(len(b)) if same or i != j]
        return sum(kernel(a[i], b[j]) for i, j in pairs) / len(pairs)

    cross = mean(one, other, same=True)
    for same, unbiased in ((True, False), (False, True)):
        within = mean(one, one, same=same) + mean(other, other, same=same)
        expected = 1000 * (within - 2 * cross)
        assert cmmd(one, other, unbiased=unbiased) == pytest.approx(expected, abs=1e-7)


@given(st.integers(5, 40), st.integers(0, 99))
def test_a_set_is_at_no_distance_from_itself(n: int, seed: int) -> None:
    rows = unit_rows(n, 8, seed)
    assert cmmd(rows, rows[::-1]) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(rows, rows[::-1]) == pytest.approx(0, abs=1e-6)
    assert precision_recall(rows, rows) == (1.0, 1.0)


def test_sets_apart_have_no_precision_and_no_recall() -> None:
    assert precision_recall(unit_rows(20, 4), unit_rows(20, 4, 1) + 50) == (0.0, 0.0)


def test_a_collapsed_set_has_precision_without_recall() -> None:
    real = np.concatenate([unit_rows(20, 4), unit_rows(20, 4) + 50])
    assert precision_recall(real, unit_rows(20, 4)) == (1.0, 0.5)


@given(st.integers(5, 25), st.integers(5, 25), st.integers(1, 4), st.integers(0, 99))
def test_precision_is_brute_force(n: int, m: int, k: int, seed: int) -> None:
    real, drawn = unit_rows(n, 3, seed), unit_rows(m, 3, seed + 1)

    def inside(point: np.ndarray, members: np.ndarray) -> bool:
        return any(
            np.linalg.norm(point - one) <= sorted(np.linalg.norm(members - one, axis=1))[k] + 1e-9
            for one in members
        )

    expected = np.mean([inside(one, real) for one in drawn])
    assert precision_recall(real, drawn, k)[0] == pytest.approx(expected)


def test_clip_score_is_the_mean_cosine_with_its_interval() -> None:
    rows = unit_rows(10, 8)
    assert clip_score(rows, rows).mean == pytest.approx(1)
    found = clip_score(rows, unit_rows(10, 8, 1))
    cosines = [float(a @ b) for a, b in zip(rows, unit_rows(10, 8, 1), strict=True)]
    assert found.mean == pytest.approx(np.mean(cosines), abs=1e-6)
    assert found.interval == pytest.approx(1.96 * np.std(cosines, ddof=1) / 10**0.5, rel=1e-5)


def test_too_few_are_refused() -> None:
    with pytest.raises(ValueError, match="more than 3"):
        precision_recall(unit_rows(3), unit_rows(9))
    with pytest.raises(ValueError, match="two images"):
        frechet_distance(unit_rows(1), unit_rows(9))


def test_many_pictures_are_compared_all_with_all() -> None:
    """More than a block of rows; the last of them differ."""
    near, far = unit_rows(1100, 2), unit_rows(1100, 2, 1)
    near[1050:] += 40
    apart = near[:, None].astype(float) - far[None].astype(float)
    cross = np.exp(-(apart**2).sum(2) / 200).mean()
    within = [
        np.exp(-((one[:, None].astype(float) - one[None]) ** 2).sum(2) / 200).mean()
        for one in (near, far)
    ]
    assert cmmd(near, far) == pytest.approx(1000 * (sum(within) - 2 * cross), rel=1e-6)
    precision, recall = precision_recall(far, near)
    assert precision <= 1050 / 1100
    distances = np.sqrt((apart**2).sum(2))
    reach = np.sort(((far[:, None].astype(float) - far[None]) ** 2).sum(2), axis=1)[:, 3] ** 0.5
    assert precision == pytest.approx((distances <= reach + 1e-9).any(1).mean(), abs=2e-3)
    assert recall > 0.9
