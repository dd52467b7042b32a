"""A hit has every column of the list, called as in a condition, whatever its name and type."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frenchcat.curate.catalog import Catalog
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UnknownColumn, UserError
from frenchcat.index import search
from frenchcat.index.build import build_index
from frenchcat.index.search import Searcher
from tests.sample.columns import add_columns
from tests.sample.embedded import add_shard
from tests.sample.vectors import unit_rows

VECTORS = unit_rows(6)
OURS = ("id", "Shard", "offset", "size", "extension", "similarity", "punsafe", "Keep", "filename")


@pytest.fixture
def grown(tmp_path: Path) -> Dataset:
    """Two parts of an index, whose rows differ in columns and types."""
    dataset = Dataset.create(tmp_path / "d", "d")
    own: dict[str, Any] = {name: [100, 101, 102] for name in OURS}
    add_shard(dataset, "00000", VECTORS[:3], **own, seed=[1, 2, 3], list_id=[7, 8, 9])
    build_index(dataset)
    add_shard(dataset, "00001", VECTORS[3:], seed=["x", None, "z"], note=["a", "b", "c"])
    build_index(dataset)
    return dataset


def test_the_lists_columns_stand_beside_ours(grown: Dataset) -> None:
    (hit,) = Searcher(grown).query(vector=VECTORS[1], k=1)
    told = hit.as_dict()
    assert {name: told[f"list_{name}"] for name in OURS} == dict.fromkeys(OURS, 101)
    assert told["list_list_id"] == 8
    assert told["similarity"] == round(hit.similarity, 6) != 101
    assert (hit.id, hit.shard, hit.extension) == (1, "00000", "png")
    with Catalog(grown) as catalog:
        assert set(hit.columns) <= set(catalog.columns())


def test_rows_of_all_parts_have_the_same_columns_and_types(grown: Dataset) -> None:
    hits = Searcher(grown).query(vector=VECTORS[0], k=6)
    seeds = {hit.key: hit.columns["seed"] for hit in hits}
    assert [seeds[key] for key in sorted(seeds)] == ["1", "2", "3", "x", None, "z"]
    notes = {hit.key: hit.columns["note"] for hit in hits}
    assert [notes[key] for key in sorted(notes)] == [None, None, None, "a", "b", "c"]
    found = Searcher(grown).metadata([10000, 0], ["seed", "list_similarity"])
    assert found == [{"seed": "x", "list_similarity": None}, {"seed": "1", "list_similarity": 100}]


def test_no_hit_is_less_similar_than_was_asked_for(grown: Dataset) -> None:
    searcher = Searcher(grown)
    stored = VECTORS.astype(np.float16).astype(np.float32)
    cosines = sorted(np.minimum(stored @ VECTORS[0], 1).tolist())  # float16 is longer by a little
    least = (cosines[-2] + cosines[-3]) / 2
    hits = searcher.query(vector=VECTORS[0], k=6, min_similarity=least)
    assert [hit.similarity for hit in hits] == pytest.approx(cosines[:-3:-1], abs=2e-6)
    assert len(searcher.query(vector=VECTORS[0], k=6, min_similarity=-1)) == 6
    for wrong in (1.5, float("nan")):
        with pytest.raises(UserError, match=r"min_similarity is .*; .* from -1 to 1"):
            searcher.query(vector=VECTORS[0], min_similarity=wrong)


def test_a_bad_condition_is_refused_before_the_model_is_loaded(
    grown: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_model(*_: object) -> None:
        raise AssertionError("the model is loaded")

    monkeypatch.setattr(search, "clip_settings", no_model)
    with pytest.raises(UnknownColumn, match="widht"):
        Searcher(grown).query(text="a cat", where="widht > 3")


def test_a_score_of_text_that_is_called_punsafe_counts_where_it_is_a_number(
    grown: Dataset,
) -> None:
    """As a score of the user's own may be, where ours of that name is left out."""
    add_columns(grown, "scores", punsafe=["0.9", "low", None])
    hits = Searcher(grown).query(vector=VECTORS[0], k=6)
    assert {hit.key for hit in hits} == {f"{n // 3:05d}{n % 3:04d}" for n in range(1, 6)}
