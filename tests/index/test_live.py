"""A grown dataset is added to, not rebuilt; readers see the old index or the new one, whole."""

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.index import build
from frenchcat.index.build import build_index, entries, index_version
from frenchcat.index.check import verify
from frenchcat.index.rows import Places
from frenchcat.index.search import Searcher
from tests.sample.embedded import add_shard, embedded
from tests.sample.vectors import unit_rows
from tests.trees import tree_digest

ROOT = Path(__file__).resolve().parents[2]


def test_new_shards_are_added_and_nothing_old_is_written(tmp_path: Path) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(30))
    build_index(dataset)
    version = index_version(dataset)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "d/index").glob("*-*")}
    assert index_version(dataset) == version
    add_shard(dataset, "00001", unit_rows(12, seed=1))
    found = build_index(dataset)
    assert index_version(dataset) != version
    assert [entry.rows for entry in entries(found)] == [30, 12]
    assert (
        before.items()
        <= {path: path.stat().st_mtime_ns for path in (tmp_path / "d/index").glob("*-*")}.items()
    )
    assert len(Searcher(dataset)) == 42


def test_many_or_long_tails_become_one_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "TAIL_ROWS", 10)
    dataset = embedded(tmp_path / "d", unit_rows(100))
    build_index(dataset)
    for shard, rows, parts in (("00001", 12, 2), ("00002", 8, 3), ("00003", 1, 1)):
        add_shard(dataset, shard, unit_rows(rows, seed=int(shard)))
        assert len(entries(build_index(dataset))) == parts, shard
    names = {path.name for path in (tmp_path / "d/index").iterdir()}
    assert len(names) == 4  # what the one part replaced is gone
    whole = embedded(
        tmp_path / "e",
        unit_rows(100),
        *(unit_rows(n, seed=s) for s, n in ((1, 12), (2, 8), (3, 1))),
    )
    build_index(whole)
    assert tree_digest(tmp_path / "d/index") == tree_digest(tmp_path / "e/index")


def test_a_changed_shard_takes_its_part_with_it(tmp_path: Path) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(30))
    build_index(dataset)
    add_shard(dataset, "00001", unit_rows(5, seed=1))
    (first, _) = entries(build_index(dataset))
    changed = unit_rows(6, seed=2)
    add_shard(dataset, "00001", changed)
    (kept, _) = entries(build_index(dataset))
    assert kept == first
    (hit,) = Searcher(dataset).query(vector=changed[5], k=1)
    assert hit.key == "000010005"
    dataset.remove("stages/embed/00001.json")
    assert build_index(dataset)["rows"] == 30


def test_vectors_that_changed_under_a_reranked_index_are_refused(tmp_path: Path) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(30))
    build_index(dataset, build.IndexSettings(factory="RaBitQ2"))
    Searcher(dataset)
    add_shard(dataset, "00000", unit_rows(30, seed=9))
    with pytest.raises(UserError, match="changed after the index was made; run: frenchcat index"):
        Searcher(dataset)


def test_verify_finds_a_changed_byte(tmp_path: Path) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(30))
    build_index(dataset)
    verify(dataset)
    (path,) = (tmp_path / "d/index").glob("image-*")
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match="is not what was built"):
        verify(dataset)


def test_two_rows_of_one_key_are_refused() -> None:
    assert Places(np.array([5, 9, 2])).of([2, 3, 9]).tolist() == [2, -1, 1]
    with pytest.raises(UserError, match="two rows have the id 9"):
        Places(np.array([9, 1, 9]))


def test_opening_while_builds_swap_the_index(tmp_path: Path) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(30))
    build_index(dataset)
    ended, wrong = threading.Event(), []

    def read() -> None:
        while not ended.is_set():
            try:
                searcher = Searcher(Dataset.open(dataset.root))
                (hit,) = searcher.query(vector=unit_rows(30)[3], k=1)
                assert hit.key == "000000003"
            except BaseException as error:
                wrong.append(error)
                return

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(1, 9):
        add_shard(dataset, f"{number:05d}", unit_rows(3, seed=number))
        with dataset.lock():
            build_index(dataset, build.IndexSettings(factory="SQfp16" if number % 2 else "auto"))
    ended.set()
    for reader in readers:
        reader.join()
    assert not wrong, wrong


def test_killed_at_any_point_the_index_is_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.index.killed", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "killed at" in done.stdout


@pytest.mark.parametrize("factory", ["auto", "RaBitQ2", "IVF2,RaBitQ2"])
def test_a_dataset_elsewhere_is_searched_alike(tmp_path: Path, factory: str) -> None:
    local = embedded(tmp_path / "d", unit_rows(120))
    build_index(local, build.IndexSettings(factory=factory))
    there = Dataset(f"memory://search-{factory.replace(',', '-')}")
    there.fs.put(f"{local.root}/", f"{there.root}/", recursive=True)
    searcher, query = Searcher(there), unit_rows(1, seed=3)[0]
    assert searcher.query(vector=query, k=15) == Searcher(local).query(vector=query, k=15)
    assert searcher.version == index_version(there) != ""
    (hit,) = searcher.query(vector=unit_rows(120)[7], k=1)
    assert searcher.picture(hit) == Searcher(local).picture(hit)
