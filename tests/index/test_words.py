"""BM25 against its formula; reciprocal ranks against a hand's sum; hybrid search under filters."""

import math

import numpy as np
import pytest

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.index.build import build_index
from frenchcat.index.search import Searcher, View
from frenchcat.index.terms import QueryImage, Text, Vector, summed
from frenchcat.index.words import Words, joined, words_of
from tests.sample.embedded import add_shard
from tests.sample.vectors import unit_rows

CAPTIONS = ["Un chat français", "cat cat on a mat", "a CAT", "dog", "", "the cat and the dog"]


@pytest.fixture(scope="module")
def searcher(tmp_path_factory: pytest.TempPathFactory) -> Searcher:
    dataset = Dataset.create(tmp_path_factory.mktemp("words") / "d", "d")
    add_shard(dataset, "00000", unit_rows(6), captions=CAPTIONS)
    build_index(dataset)
    return Searcher(dataset)


def test_words_are_without_case_and_accents() -> None:
    assert words_of("Un CHAT français, l'été 42") == ["un", "chat", "francais", "l", "ete", "42"]
    assert words_of("… !") == []


def test_the_order_is_bm25s(searcher: Searcher) -> None:
    documents = [words_of(text) for text in CAPTIONS]
    mean = sum(map(len, documents)) / len(documents)
    query = ["cat", "dog"]

    def score(words: list[str]) -> float:
        total = 0.0
        for word in query:
            frequency = sum(word in document for document in documents)
            rarity = math.log(1 + (len(documents) - frequency + 0.5) / (frequency + 0.5))
            count = words.count(word)
            total += rarity * count / (count + 1.5 * (1 - 0.75 + 0.75 * len(words) / mean))
        return total

    scores = [score(words) for words in documents]
    expected = [at for at in np.argsort([-s for s in scores], kind="stable") if scores[at] > 0]
    found = Words(searcher.rows).ranked("Cat DOG", 10, None)
    assert found.tolist() == expected
    assert Words(searcher.rows).ranked("Francais", 10, None).tolist() == [0]
    assert Words(searcher.rows).ranked("zebra", 10, None).tolist() == []


def test_ranks_are_joined_by_cormacks_sum() -> None:
    lists = [np.array([7, 3, 5]), np.array([5, 9])]
    scores = {7: 1 / 61, 3: 1 / 62, 5: 1 / 63 + 1 / 61, 9: 1 / 62}
    assert joined(lists, 4).tolist() == [5, 7, 3, 9]
    assert sorted(scores, key=lambda at: -scores[at]) == [5, 7, 3, 9]
    assert joined(lists, 2).tolist() == [5, 7]


def test_hybrid_gives_exactly_k_of_what_may_be_seen(searcher: Searcher) -> None:
    (vector,) = unit_rows(1, seed=3)
    for k in (1, 3, 50):
        ranked = searcher.hybrid("cat", vector, k)
        assert len(ranked) == min(k, 6)
    some = searcher.hybrid("cat", vector, 50, view=View("key::BIGINT % 2 = 0"))
    assert set(some.positions.tolist()) == {0, 2, 4}
    first = searcher.hybrid("francais", searcher.vectors(np.array([0]))[0], 1)
    assert first.positions.tolist() == [0]
    np.testing.assert_allclose(first.similarities, [1], atol=1e-3)
    with pytest.raises(UserError, match="contains no word"):
        searcher.hybrid("!", vector, 3)


def test_terms_are_summed_as_unit_vectors(searcher: Searcher) -> None:
    first, second = unit_rows(2, seed=8)
    found = searcher.encode(terms=[(1.0, Vector(3 * first)), (-0.5, Vector(second))])
    expected = first - 0.5 * second
    expected_unit = expected / np.linalg.norm(expected)
    np.testing.assert_allclose(found, expected_unit, atol=1e-6)
    for weights, said in (([1.0, -1.0], "cancel out"), ([1.0, math.nan], "not all finite numbers")):
        with pytest.raises(UserError, match=said):
            summed([first, first], weights)
    np.testing.assert_allclose(summed([first, second], [1e308, -5e307]), expected_unit, atol=1e-6)
    for scale in (1e-300, 1e300):
        found = searcher.encode(vector=first.astype(np.float64) * scale)
        np.testing.assert_allclose(found, first, atol=1e-6)
    with pytest.raises(UserError, match="has no terms"):
        searcher.query(terms=[])
    with pytest.raises(UserError, match="the query is empty"):
        searcher.query(terms=[(1.0, Text(" "))])
    with pytest.raises(UserError, match="no such file"):
        searcher.query(terms=[(1.0, Vector(first)), (1.0, QueryImage("/nowhere.jpg"))])
