"""clip-retrieval's folders as found: odd columns, vectors without a direction, no images."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from frenchcat.curate.adopt import ColumnNames, adopt
from frenchcat.curate.catalog import Catalog
from frenchcat.curate.clip.settings import ClipSettings
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.dedup import DedupSettings, dedup
from frenchcat.curate.download.list_source import Reading
from frenchcat.curate.errors import UserError
from frenchcat.curate.export import export
from frenchcat.curate.info import info
from frenchcat.curate.remove import RemovalQuery, compact, matches, remove
from frenchcat.curate.score.settings import ScoreSettings
from frenchcat.curate.score.stage import score
from frenchcat.curate.select import Choice, select
from frenchcat.curate.verdict.settings import VerdictSettings
from frenchcat.curate.verdict.stage import verdict
from frenchcat.index.build import build_index
from frenchcat.index.search import Searcher
from tests.curate.adopt.folders import clip_retrieval, rows
from tests.sample.vectors import unit_rows
from tests.trees import tree_digest


def listed(first: int = 0, last: int = 6, **columns: object) -> pa.Table:
    count = range(first, last)
    urls = [f"http://a{n}.org/{n}.jpg" for n in count]
    captions = [f"a cat of number {n}" for n in count]
    return pa.table({"caption": captions, "url": urls, **columns})


@pytest.mark.parametrize(
    ("captions", "texts"),
    [
        ([["a", "b"], [], None], ["a", None, None]),
        ([b"a", b"caf\xc3\xa9", None], ["a", "café", None]),
        ([[b"a"], [b"b"], [b""]], ["a", "b", None]),
    ],
)
def test_captions_as_lists_and_bytes(
    tmp_path: Path, captions: list[object], texts: list[str | None]
) -> None:
    folder = clip_retrieval(tmp_path / "f", pa.table({"caption": captions}))
    dataset = adopt(folder, tmp_path / "d").dataset
    assert [row["caption"] for row in rows(dataset)] == texts


def reading(rule: str) -> ColumnNames:
    return ColumnNames(reading=Reading(captions=rule))  # type: ignore[arg-type]


def test_of_several_captions_the_setting_says_which(tmp_path: Path) -> None:
    captions = [["a", "a cat"], [" ", b"un chat".decode()], [], None]
    folder = clip_retrieval(tmp_path / "f", pa.table({"caption": captions, "n": range(4)}))
    longest = adopt(folder, tmp_path / "longest", columns=reading("longest"))
    found = [row["caption"] for row in rows(longest.dataset)]
    assert found == ["a cat", "un chat", None, None]
    assert any("of which the longest was taken: 1 (" in note for note in longest.notes)
    every = adopt(folder, tmp_path / "all", columns=reading("all"))
    told = [(row["caption"], row["n"]) for row in rows(every.dataset)]
    assert told == [("a", 0), ("a cat", 0), ("un chat", 1), (None, 2), (None, 3)]
    assert len({row["uid"] for row in rows(every.dataset)[:3]}) == 3
    assert not any("further" in note for note in every.notes)
    vectors = np.load(every.dataset.path("embeddings/img_emb/img_emb_00000.npy"))
    np.testing.assert_allclose(vectors, unit_rows(4)[[0, 0, 1, 2, 3]], atol=1e-3)
    with pytest.raises(UserError, match="was adopted with other columns or captions"):
        adopt(folder, tmp_path / "all", columns=reading("first"))


def test_captions_are_lists_in_one_file_and_text_or_bytes_in_another(tmp_path: Path) -> None:
    tables = [
        pa.table({"caption": [["a cat", "a dog"]], "url": ["http://a.org/1"]}),
        pa.table({"Caption": ["a bird"], "url": [b"http://a.org/2"]}),
        pa.table({"caption": pa.nulls(1), "url": [["http://a.org/3"]]}),
    ]
    dataset = adopt(clip_retrieval(tmp_path / "f", *tables), tmp_path / "d").dataset
    assert [row["caption"] for row in rows(dataset)] == ["a cat", "a bird", None]
    assert [row["url"] for row in rows(dataset)] == [f"http://a.org/{n}" for n in (1, 2, 3)]


def test_names_that_differ_in_case_alone(tmp_path: Path) -> None:
    tables = [listed(0, 2, seed=[1, 2], SEED=["x", "y"]), listed(2, 3, Seed=[3])]
    dataset = adopt(clip_retrieval(tmp_path / "f", *tables), tmp_path / "d").dataset
    told = rows(dataset)
    assert [row["seed"] for row in told] == [1, 2, 3]
    assert [row["SEED_1"] for row in told] == ["x", "y", None]
    build_index(dataset)
    (hit,) = Searcher(dataset).query(vector=unit_rows(3)[1], k=1, where="seed = 2")
    assert (hit.columns["seed"], hit.columns["SEED_1"]) == (2, "y")


def test_columns_that_differ_in_type_by_file(tmp_path: Path) -> None:
    tables = [
        listed(0, 2, seed=[1, 2], part=[1, 2], none=pa.nulls(2), nested=[{"a": 1}, None]),
        listed(2, 4, seed=["x", None], part=[0.5, None], none=["a", "b"], nested=[[1], [2]]),
        listed(4, 6, part=[3, 4]),
    ]
    dataset = adopt(clip_retrieval(tmp_path / "f", *tables), tmp_path / "d").dataset
    told = rows(dataset)
    assert [row["seed"] for row in told] == ["1", "2", "x", None, None, None]
    assert [row["part"] for row in told] == [1, 2, 0.5, None, 3, 4]
    assert [row["none"] for row in told] == [None, None, "a", "b", None, None]
    assert [row["nested"] for row in told] == ['{"a":1}', None, "[1]", "[2]", None, None]
    build_index(dataset)
    (hit,) = Searcher(dataset).query(vector=unit_rows(6)[3], k=1)
    assert hit.columns["part"] is None
    assert hit.caption == "a cat of number 3"


def test_numbers_that_lose_digits_by_another_file_s_type_are_counted(tmp_path: Path) -> None:
    tables = [listed(0, 4, seed=[1, 2**53 + 1, None, 2**60 + 1]), listed(4, 6, seed=[0.5, 1.0])]
    adopted = adopt(clip_retrieval(tmp_path / "f", *tables), tmp_path / "d")
    assert any("lose digits" in note and "2 (seed of" in note for note in adopted.notes)


@pytest.mark.parametrize(
    ("value", "reason"),
    [(0, "zero_embedding"), (np.nan, "nan_embedding"), (np.inf, "nan_embedding")],
)
def test_a_vector_without_direction_costs_its_row_the_vector(
    tmp_path: Path, value: float, reason: str
) -> None:
    vectors = unit_rows(6).copy()
    vectors[3] = value
    adopted = adopt(clip_retrieval(tmp_path / "f", listed(), images=vectors), tmp_path / "d")
    assert any("not embedded: 1 (000000003)" in note for note in adopted.notes)
    told = info(adopted.dataset)
    assert (told.rows, told.embedded, told.dropped) == (6, 5, {f"not_embedded:{reason}": 1})
    build_index(adopted.dataset)
    hits = Searcher(adopted.dataset).query(vector=vectors[4], k=9, duplicates=True)
    assert sorted(hit.key for hit in hits) == [f"00000000{n}" for n in (0, 1, 2, 4, 5)]
    assert hits[0].caption == "a cat of number 4"


def test_a_column_with_a_name_of_ours_is_kept_beside_it(tmp_path: Path) -> None:
    table = listed(key=list("uvwxyz"), status=["theirs"] * 6)
    adopted = adopt(clip_retrieval(tmp_path / "f", table), tmp_path / "d")
    assert [row["list_key"] for row in rows(adopted.dataset)] == list("uvwxyz")
    assert any("list_<name>: 2 (key, status)" in note for note in adopted.notes)


def test_one_of_several_shards_goes_on_and_another_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frenchcat.curate.adopt.clip_retrieval.PER_SHARD", 2)
    folder = clip_retrieval(tmp_path / "f", listed())
    adopt(folder, tmp_path / "d")
    whole = tree_digest(tmp_path / "d")
    (tmp_path / "d/stages/embed/00001.json").unlink()
    adopt(folder, tmp_path / "d")
    assert tree_digest(tmp_path / "d") == whole
    other = clip_retrieval(tmp_path / "other", listed(), images=unit_rows(6, seed=5))
    with pytest.raises(UserError, match="was adopted from other files"):
        adopt(other, tmp_path / "d")
    assert tree_digest(tmp_path / "d") == whole


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    vectors = unit_rows(6).copy()
    vectors[5] = vectors[1]
    return adopt(clip_retrieval(tmp_path / "f", listed(), images=vectors), tmp_path / "d").dataset


def test_without_images_every_stage_does_what_it_can(dataset: Dataset, tmp_path: Path) -> None:
    chosen = ScoreSettings(scores=("similarity", "punsafe", "language", "caption", "pdq"))
    report = score(dataset, chosen)
    assert report.notes == ("punsafe, pdq: not measured, the dataset was adopted without images",)
    with Catalog(dataset) as catalog:
        there = catalog.columns()
        cosines = catalog.table(["similarity"], order="key")["similarity"].to_pylist()
    assert {"similarity", "language"} <= set(there)
    assert not {"punsafe", "pdq"} & set(there)
    pictures, texts = (
        np.load(dataset.path(f"embeddings/{n}_emb/{n}_emb_00000.npy")).astype(np.float32)
        for n in ("img", "text")
    )
    assert cosines == pytest.approx((pictures * texts).sum(1).tolist(), abs=1e-6)
    copies = dedup(dataset)
    assert copies.kinds == {"semantic": 1}
    assert copies.notes == ("perceptual: not compared, the dataset was adopted without images",)
    verdict(dataset, VerdictSettings(rules={"short": "length(caption) < 3"}))
    with pytest.raises(
        UserError, match=r"rule unsafe: .*adopted without images, so leave the rule"
    ):
        verdict(dataset, VerdictSettings(rules={"unsafe": "punsafe > .5"}))
    made = select(dataset, "cats", Choice(where="similarity > -2", weight="2"))
    assert len(made) == 6
    assert (
        "a cat of number 3"
        in (export(dataset, "cats", tmp_path / "x", "csv") / "cats.csv").read_text()
    )
    with pytest.raises(UserError, match="adopted without images, so the selection 'cats' has"):
        export(dataset, "cats", tmp_path / "y")
    assert not (tmp_path / "y").exists()


def test_without_images_a_removal_is_compacted_whatever_was_run(dataset: Dataset) -> None:
    import frenchcat

    score(dataset, ScoreSettings(scores=("similarity", "punsafe")))
    dedup(dataset, DedupSettings())
    verdict(dataset, VerdictSettings(rules={"short": "length(caption) < 3"}))
    select(dataset, "cats")
    build_index(dataset)
    query = RemovalQuery("url", "http://a2.org/2.jpg")
    remove(dataset, query, matches(dataset, query))
    assert frenchcat.open(dataset.root).compact() == {"rows": 1, "shards": 1}
    told = info(dataset)
    assert (told.rows, told.embedded, told.indexed) == (5, 5, 5)
    assert compact(dataset) == {"rows": 0, "shards": 0}


def test_without_images_training_says_so(dataset: Dataset, tmp_path: Path) -> None:
    from frenchcat.train.layout import rows_of_selection
    from frenchcat.train.webdataset import pipeline_of

    made = select(dataset, "cats")
    with pytest.raises(UserError, match="was adopted without images"):
        rows_of_selection(dataset, "cats", tmp_path / "rows")
    with pytest.raises(UserError, match="was adopted without images"):
        pipeline_of(dataset, made, None)


def test_the_search_of_a_text_names_what_can_be_done(dataset: Dataset) -> None:
    build_index(dataset)
    with pytest.raises(UserError, match="were made by unknown") as error:
        Searcher(dataset).query(text="cat")
    assert "frenchcat embed" not in str(error.value)
    assert f"frenchcat adopt FOLDER --out {dataset.root} --config" in str(error.value)


def test_the_model_can_be_named_later(tmp_path: Path) -> None:
    from frenchcat.curate.clip.model import load_clip

    clip = load_clip(ClipSettings(model="mini", compile="no"))
    vectors = clip.encode_texts(["a cat", "a tractor", "the sea"])
    folder = clip_retrieval(tmp_path / "f", listed(0, 3), images=vectors, texts=False)
    dataset = adopt(folder, tmp_path / "d").dataset
    build_index(dataset)
    adopt(folder, tmp_path / "d", ClipSettings(model="mini", compile="no"))
    build_index(dataset)
    (hit,) = Searcher(dataset).query(text="a tractor", k=1)
    assert hit.key == "000000001"
    report = score(dataset, ScoreSettings(scores=("similarity", "caption")))
    assert report.notes == ("similarity: not measured, it was adopted without vectors of captions",)
