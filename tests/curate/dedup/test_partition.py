"""Rows sent to pivots, against comparing every row with every pivot."""

import numpy as np
import pytest

from frenchcat.curate.dedup.partition import Pivots
from frenchcat.curate.dedup.sketches import Sketches
from tests.curate.dedup.test_semantic import topics

ROWS = np.arange(0, 4000, 3)


@pytest.mark.parametrize(("count", "least"), [(2, 1.0), (150, 1.0), (700, 0.9)])
def test_rows_go_to_their_nearest_pivots(count: int, least: float) -> None:
    """To those of few always; to those of many, which are compared by groups, almost always."""
    vectors = topics(4000, 48, 1)
    chosen = np.sort(np.random.default_rng(0).choice(4000, count, replace=False))
    pivots = Pivots(Sketches(vectors), chosen)
    assert sorted(pivots.rows.tolist()) == chosen.tolist()
    places, apart = pivots.nearest(ROWS, 4)
    every = np.square(vectors[ROWS][:, None] - vectors[pivots.rows][None]).sum(axis=2)
    expected = np.argsort(every, axis=1)[:, :4]
    assert (places[:, : min(4, count)] == expected).mean() >= least
    assert (places[:, count:] == -1).all()
    first = every[np.arange(len(ROWS)), places[:, 0]]
    np.testing.assert_allclose(apart, first, atol=1e-5)
    own = np.isin(ROWS, pivots.rows)
    assert (pivots.rows[places[own, 0]] == ROWS[own]).all()


@pytest.mark.parametrize("step", [5, 40])
def test_an_image_that_is_most_rows_is_one_pivot(step: int) -> None:
    vectors = topics(4000, 48, 1)
    vectors[500:] = vectors[500]
    pivots = Pivots(Sketches(vectors), np.arange(0, 4000, step))
    assert (pivots.rows >= 500).sum() == 1
    places, apart = pivots.nearest(np.arange(4000), 2)
    assert len(set(places[500:, 0].tolist())) == 1
    np.testing.assert_allclose(apart[500:], 0, atol=1e-5)
    assert (places[500:, 1] != places[500:, 0]).all()
