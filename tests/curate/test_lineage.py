"""Lineage: what made a file, back to the list that was given."""

from pathlib import Path

import pytest

from frenchcat.curate.dataset import Dataset, file_sha256
from frenchcat.curate.errors import UserError
from frenchcat.curate.lineage import lineage, origin
from frenchcat.curate.manifest import GivenList, ListFile, StageEntry
from frenchcat.curate.markers import record_entry
from frenchcat.curate.select import Choice, select
from frenchcat.curate.verdict.stage import verdict
from frenchcat.index.build import build_index
from tests.sample.embedded import embedded
from tests.sample.vectors import unit_rows


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Two shards with verdicts, an index and a selection."""
    made = embedded(tmp_path / "d", unit_rows(3), unit_rows(2, seed=1))
    verdict(made)
    build_index(made)
    select(made, "cats", Choice(where="width > 1"))
    return made


def test_a_file_is_followed_through_its_inputs(dataset: Dataset) -> None:
    found = lineage(dataset, "verdicts/00001.parquet")
    assert [made.file for made in found] == ["verdicts/00001.parquet", "shards/00001.parquet"]
    first, second = found
    assert (first.made_by, first.version, first.settings) == ("verdict", 1, {"rules": []})
    assert first.inputs["shards/00001.parquet"] == second.sha256
    assert second.made_by == "download"


def test_an_index_and_a_selection_have_origins(dataset: Dataset) -> None:
    (image,) = [name for name in dataset.files("index") if name.startswith("image")]
    index = origin(dataset, f"index/{image}")
    assert (index.made_by, index.settings["factory"]) == ("index", "auto")
    assert index.sha256 == file_sha256(dataset.path(f"index/{image}"))
    assert "embeddings/img_emb/img_emb_00001.npy" in index.inputs
    chosen = origin(dataset, "selections/cats.parquet")
    assert "width > 1" in chosen.settings["sql"]
    assert {"shards/00000.parquet", "verdicts/00001.parquet"} <= chosen.inputs.keys()
    followed = [made.file for made in lineage(dataset, "selections/cats.parquet")]
    assert len(followed) == len(set(followed)) == 5


def test_a_file_that_was_changed_since_is_told(dataset: Dataset) -> None:
    path = Path(dataset.path("verdicts/00001.parquet"))
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(UserError, match="changed after verdict made it"):
        lineage(dataset, "verdicts/00001.parquet")


@pytest.mark.parametrize(
    ("file", "said"),
    [("verdicts/00009.parquet", "has no file"), ("dataset.json", "not made by a stage")],
)
def test_a_file_of_no_stage_is_one_line(dataset: Dataset, file: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        lineage(dataset, file)
    assert "\n" not in str(caught.value)


def test_a_shard_is_followed_to_its_list_and_the_lists_that_were_given(dataset: Dataset) -> None:
    given = (GivenList("link", None, (ListFile("urls.parquet", "1" * 64, 4),)),)
    record_entry(dataset, "lists", StageEntry(version=3, given=given))
    with dataset.publish("lists") as publication:
        publication.path("lists/00001.parquet").write_bytes(b"rows")
    output = {"bytes": 4, "sha256": file_sha256(dataset.path("lists/00001.parquet"))}
    made = {"digest": "2" * 64, "inputs": {}, "outputs": {"lists/00001.parquet": output}}
    dataset.write_json("stages/lists/00001.json", {**made, "counts": {}})
    found = lineage(dataset, "verdicts/00001.parquet")
    assert [one.file for one in found][2:] == ["lists/00001.parquet"]
    assert (found[2].given, found[2].version, found[2].digest) == (given, 3, "2" * 64)
    assert found[1].inputs == {"lists/00001.parquet": output["sha256"]}
    tar = lineage(dataset, "shards/00001.tar")
    assert [one.file for one in tar] == ["shards/00001.tar", "lists/00001.parquet"]


def test_each_file_of_a_shard_is_the_stages_that_published_it(dataset: Dataset) -> None:
    for shard in ("00000", "00001"):
        for file in (f"shards/{shard}.tar", f"verdicts/{shard}.parquet"):
            assert origin(dataset, file).sha256 == file_sha256(dataset.path(file))


def test_a_selections_origin_is_its_rows_as_they_are_now(dataset: Dataset) -> None:
    before = origin(dataset, "selections/cats.parquet")
    select(dataset, "few", Choice(where="key < '000000001'"))
    few = origin(dataset, "selections/few.parquet")
    assert few.digest != before.digest
    assert few.inputs.keys() == {"shards/00000.parquet", "verdicts/00000.parquet"}
    assert few.settings["choice"]["where"] == "key < '000000001'"
