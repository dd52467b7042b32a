"""Rows sent to pivots, against comparing every row with every pivot."""

import numpy as np
import pytest

from frenchcat.curate.dedup.partition import to_pivots
from frenchcat.curate.dedup.sketches import Sketches
from tests.curate.dedup.test_semantic import topics


@pytest.mark.parametrize(("count", "least"), [(1, 1.0), (150, 1.0), (700, 0.9)])
def test_rows_go_to_their_nearest_pivot(count: int, least: float) -> None:
    """Of few pivots always; of many, which are compared by groups, almost always."""
    vectors = topics(4000, 48, 1)
    pivots = np.sort(np.random.default_rng(0).choice(4000, count, replace=False))
    rows = np.arange(0, 4000, 3)
    nearest, apart = to_pivots(Sketches(vectors), rows, pivots)
    every = np.square(vectors[rows][:, None] - vectors[pivots][None]).sum(axis=2)
    assert (nearest == every.argmin(axis=1)).mean() >= least
    np.testing.assert_allclose(apart, every[np.arange(len(rows)), nearest], atol=1e-5)
    own = np.isin(rows, pivots)
    assert (pivots[nearest[own]] == rows[own]).all()


def test_an_image_that_is_most_rows_and_pivots_is_still_found() -> None:
    vectors = topics(4000, 48, 1)
    vectors[500:] = vectors[500]
    pivots = np.arange(0, 4000, 5)
    nearest, apart = to_pivots(Sketches(vectors), np.arange(4000), pivots)
    assert len(set(nearest[500:].tolist())) == 1
    np.testing.assert_allclose(apart[500:], 0, atol=1e-5)
    assert np.isfinite(apart).all()
