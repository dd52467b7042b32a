"""Recall is what brute force says; a target is met, or the build fails and says what would."""

from pathlib import Path

import faiss
import numpy as np
import pytest

from frenchcat.curate.errors import UserError
from frenchcat.index import evaluate, kinds
from frenchcat.index.build import IndexSettings, build_index, entries
from frenchcat.index.evaluate import Asked, interval, recall_of, trials_of, tune
from frenchcat.index.search import Searcher
from frenchcat.index.vectors import StoredVectors
from tests.sample.embedded import add_shard, embedded
from tests.sample.vectors import unit_rows

ROWS = 2000


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> dict[str, StoredVectors]:
    dataset = embedded(tmp_path_factory.mktemp("recall") / "d")
    captions = unit_rows(ROWS, 64, seed=1) + 0.5 * unit_rows(1, 64, seed=2)
    captions /= np.linalg.norm(captions, axis=1, keepdims=True)
    add_shard(dataset, "00000", unit_rows(ROWS, 64), captions)
    return {name: StoredVectors(dataset, name, {"00000": ROWS}, 64) for name in ("image", "text")}


def made(stored: StoredVectors, factory: str) -> object:
    whole = stored.gather(np.arange(ROWS))
    return kinds.make_index([whole], lambda count: whole[:count], 64, ROWS, factory)


def test_recall_is_the_share_of_the_true_ten(stored: dict[str, StoredVectors]) -> None:
    indexes = {"image": made(stored["image"], "RaBitQ2")}
    trials = trials_of(indexes, stored)
    assert trials.keys() == {"image_by_image", "image_by_text"}
    held = np.unique(np.linspace(0, ROWS - 1, evaluate.QUERIES).astype(int))
    others = np.setdiff1d(np.arange(ROWS), held)
    whole = stored["image"].gather(np.arange(ROWS))
    for name, trial in trials.items():
        queries = stored[name.split("_")[2]].gather(held)
        shares = []
        for query in queries:
            truth = others[np.argsort(-(whole[others] @ query), kind="stable")[:10]]
            _, found = kinds.search(trial.index, query, 10 + 8, trial.bits, None)
            assert not set(found) & set(held)  # held out of the search
            best = found[np.argsort(-(whole[found] @ query), kind="stable")[:10]]
            shares.append(len(set(best) & set(truth)) / 10)
        assert recall_of(trial, 8, None).recall == pytest.approx(np.mean(shares), abs=1e-9)
        assert recall_of(trial, 8, None).recall < recall_of(trial, 500, None).recall


def test_rabitq_with_reranking_reaches_what_is_aimed_at(stored: dict[str, StoredVectors]) -> None:
    for factory in ("RaBitQ2", "IVF16_HNSW8,RaBitQ2"):
        indexes = {name: made(there, factory) for name, there in stored.items()}
        tuned = tune(indexes, stored, Asked(target=0.99))
        recalls = tuned.measured["recall_at_10"]
        assert len(recalls) == 4
        assert all(found["recall"] >= 0.99 for found in recalls.values()), recalls
        assert all(found["low"] <= found["recall"] <= found["high"] for found in recalls.values())
        assert (tuned.probes is None) == (factory == "RaBitQ2")
        assert tuned.measured["latency_ms"].keys() == recalls.keys()


def test_a_target_that_is_not_met_names_the_settings_that_do(
    stored: dict[str, StoredVectors],
) -> None:
    indexes = {name: made(there, "RaBitQ") for name, there in stored.items()}
    with pytest.raises(
        UserError, match=r"to meet it: frenchcat index D --set index\.rerank=\d+"
    ) as said:
        tune(indexes, stored, Asked(rerank=1, target=0.99), "D")
    rerank = int(str(said.value).rsplit("=", 1)[1])
    tune(indexes, stored, Asked(rerank=rerank, target=0.99), "D")


def test_a_build_that_misses_its_target_leaves_no_index(tmp_path: Path) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(600, 32))
    with pytest.raises(UserError, match=r"recall@10 is 0\.\d+, below --target-recall 0\.999"):
        build_index(dataset, IndexSettings(factory="RaBitQ", rerank=1, target_recall=0.999))
    assert not (tmp_path / "d/index").exists()
    found = build_index(dataset, IndexSettings(factory="RaBitQ2", target_recall=0.99))
    (entry,) = entries(found)
    assert min(r["recall"] for r in entry.measured["recall_at_10"].values()) >= 0.99
    hits = Searcher(dataset).query(vector=unit_rows(600, 32)[5], k=10)
    assert hits[0].key == "000000005"


def test_the_interval_holds_the_mean_and_widens_with_clustering() -> None:
    even = interval(np.full(200, 0.9))
    torn = interval(np.repeat([1.0, 0.0], [180, 20]))
    assert [even.recall, torn.recall] == pytest.approx([0.9, 0.9])
    assert torn.low < even.low < 0.9 < even.high < torn.high
    # All found: as for 200 independent trials, Wilson's lower end is n / (n + z²).
    assert interval(np.ones(200)).low == pytest.approx(200 / (200 + 1.959964**2), abs=1e-6)


def test_the_kind_follows_the_number_of_rows() -> None:
    assert kinds.kind_of(100_000, "auto") == kinds.Kind("SQfp16", True)
    assert kinds.kind_of(100_001, "auto") == kinds.Kind("RaBitQ2", False)
    assert kinds.kind_of(10_000_001, "auto").factory == "IVF16384_HNSW32,RaBitQ2"
    assert kinds.kind_of(5, "HNSW8", tail=True).exact
    assert not kinds.kind_of(5, "HNSW8").exact
    for rows in (10_000_001, 10**9):
        index = faiss.index_factory(
            8, kinds.kind_of(rows, "auto").factory, faiss.METRIC_INNER_PRODUCT
        )
        assert isinstance(index, faiss.IndexIVFRaBitQ)
