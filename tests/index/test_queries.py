"""Sums of vectors, words joined with vectors, recall of the worst kind, and a map of some rows."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.index import kinds
from frenchcat.index import map as maps
from frenchcat.index.build import build_index
from frenchcat.index.evaluate import Asked, tune
from frenchcat.index.search import Searcher, View
from frenchcat.index.terms import Terms, Vector
from frenchcat.index.vectors import StoredVectors
from frenchcat.index.words import joined
from tests.sample.embedded import add_shard, embedded
from tests.sample.vectors import unit_rows


@pytest.fixture(scope="module")
def searcher(tmp_path_factory: pytest.TempPathFactory) -> Searcher:
    dataset = Dataset.create(tmp_path_factory.mktemp("queries") / "d", "d")
    captions = ["cat" if row % 10 == 9 else "dog" for row in range(150)]
    add_shard(dataset, "00000", unit_rows(150), captions=captions)
    build_index(dataset)
    return Searcher(dataset)


@given(weights=st.lists(st.floats(-5, 5).filter(lambda w: abs(w) > 0.01), min_size=1, max_size=4))
@settings(max_examples=30)
def test_a_query_is_the_weighted_sum_of_its_terms_at_length_one(
    searcher: Searcher, weights: list[float]
) -> None:
    vectors = unit_rows(len(weights), seed=3)
    terms: Terms = [(w, Vector(7 * v)) for w, v in zip(weights, vectors, strict=True)]
    total = np.asarray(weights) @ vectors.astype(np.float64)
    found = searcher.encode(terms=terms)
    np.testing.assert_allclose(found, total / np.linalg.norm(total), atol=1e-5)


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -float("inf")])
def test_a_weight_that_is_no_finite_number_is_refused(searcher: Searcher, weight: float) -> None:
    first, second = unit_rows(2)
    terms: Terms = [(1.0, Vector(first)), (weight, Vector(second))]
    for given_terms in (terms, terms[1:]):
        with pytest.raises(UserError, match="finite"):
            searcher.query(terms=given_terms)


ranking = st.permutations(range(140)).flatmap(
    lambda order: st.integers(0, 140).map(lambda count: np.array(order[:count], np.int64))
)


@given(first=ranking, second=ranking, k=st.integers(1, 150))
@settings(max_examples=40, phases=(Phase.explicit, Phase.generate))  # to shrink them takes long
def test_ranks_are_joined_as_the_paper_says(first: np.ndarray, second: np.ndarray, k: int) -> None:
    """Cormack et al. 2009: the sum of 1 / (60 + rank), ranks from 1; equals as they come."""
    scores: dict[int, Fraction] = {}
    for order in (first.tolist(), second.tolist()):
        for rank, row in enumerate(order, 1):
            scores[row] = scores.get(row, Fraction(0)) + Fraction(1, 60 + rank)
    found = joined([first, second], k).tolist()
    assert len(found) == len(set(found)) == min(k, len(scores))
    exact = sorted(scores.values(), reverse=True)[:k]
    assert [float(scores[row]) for row in found] == pytest.approx([float(s) for s in exact], abs=0)


@pytest.mark.parametrize("k", [1, 99, 100, 101, 149, 400])
def test_hybrid_gives_exactly_k_of_many_and_obeys_the_filter(searcher: Searcher, k: int) -> None:
    (vector,) = unit_rows(1, seed=8)
    assert len(searcher.hybrid("cat", vector, k)) == min(k, 150)
    odd = searcher.hybrid("cat", vector, k, view=View("key::BIGINT % 2 = 0"))
    assert len(odd) == min(k, 75)  # all of which a cosine found: every cat is odd
    assert (odd.positions % 2 == 0).all()


def test_the_recall_asked_for_holds_for_the_worst_kind(tmp_path: Path) -> None:
    """Pictures are compared exactly; captions by codes too coarse for what is asked."""
    dataset = embedded(tmp_path / "d")
    add_shard(dataset, "00000", unit_rows(400, 32), unit_rows(400, 32, seed=1))
    stored = {name: StoredVectors(dataset, name, {"00000": 400}, 32) for name in ("image", "text")}

    def made(name: str, factory: str) -> object:
        whole = stored[name].gather(np.arange(400))
        return kinds.make_index([whole], lambda count: whole[:count], 32, 400, factory)

    for coarse in ("image", "text"):
        indexes = {name: made(name, "RaBitQ" if name == coarse else "SQfp16") for name in stored}
        with pytest.raises(UserError, match=r"recall@10 is 0\.\d+, below --target-recall"):
            tune(indexes, stored, Asked(rerank=1, target=0.99))
        reached = tune(indexes, stored, Asked(target=0.99)).measured["recall_at_10"]
        assert min(one["recall"] for one in reached.values()) >= 0.99


def test_a_map_shows_always_the_same_rows_of_all_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maps, "MOST", 20)
    monkeypatch.setattr(maps, "EPOCHS", 2)
    dataset = embedded(tmp_path / "d", unit_rows(40), unit_rows(40, seed=1))
    build_index(dataset)
    first, second = (maps.made_of(Searcher(dataset)) for _ in range(2))
    np.testing.assert_array_equal(first.rows, second.rows)
    np.testing.assert_array_equal(first.places, second.places)
    assert 4 <= (first.rows < 40).sum() <= 16
