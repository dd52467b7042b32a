"""The stage over a dataset: clusters across shards, survivors, what is skipped and what redone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from frenchcat.curate.catalog import Catalog
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.dedup import DedupReport, DedupSettings, dedup
from frenchcat.curate.errors import UserError
from frenchcat.curate.manifest import StageEntry
from frenchcat.curate.markers import record_entry
from tests.curate.dedup.folders import Row, pdq, read, vector, write
from tests.trees import tree_digest

V = [vector(seed) for seed in range(10)]


def lone(number: int) -> Row:
    """A row like no other."""
    name = f"http://a.test/{number}.jpg"
    return Row(name, f"{number:064x}", pdq=pdq(number), vector=vector(number))


FIRST = [
    lone(0),
    replace(lone(1), side=50),  # its copy in the other shard is larger
    lone(2),
    replace(lone(3), stored=False),
    lone(4),
]
SECOND = [
    replace(lone(11), sha256=lone(1).sha256, side=400),
    replace(lone(12), pdq=pdq(2, 31)),
    replace(lone(14), vector=vector(50, V[4], 0.98), similarity=0.1),
    replace(lone(13), url="HTTP://a.test:80/3.jpg"),  # of a row that was not stored
    replace(lone(10), url="HTTP://A.test/0.jpg#top"),
]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    made = Dataset.create(tmp_path / "d", "d")
    write(made, "00000", FIRST)
    write(made, "00001", SECOND)
    return made


def run(dataset: Dataset, **settings: Any) -> DedupReport:
    with dataset.lock():
        return dedup(dataset, DedupSettings(**settings))


def test_every_kind_is_found_across_shards_and_the_better_row_stays(dataset: Dataset) -> None:
    report = run(dataset)
    rows = read(dataset)
    assert len(rows) == 9
    assert "000000003" not in rows  # was not stored
    tied = {key: (r["duplicate_of"], r["kind"]) for key, r in rows.items() if r["duplicate_of"]}
    assert tied == {
        "000000001": ("000010000", "exact"),  # the larger one stays
        "000010001": ("000000002", "perceptual"),
        "000010002": ("000000004", "semantic"),
        "000010004": ("000000000", "exact"),
    }
    assert rows["000010000"]["cluster"] == rows["000000001"]["cluster"] == "000000001"
    assert rows["000010000"]["multiplicity"] == 2
    alone = rows["000010003"]
    assert (alone["cluster"], alone["multiplicity"], alone["kind"]) == ("000010003", 1, None)
    kinds = {"exact": 2, "perceptual": 1, "semantic": 1}
    assert report == DedupReport(9, 4, 4, kinds)
    assert dataset.manifest().entry("dedup").counts["clusters"] == 4


def test_the_strongest_evidence_names_the_kind(dataset: Dataset) -> None:
    copy = replace(FIRST[0], url="http://b.test/", side=90)  # equal in everything
    likeness = replace(lone(21), pdq=pdq(0, 9), vector=V[0], side=80)
    write(dataset, "00002", [copy, likeness])
    run(dataset)
    rows = read(dataset)
    assert rows["000020000"]["kind"] == "exact"
    assert rows["000020001"]["kind"] == "perceptual"
    assert rows["000000000"]["multiplicity"] == 4


def test_same_again_is_skipped_and_changed_settings_are_redone(dataset: Dataset) -> None:
    first = run(dataset)
    before = tree_digest(Path(dataset.root))
    assert run(dataset) == replace(first, skipped=True)
    assert tree_digest(Path(dataset.root)) == before
    report = run(dataset, survivor=("key",))
    assert not report.skipped
    assert read(dataset)["000010000"]["duplicate_of"] == "000000001"


def test_a_later_shard_joins_clusters_of_earlier_ones(dataset: Dataset) -> None:
    run(dataset)
    bridge = replace(lone(30), sha256=lone(0).sha256, pdq=pdq(2, 5))
    write(dataset, "00002", [bridge])
    report = run(dataset)
    rows = read(dataset)
    joined = ("000000000", "000000002", "000010001", "000010004", "000020000")
    assert {rows[key]["cluster"] for key in joined} == {"000000000"}
    assert {rows[key]["multiplicity"] for key in joined} == {5}
    assert report.clusters == 3


def test_a_lost_or_cut_file_is_made_again(dataset: Dataset) -> None:
    run(dataset)
    before = tree_digest(Path(dataset.root))
    Path(dataset.path("duplicates/00001.parquet")).write_bytes(b"cut")
    assert not run(dataset).skipped
    assert tree_digest(Path(dataset.root)) == before


def test_hashes_of_pictures_that_show_nothing_tie_nothing(dataset: Dataset) -> None:
    flat = [replace(lone(40 + n), pdq=pdq(99), quality=10) for n in range(2)]
    write(dataset, "00002", flat)
    run(dataset)
    assert read(dataset)["000020001"]["multiplicity"] == 1
    run(dataset, perceptual_quality=0)
    assert read(dataset)["000020001"]["multiplicity"] == 2


def test_only_the_chosen_methods_count_and_need_their_inputs(dataset: Dataset) -> None:
    dataset.remove("stages/embed/00001.json")
    dataset.remove("scores/00001.parquet")
    with pytest.raises(UserError, match=r"00001 .*no perceptual hashes; run: frenchcat score"):
        run(dataset)
    with pytest.raises(UserError, match=r"no vectors; run: frenchcat embed"):
        run(dataset, methods=("exact", "semantic"))
    assert run(dataset, methods=("exact",)).kinds == {"exact": 2}


def test_the_advice_names_what_works_whatever_scores_were_chosen(dataset: Dataset) -> None:
    dataset.remove("scores/00001.parquet")
    dataset.update_manifest({"settings": {"score": {"scores": ["similarity"]}}})
    with pytest.raises(UserError) as error:
        run(dataset)
    score = f'frenchcat score {dataset.root} --set \'score.scores=["similarity", "pdq"]\''
    without = f'frenchcat dedup {dataset.root} --set \'dedup.methods=["exact", "semantic"]\''
    assert f"run: {score}, or compare without them: {without}" in str(error.value)
    assert run(dataset, methods=("exact", "semantic")).kinds


def test_what_was_adopted_without_pictures_is_not_told_to_score_them(dataset: Dataset) -> None:
    dataset.remove("scores/00001.parquet")
    record_entry(dataset, "download", StageEntry(settings={"adopted": "clip-retrieval"}))
    report = run(dataset)
    (note,) = report.notes
    assert "adopted without images" in note
    assert "frenchcat score" not in note
    assert "perceptual" not in report.kinds


def test_rows_without_vector_or_hash_are_compared_by_what_they_have(dataset: Dataset) -> None:
    bare = Row("http://a.test/1.jpg", None, similarity=None)
    write(dataset, "00002", [bare, Row("http://c.test/")])
    run(dataset)
    rows = read(dataset)
    assert rows["000020000"]["duplicate_of"] == "000010000"
    assert rows["000020001"]["duplicate_of"] is None


def test_a_dataset_that_stored_nothing_has_no_duplicates(tmp_path: Path) -> None:
    empty = Dataset.create(tmp_path / "e", "e")
    write(empty, "00000", [replace(lone(0), stored=False)])
    assert run(empty, methods=("exact",)) == DedupReport(0, 0, 0)


def test_vectors_that_do_not_fit_their_metadata_are_refused(dataset: Dataset) -> None:
    import numpy as np

    np.save(dataset.path("embeddings/img_emb/img_emb_00001.npy"), np.zeros((2, 16), np.float16))
    with pytest.raises(UserError, match=r"img_emb_00001.npy holds \(2, 16\)"):
        run(dataset)
    assert not dataset.exists("duplicates")  # all or nothing


def test_the_catalog_shows_them(dataset: Dataset) -> None:
    run(dataset)
    with Catalog(dataset) as catalog:
        assert catalog.count("duplicate_of is null") == 5
        assert catalog.keys("kind = 'semantic'") == ["000010002"]
        assert catalog.count("multiplicity > 1") == 8
