"""Views over a dataset's files, joined by key."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from frenchcat.curate.catalog import Catalog
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError


def write(dataset: Dataset, relative: str, columns: dict[str, list[object]]) -> None:
    with dataset.publish("test") as publication:
        pq.write_table(pa.table(columns), publication.path(relative))


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    made = Dataset.create(tmp_path / "d", "d")
    first = {"key": ["000000000", "000000001", "000000002"], "url": ["a", "b", "c"]}
    write(
        made,
        "shards/00000.parquet",
        {**first, "status": ["success", "success", "failed_to_download"], "width": [1, 2, None]},
    )
    second = {"key": ["000010000"], "url": ["d"], "status": ["success"], "width": [9]}
    write(made, "shards/00001.parquet", {**second, "artist": ["Ann"]})
    made.write_json("stages/download/00000.json", {})
    made.write_json("stages/download/00001.json", {})
    return made


def test_rows_are_all_and_samples_the_stored_ones(dataset: Dataset) -> None:
    with Catalog(dataset) as catalog:
        assert catalog.table(["shard", "key"], view="rows").num_rows == 4
        assert catalog.keys() == ["000000000", "000000001", "000010000"]
        assert catalog.keys("width >= 2 and shard = '00001'") == ["000010000"]
        assert catalog.count("artist is null") == 2


def test_scores_and_verdicts_are_joined_by_key(dataset: Dataset) -> None:
    write(dataset, "scores/00000.parquet", {"key": ["000000001"], "punsafe": [0.5]})
    write(dataset, "verdicts/00001.parquet", {"key": ["000010000"], "keep": [False]})
    with Catalog(dataset) as catalog:
        table = catalog.table(["key", "punsafe", "keep"], order="key")
    assert table["punsafe"].to_pylist() == [None, 0.5, None]
    assert table["keep"].to_pylist() == [None, None, False]


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("widht > 2", "no column 'widht'.*did you mean width"),
        ("zzz > 2", "no column 'zzz'.*known: .*url"),
        ("url::integer > 2", "fails"),
        ("width > 'x'", "fails"),
        ("TRUE) OR (SELECT TRUE", "no condition"),
    ],
)
def test_a_bad_condition_is_one_line(dataset: Dataset, where: str, said: str) -> None:
    with Catalog(dataset) as catalog, pytest.raises(UserError, match=said) as caught:
        catalog.keys(where)
    assert "\n" not in str(caught.value)


def test_no_file_outside_the_dataset_can_be_read(dataset: Dataset, tmp_path: Path) -> None:
    import duckdb

    (tmp_path / "secret.csv").write_text("a\n1\n")
    with Catalog(dataset) as catalog:
        for sql in (f"SELECT * FROM '{tmp_path}/secret.csv'", "SET enable_external_access = true"):
            with pytest.raises(duckdb.Error):
                catalog.duck.execute(sql)


def test_an_empty_dataset_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no shards; run frenchcat download"):
        Catalog(Dataset.create(tmp_path / "e", "e"))
