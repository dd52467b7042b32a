"""Pairs of high cosine, against comparing all with all."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from frenchcat.curate.dedup import semantic
from frenchcat.curate.dedup.cluster import components
from frenchcat.curate.dedup.semantic import near_vectors

Vectors = NDArray[np.float32]


def unit(vectors: NDArray[Any]) -> Vectors:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Vectors = (vectors / norms).astype(np.float32)
    return scaled


def topics(rows: int, dimensions: int, seed: int) -> Vectors:
    """Vectors in a narrow cone, crowded by topic, as CLIP's are."""
    chance = np.random.default_rng(seed)
    centres = chance.standard_normal((max(2, rows // 100), dimensions)) + 1.0
    noise = chance.standard_normal((rows, dimensions))
    return unit(centres[chance.integers(0, len(centres), rows)] + 0.6 * noise)


def plant(vectors: Vectors, pairs: int, cosine: float) -> NDArray[np.int64]:
    """Make the second row of each pair lie at exactly this cosine from its first."""
    chance = np.random.default_rng(pairs)
    ends = chance.permutation(len(vectors))[: 2 * pairs].reshape(-1, 2)
    first = vectors[ends[:, 0]]
    noise = chance.standard_normal(first.shape)
    away = unit(noise - (noise * first).sum(axis=1, keepdims=True) * first)
    vectors[ends[:, 1]] = cosine * first + np.sqrt(1 - cosine**2) * away
    return ends


def test_a_leaf_s_worth_is_compared_all_with_all() -> None:
    vectors = topics(300, 32, 0)
    near = np.argwhere(np.triu(vectors @ vectors.T >= 0.9, 1))
    assert len(near) > 10
    found = components(300, near_vectors(vectors, 0.9))
    assert found.tolist() == components(300, near).tolist()


@pytest.mark.parametrize("kind", ["topics", "even"])
def test_planted_pairs_are_found_and_nothing_that_is_not_near(kind: str) -> None:
    chance = np.random.default_rng(1)
    even = unit(chance.standard_normal((15_000, 64)))
    vectors = topics(15_000, 64, 2) if kind == "topics" else even
    ends = plant(vectors, 1000, 0.962)
    stored = vectors.astype(np.float16)
    edges = near_vectors(stored, 0.96)
    labels = components(len(vectors), edges)
    assert (labels[ends[:, 0]] == labels[ends[:, 1]]).mean() >= 0.99
    cosines = (vectors[edges[:, 0]] * vectors[edges[:, 1]]).sum(axis=1)
    assert cosines.min() >= 0.959


def test_the_same_vectors_give_the_same_edges() -> None:
    vectors = topics(4000, 32, 5)
    np.testing.assert_array_equal(near_vectors(vectors, 0.95), near_vectors(vectors, 0.95))


def test_a_picture_stored_thousands_of_times_is_one_cluster_and_no_square() -> None:
    vectors = topics(40_000, 32, 3)
    vectors[:30_000] = vectors[0]
    edges = near_vectors(vectors, 0.999)
    labels = components(len(vectors), edges)
    assert set(labels[:30_000].tolist()) == {0}
    assert len(edges) < 60_000


def test_rounds_end_when_nothing_more_comes() -> None:
    told: list[tuple[int, int]] = []
    near_vectors(
        unit(np.random.default_rng(0).standard_normal((4000, 64))),
        0.96,
        lambda *round_: told.append(round_),
    )
    assert len(told) == semantic.ROUNDS[0]
    assert sum(added for _, added in told) == 0


def test_no_vectors_tie_nothing() -> None:
    assert near_vectors(np.empty((0, 8), np.float16), 0.96).shape == (0, 2)
