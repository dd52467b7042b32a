"""Exactly k and nearest first where a search has to look twice: brute force is what it must find.

Indexes of every kind, whose settings let them compare every candidate exactly, so that nothing
but brute force's own answer is right.
"""

from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from frenchcat.curate.dataset import Dataset
from frenchcat.index import part as parts
from frenchcat.index import vectors
from frenchcat.index.build import IndexSettings, build_index, entries
from frenchcat.index.part import IndexPart
from frenchcat.index.search import Searcher, View
from tests.sample.embedded import add_shard, embedded
from tests.sample.vectors import unit_rows

ROWS = (90, 40, 1, 60)
PICTURES = [unit_rows(rows, seed=seed) for seed, rows in enumerate(ROWS)]
CAPTIONS = [unit_rows(rows, seed=9 + seed) for seed, rows in enumerate(ROWS)]
COARSE = ("Flat", "RaBitQ", "IVF4,RaBitQ", "PQ4x4")


@pytest.fixture(scope="module", params=COARSE)
def searcher(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Searcher:
    """Two parts whose candidates are all compared: `rerank` and `probes` leave nothing out."""
    dataset = Dataset.create(tmp_path_factory.mktemp("exact") / "d", "d")
    for number, (pictures, captions) in enumerate(zip(PICTURES, CAPTIONS, strict=True)):
        add_shard(dataset, f"{number:05d}", pictures, captions)
        if number % 2:  # two shards a part, the second of which is a tail, and exact
            build_index(dataset, IndexSettings(factory=request.param, rerank=400, probes=4))
    found = Searcher(dataset)
    assert len(found) == sum(ROWS)
    return found


def stored(by: str) -> NDArray[np.float32]:
    """(N, D), the numbers that lie on the disk."""
    whole = np.concatenate(PICTURES if by == "image" else CAPTIONS)
    return np.asarray(whole.astype(np.float16), np.float32)


@settings(max_examples=40, suppress_health_check=[HealthCheck.differing_executors])
@given(
    seed=st.integers(0, 10_000),
    k=st.sampled_from([1, 2, 5, 30, 100, 191, 500]),
    by=st.sampled_from(["image", "text"]),
    modulo=st.sampled_from([1, 2, 7, 50, 1000]),
    few=st.sampled_from([0, parts.FEW]),
)
def test_with_all_candidates_compared_a_search_is_brute_force(
    searcher: Searcher, seed: int, k: int, by: str, modulo: int, few: int
) -> None:
    (query,) = unit_rows(1, seed=seed)
    numbers = np.array([int(key) for key in searcher.rows.keys().to_pylist()])
    may = np.flatnonzero(numbers % modulo == 0)
    view = View(None if modulo == 1 else f"key::BIGINT % {modulo} = 0")
    before, parts.FEW = parts.FEW, few  # so that both ways are taken at this size
    try:
        found = searcher.ranked(query, k, by, view)
    finally:
        parts.FEW = before
    true = stored(by) @ query
    assert len(found) == min(k, len(may))
    assert len(set(found.positions.tolist())) == len(found)
    assert set(found.positions.tolist()) <= set(may.tolist())
    np.testing.assert_allclose(found.similarities, true[found.positions], atol=3e-6)
    factory = searcher.dataset.read_json("index/index.json")["made_of"]["factory"]
    if factory != "PQ4x4" or modulo == 1 or few:  # it takes no filter: finds few, and not the best
        expected = np.sort(true[may])[::-1][:k]
        np.testing.assert_allclose(found.similarities, expected, atol=3e-6)


def test_few_rows_that_a_filter_leaves_are_all_compared(tmp_path: Path) -> None:
    """The codes are too coarse to tell, and as narrow as can be: only comparing all is right."""
    dataset = embedded(tmp_path / "d", unit_rows(300, 32))
    found = build_index(dataset, IndexSettings(factory="IVF8,RaBitQ", rerank=1, probes=1))
    assert not entries(found)[0].exact
    searcher, whole = Searcher(dataset), unit_rows(300, 32).astype(np.float16).astype(np.float32)
    may = np.arange(0, 300, 2)
    for query in unit_rows(20, 32, seed=4):
        ranked = searcher.ranked(query, 10, view=View("key::BIGINT % 2 = 0"))
        best = np.sort(whole[may] @ query)[::-1][:10]
        np.testing.assert_allclose(ranked.similarities, best, atol=3e-6)


@pytest.mark.parametrize("factory", ["SQfp16", "RaBitQ2"])
def test_rows_beyond_a_block_are_indexed_and_compared_like_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factory: str
) -> None:
    for module in (vectors, parts):
        monkeypatch.setattr(module, "BLOCK", 7)
    dataset = embedded(tmp_path / "d", unit_rows(40), unit_rows(14, seed=1), unit_rows(1, seed=2))
    build_index(dataset, IndexSettings(factory=factory, rerank=60))
    whole = np.concatenate([unit_rows(40), unit_rows(14, seed=1), unit_rows(1, seed=2)])
    true = whole.astype(np.float16).astype(np.float32) @ unit_rows(1, seed=7)[0]
    for where, may in ((None, np.ones(55, bool)), ("key::BIGINT % 2 = 0", None)):
        found = Searcher(dataset).ranked(unit_rows(1, seed=7)[0], 30, view=View(where))
        may = np.r_[np.arange(40), np.arange(14), 0] % 2 == 0 if may is None else may
        expected = np.sort(true[may])[::-1][:30]
        np.testing.assert_allclose(found.similarities, expected, atol=3e-6)
        np.testing.assert_allclose(found.similarities, true[found.positions], atol=3e-6)


@pytest.mark.parametrize("k", [1, 3, 29, 30])
def test_an_index_that_finds_one_row_too_few_is_not_content(tmp_path: Path, k: int) -> None:
    """The lists it looks into hold k - 1 rows that may be found, or one: the others are found."""
    near, far = unit_rows(2, seed=1)
    spread = 0.02 * unit_rows(60, seed=2)
    rows = np.where(np.arange(60)[:, None] < 30, near, far) + spread
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    dataset = embedded(tmp_path / "d", rows)
    build_index(dataset, IndexSettings(factory="IVF2,RaBitQ2", rerank=1, probes=1))
    searcher = Searcher(dataset)
    before, parts.FEW = parts.FEW, 0
    try:
        for there in {1, max(1, k - 1)}:  # near ones that may be found; of the far ones all may
            where = f"key::BIGINT < {there} OR key::BIGINT >= 30"
            hits = searcher.query(vector=near, k=k, where=where)
            assert len(hits) == min(k, there + 30)
            expected = sorted((rows[[*range(there), *range(30, 60)]] @ near).tolist())[::-1][:there]
            np.testing.assert_allclose([h.similarity for h in hits[:there]], expected, atol=2e-3)
    finally:
        parts.FEW = before


def test_among_equals_the_first_row_comes_first(tmp_path: Path) -> None:
    same = np.repeat(np.eye(1, 16, dtype=np.float32), 40, axis=0)  # products are exact
    dataset = embedded(tmp_path / "d", same)
    build_index(dataset, IndexSettings(factory="RaBitQ2", rerank=40))
    hits = Searcher(dataset).query(vector=same[0], k=7, where="key::BIGINT % 3 = 0")
    assert [int(hit.key) for hit in hits] == [0, 3, 6, 9, 12, 15, 18]


def test_vectors_are_those_of_their_rows_in_any_order(searcher: Searcher) -> None:
    order = np.random.default_rng(3).permutation(len(searcher))
    twice = np.concatenate([order, order[:20]])
    for by in ("image", "text"):
        np.testing.assert_array_equal(searcher.vectors(twice, by), stored(by)[twice])


def test_a_search_leaves_faiss_its_threads(tmp_path: Path) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(30))
    build_index(dataset)
    searcher, before = Searcher(dataset), faiss.omp_get_max_threads()
    try:
        faiss.omp_set_num_threads(3)
        searcher.query(vector=unit_rows(1)[0], k=3)
        assert faiss.omp_get_max_threads() == 3
    finally:
        faiss.omp_set_num_threads(before)


@pytest.mark.parametrize("factory", ["RaBitQ2", "PQ4x4"])
def test_a_part_compares_nothing_that_is_hidden(tmp_path: Path, factory: str) -> None:
    """One row may be found, in a part that takes no filter or has to compare everything."""
    dataset = embedded(tmp_path / "d", unit_rows(200))
    (entry,) = entries(build_index(dataset, IndexSettings(factory=factory, rerank=1)))
    part = IndexPart(dataset, entry, "image", 16)
    before, parts.FEW = parts.FEW, 0
    try:
        for seed in range(6):
            allowed = np.zeros(200, bool)
            allowed[np.random.default_rng(seed).choice(200, 3, replace=False)] = True
            (query,) = unit_rows(1, seed=seed)
            for k in (1, 2, 3, 9):
                similarities, positions = part.search(query, k, allowed)
                assert len(positions) == min(k, 3)
                assert allowed[positions].all()
                assert (np.diff(similarities) <= 0).all()
    finally:
        parts.FEW = before
