"""The index: every embedded row and no other, the same bytes again, refusals in words."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from frenchcat.curate import files
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import NoSpace, UserError
from frenchcat.index.build import IndexSettings, build_index, current, entries
from frenchcat.index.rows import IndexRows, id_of
from tests.sample.embedded import add_shard, embedded
from tests.sample.row import Row
from tests.sample.vectors import unit_rows
from tests.sample.write import write
from tests.trees import tree_digest


def test_every_embedded_row_is_indexed(tmp_path: Path) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(30), unit_rows(0), unit_rows(12, seed=1))
    found = build_index(dataset)
    (entry,) = entries(found)
    rows = IndexRows.open(dataset.path(entry.rows_file))
    assert found["rows"] == rows.count == 42
    assert dataset.manifest().entry("index").counts == {"image": 42, "text": 42}
    assert [rows.row(at)["key"] for at in (0, 29, 30, 41)] == [
        "000000000",
        "000000029",
        "000020000",
        "000020011",
    ]


def test_again_writes_nothing_and_anew_gives_the_same_bytes(tmp_path: Path) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(30), unit_rows(12, seed=1))
    build_index(dataset)
    first = tree_digest(tmp_path / "d")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "d").rglob("*")}
    build_index(dataset)
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "d").rglob("*")}
    (tmp_path / "d/index/index.json").unlink()
    build_index(dataset)
    assert tree_digest(tmp_path / "d") == first


@pytest.mark.parametrize("factory", ["auto", "Flat", "HNSW8"])
def test_a_disk_that_cannot_hold_the_index_is_named_before_it_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factory: str
) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(50, 512))
    settings = IndexSettings(factory=factory)
    build_index(dataset, settings)
    size = sum(path.stat().st_size for path in (tmp_path / "d/index").iterdir())
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=size))
    build_index(dataset, settings, anew=True)
    before = tree_digest(tmp_path / "d")
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=size // 3))
    with pytest.raises(NoSpace, match=r"an index of 50 rows takes about .* free some"):
        build_index(dataset, settings, anew=True)
    assert tree_digest(tmp_path / "d") == before


@pytest.mark.parametrize("file", ["image-*.index", "text-*.index", "rows-*.arrow"])
def test_a_lost_or_cut_file_is_made_again(tmp_path: Path, file: str) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(30))
    build_index(dataset)
    first = tree_digest(tmp_path / "d")
    (path,) = (tmp_path / "d/index").glob(file)
    path.write_bytes(path.read_bytes()[:100])
    build_index(dataset)
    assert tree_digest(tmp_path / "d") == first


def test_a_new_shard_is_taken_in(tmp_path: Path) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(5))
    build_index(dataset)
    add_shard(dataset, "00001", unit_rows(7, seed=2))
    assert build_index(dataset)["rows"] == 12


def test_misaligned_vectors_are_refused(tmp_path: Path) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(5))
    np.save(dataset.path(files.TEXT_EMB.of("00000")), unit_rows(4).astype(np.float16))
    with pytest.raises(UserError, match=r"has the shape \(4, 16\), but .* say \(5, 16\)"):
        build_index(dataset)
    assert current(dataset) is None
    assert not (tmp_path / "d/index").exists()


def test_a_dataset_without_vectors_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no shards; first: frenchcat download URLS --out .*/n"):
        build_index(Dataset.create(tmp_path / "n", "n"))
    dataset = Dataset.create(tmp_path / "d", "d")
    write(dataset, "00000", [Row()])
    with pytest.raises(UserError, match=r"has no embeddings; run: frenchcat embed .*/d"):
        build_index(dataset)
    with pytest.raises(UserError, match="no embedded images to index"):
        build_index(embedded(tmp_path / "e", unit_rows(0)))


@pytest.mark.parametrize("factory", ["Flatt", "IVF999,Flat", "PQ7"])
def test_an_impossible_factory_is_one_line(tmp_path: Path, factory: str) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(5))
    with pytest.raises(UserError, match="faiss cannot build the index") as caught:
        build_index(dataset, IndexSettings(factory=factory))
    assert "\n" not in str(caught.value)


def test_any_factory_can_be_named(tmp_path: Path) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(50))
    assert build_index(dataset, IndexSettings(factory="HNSW8"))["rows"] == 50


def test_ids_are_made_of_the_key_alone() -> None:
    assert id_of("000120034") == 120034
    assert 0 <= id_of("photo-1") < 2**63
    assert id_of("photo-1") != id_of("photo-2")
    assert id_of("9" * 30) != id_of("9" * 31)
