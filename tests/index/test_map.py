"""The map: near vectors lie near each other, better than principal components lay them."""

import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from frenchcat.index import map as maps
from frenchcat.index.build import build_index
from frenchcat.index.map import LazyMap, made_of, neighbours, places_of, principal
from frenchcat.index.search import Searcher
from tests.sample.embedded import embedded
from tests.sample.vectors import unit_rows


def clusters(count: int, each: int, dimension: int = 32) -> NDArray[np.float32]:
    """(count * each, dimension) unit rows around `count` centres."""
    rng = np.random.default_rng(1)
    centres = np.repeat(rng.standard_normal((count, dimension)), each, axis=0)
    made = centres + 0.4 * rng.standard_normal(centres.shape)
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), np.float32)


def nearest(rows: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """(n, k) by brute force."""
    apart = ((rows[:, None] - rows[None]) ** 2).sum(axis=-1)
    np.fill_diagonal(apart, np.inf)
    return np.argsort(apart, axis=1)[:, :k]


def kept(places: NDArray[np.float32], vectors: NDArray[np.float32], k: int = 10) -> float:
    """The share of each row's k nearest vectors that are among its k nearest places."""
    pairs = zip(nearest(places, k).tolist(), nearest(vectors, k).tolist(), strict=True)
    return float(np.mean([len(set(a) & set(b)) / k for a, b in pairs]))


def test_neighbours_stay_neighbours() -> None:
    vectors = clusters(40, 12)  # more than two components can part
    places = places_of(vectors)
    assert kept(places, vectors) > 2 * kept(principal(vectors, 2), vectors)
    labels = np.repeat(np.arange(40), 12)
    assert (labels[nearest(places, 1)[:, 0]] == labels).mean() > 0.97


def test_the_same_vectors_have_the_same_map() -> None:
    vectors = clusters(4, 10)
    np.testing.assert_array_equal(places_of(vectors), places_of(vectors.copy()))


@given(rows=st.integers(0, 20), dimension=st.integers(1, 8), same=st.booleans())
@settings(max_examples=20)
def test_any_number_of_rows_lies_within_the_square(rows: int, dimension: int, same: bool) -> None:
    vectors = unit_rows(rows, dimension)
    if same and rows:
        vectors[:] = vectors[0]
    places = places_of(vectors)
    assert places.shape == (rows, 2)
    assert np.isfinite(places).all()
    assert (np.abs(places) <= 1).all()


def test_neighbours_are_those_of_brute_force() -> None:
    vectors = unit_rows(50, 6)
    wanted = {tuple(sorted((row, int(at)))) for row in range(50) for at in nearest(vectors, 4)[row]}
    assert {tuple(pair) for pair in neighbours(vectors, 4).tolist()} == wanted


def test_principal_components_are_those_of_the_covariance() -> None:
    vectors = clusters(3, 40, 8)
    found = principal(vectors, 8)
    spread = np.linalg.eigvalsh(np.cov(vectors.T, bias=True))[::-1]
    np.testing.assert_allclose(found.var(axis=0), spread, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(found @ found[0], (v := vectors - vectors.mean(0)) @ v[0], atol=1e-4)


def test_a_large_dataset_is_shown_by_some_rows_and_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maps, "MOST", 25)
    dataset = embedded(tmp_path / "d", unit_rows(30), unit_rows(30, seed=1))
    with dataset.lock():
        build_index(dataset)
    lazy = LazyMap(lambda: made_of(Searcher(dataset)))
    found: list[maps.Map] = []
    threads = [threading.Thread(target=lambda: found.append(lazy.get())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(one) for one in found}) == 1
    assert len(found[0].rows) == len(found[0].places) == 25
    assert (np.diff(found[0].rows) > 0).all()
    assert found[0].rows[-1] >= 30  # from both shards
