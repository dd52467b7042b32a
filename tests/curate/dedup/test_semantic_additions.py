"""Near pairs of added rows, against comparing all with all."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from frenchcat.curate.dedup import semantic
from frenchcat.curate.dedup.cluster import components
from frenchcat.curate.dedup.semantic import near_vectors
from tests.curate.dedup.test_semantic import plant, topics


def brute_force(vectors: NDArray[np.float32], cosine: float) -> NDArray[np.int64]:
    return components(len(vectors), np.argwhere(np.triu(vectors @ vectors.T >= cosine, 1)))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 300), st.sampled_from([32, 200]))
def test_old_clusters_and_what_new_rows_add_are_all_clusters(
    seed: int, old: int, dimensions: int
) -> None:
    vectors = topics(300, dimensions, seed)
    added = np.arange(300) >= old
    chance = np.random.default_rng(seed)
    added = added[chance.permutation(300)]  # new rows lie anywhere
    before = np.flatnonzero(~added)
    known = before[np.argwhere(np.triu(vectors[before] @ vectors[before].T >= 0.9, 1))]
    edges = near_vectors(vectors, 0.9, added=added)
    assert added[edges].any(axis=1).all()
    found = components(300, np.concatenate([known, edges]))
    assert found.tolist() == brute_force(vectors, 0.9).tolist()


def test_many_are_found_among_their_nearest_pivots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(semantic, "EXHAUSTIVE", 0)
    vectors = topics(20_000, 96, 4)
    ends = plant(vectors, 1000, 0.962)
    added = np.zeros(len(vectors), bool)
    added[::20] = True
    edges = near_vectors(vectors.astype(np.float16), 0.96, added=added)
    assert (vectors[edges[:, 0]] * vectors[edges[:, 1]]).sum(axis=1).min() >= 0.959
    labels = components(len(vectors), edges)
    of_new = ends[added[ends].any(axis=1)]
    assert len(of_new) > 50
    assert (labels[of_new[:, 0]] == labels[of_new[:, 1]]).mean() >= 0.99


@pytest.mark.parametrize("exhaustive", [0, 10**9])
def test_another_copy_of_what_is_there_thousands_of_times_costs_no_square(
    exhaustive: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most pivots are that image, too."""
    monkeypatch.setattr(semantic, "EXHAUSTIVE", exhaustive)
    vectors = topics(40_000, 32, 3)
    vectors[1000:] = vectors[1000]
    added = np.arange(40_000) >= 39_990
    edges = near_vectors(vectors, 0.999, added=added)
    labels = components(len(vectors), edges)
    assert set(labels[39_990:].tolist()) == {1000}
    assert len(edges) < 80_000


def test_no_new_rows_add_nothing() -> None:
    assert near_vectors(topics(50, 96, 0), 0.9, added=np.zeros(50, bool)).shape == (0, 2)
