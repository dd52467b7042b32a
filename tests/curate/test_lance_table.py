"""`export --format lance`, read back by Lance and LanceDB.

In `make test` a stand-in writes the rows as parquet; `make soak` runs Lance itself.
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import NoSpace, UserError
from frenchcat.curate.export import Exported, export
from frenchcat.curate.remove import RemovalQuery, matches, remove
from frenchcat.curate.select import Choice, select
from tests.sample.columns import set_columns
from tests.sample.embedded import add_shard, embedded
from tests.sample.pictures import picture
from tests.sample.row import Row
from tests.sample.vectors import unit_rows
from tests.sample.write import write

VECTORS = unit_rows(12), unit_rows(5, seed=1)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    made = embedded(tmp_path / "d", *VECTORS)
    rows = [Row(picture=b"x", scores={"punsafe": n / 10}) for n in range(5)]
    write(made, "00001", rows, ("scores",))
    select(made, "some", Choice("key >= '000000007'", weight="1 + (key < '00001')::int"))
    return made


@pytest.fixture(params=["stand-in", pytest.param("lance", marks=pytest.mark.slow)])
def lance(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package, or what stands in for it."""
    if request.param == "lance":
        return pytest.importorskip("lance", reason="the package pylance is not installed")

    def write_dataset(rows: pa.RecordBatchReader, path: str) -> None:
        Path(path).mkdir()
        pq.write_table(rows.read_all(), f"{path}/rows.parquet")

    def opened(path: str) -> Any:
        table = pq.read_table(f"{path}/rows.parquet")
        return SimpleNamespace(to_table=lambda: table, schema=table.schema)

    stand_in = SimpleNamespace(write_dataset=write_dataset, dataset=opened)
    monkeypatch.setitem(sys.modules, "lance", stand_in)
    return stand_in


def exported(lance: Any, dataset: Dataset, to: Path, name: str = "some", **how: Any) -> Any:
    """The table, as Lance reads it."""
    export(dataset, name, to, "lance", **how)
    return lance.dataset(str(to / f"{name}.lance"))


KEYS = [f"00000{n:04d}" for n in range(7, 12)] + [f"00001{n:04d}" for n in range(5)]


def test_a_row_has_its_image_vectors_and_columns(
    lance: Any, dataset: Dataset, tmp_path: Path
) -> None:
    told: list[Exported] = []
    rows: list[int] = []
    made = exported(lance, dataset, tmp_path / "out", told=told.append, advance=rows.append)
    table = made.to_table()
    assert table["key"].to_pylist() == KEYS
    assert table["caption"].to_pylist() == [f"caption of {key}" for key in KEYS]
    assert table["image"].to_pylist() == [picture(int(key[-4:])) for key in KEYS]
    assert set(table["extension"].to_pylist()) == {"png"}
    assert table["weight"].to_pylist() == [2.0] * 5 + [1.0] * 5
    assert table["punsafe"].to_pylist()[:5] == [None] * 5
    np.testing.assert_allclose(table["punsafe"].to_pylist()[5:], [n / 10 for n in range(5)])
    stored = np.concatenate([VECTORS[0][7:], VECTORS[1]]).astype(np.float16)
    assert np.array(table["vector"].to_pylist(), np.float16).tolist() == stored.tolist()
    about = json.loads(made.schema.metadata[b"frenchcat"])
    assert about["selection"] == "some"
    assert (told[0].rows, sum(rows), told[0].refused.total()) == (10, 10, 0)
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert told[0].bytes == sum(path.stat().st_size for path in files)


def test_removed_rows_are_left_out(lance: Any, dataset: Dataset, tmp_path: Path) -> None:
    query = RemovalQuery("key", "000000008")
    remove(dataset, query, matches(dataset, query))
    table = exported(lance, dataset, tmp_path / "out").to_table()
    assert table["key"].to_pylist() == [key for key in KEYS if key != "000000008"]


def test_rows_without_a_vector_have_none_and_columns_that_do_not_fit_are_named(
    lance: Any, dataset: Dataset, tmp_path: Path
) -> None:
    add_shard(dataset, "00002", unit_rows(2, seed=2), files=[b"", picture(1)])
    set_columns(dataset, "shards/00002.parquet", **{"a.b": [1, 2], "Vector": ["x", "y"]})
    select(dataset, "odd", Choice("shard = '00002'"))
    dataset.remove("embeddings/img_emb/img_emb_00002.npy")
    told: list[Exported] = []
    table = exported(lance, dataset, tmp_path / "out", "odd", told=told.append).to_table()
    assert table["vector"].to_pylist() == [None, None]
    said = " ".join(told[0].left_out)
    assert "'a.b', since Lance takes no name with a dot" in said
    assert "the column Vector, whose name is the table's own" in said


def test_without_the_package_one_line_says_so(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lance", None)
    with pytest.raises(UserError, match=r"needs the package pylance; install the extra 'lance'"):
        export(dataset, "some", tmp_path / "out", "lance")
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_an_export_that_fails_midway_leaves_nothing(
    lance: Any, dataset: Dataset, tmp_path: Path
) -> None:
    tar = Path(dataset.path("shards/00001.tar"))
    tar.write_bytes(tar.read_bytes()[:1000])
    with pytest.raises(UserError, match="broken tar"):
        exported(lance, dataset, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_a_full_disk_is_named(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_dataset(rows: pa.RecordBatchReader, path: str) -> None:
        raise OSError("LanceError(IO): Generic LocalFileSystem error: No space left on device")

    monkeypatch.setitem(sys.modules, "lance", SimpleNamespace(write_dataset=write_dataset))
    with pytest.raises(NoSpace, match="out cannot be written: the disk is full"):
        export(dataset, "some", tmp_path / "out", "lance")
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


@pytest.mark.slow
def test_lancedb_opens_it_and_finds_what_brute_force_finds(
    dataset: Dataset, tmp_path: Path
) -> None:
    lancedb = pytest.importorskip("lancedb", reason="the package lancedb is not installed")
    lance = pytest.importorskip("lance", reason="the package pylance is not installed")
    exported(lance, dataset, tmp_path / "out")
    table = lancedb.connect(tmp_path / "out").open_table("some")
    (query,) = unit_rows(1, seed=9)
    found = table.search(query, vector_column_name="vector").distance_type("dot")
    rows = found.where("weight = 2").limit(3).to_arrow()
    best = np.argsort(-(VECTORS[0][7:].astype(np.float16).astype(np.float32) @ query))[:3]
    assert rows["key"].to_pylist() == [KEYS[n] for n in best]
