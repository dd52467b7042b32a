"""The dataset folder: what is published appears whole, together, or not at all."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError


def test_create_then_open(tmp_path: Path) -> None:
    Dataset.create(tmp_path / "cats", "cats")
    assert Dataset.open(tmp_path / "cats").manifest()["name"] == "cats"


def test_no_dataset_is_one_line_with_a_fix(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is no dataset.*frenchcat build") as raised:
        Dataset.open(tmp_path / "nothing")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "nothing").exists()


def test_a_folder_with_other_things_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match=r"thesis\.txt"):
        Dataset.create(tmp_path, "cats")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text(json.dumps({"format": 99, "name": "x", "stages": {}}))
    with pytest.raises(UserError, match="format 99"):
        Dataset.open(tmp_path)


def test_a_broken_manifest_is_named(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(UserError, match=r"dataset\.json is not JSON"):
        Dataset.open(tmp_path)


def test_nothing_appears_when_the_block_raises(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "d", "d")

    def fail() -> None:
        with dataset.publish("x") as publication:
            publication.path("a.txt").write_text("a")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not dataset.exists("a.txt")
    assert dataset.files(".tmp") == []


def test_a_decided_publication_is_finished_by_recover(tmp_path: Path) -> None:
    """Cut after the deciding rename and between the moves: recovery completes all of it."""
    dataset = Dataset.create(tmp_path / "d", "d")
    code = f"""
import os
from frenchcat.curate.dataset import Dataset
real, calls = os.replace, []
def replace(a, b):
    calls.append(b)
    if len(calls) == 2:
        os._exit(9)
    real(a, b)
os.replace = replace
with Dataset.open({str(tmp_path / "d")!r}).publish("x") as publication:
    for name in "abc":
        publication.path(f"{{name}}.txt").write_text(name)
"""
    ended = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
    assert ended.returncode == 9
    assert (dataset.exists("a.txt"), dataset.exists("c.txt")) == (True, False)
    with dataset.lock():
        assert [dataset.read_bytes(f"{name}.txt") for name in "abc"] == [b"a", b"b", b"c"]
    assert dataset.files("") == ["a.txt", "b.txt", "c.txt", "dataset.json"]


def test_an_undecided_publication_leaves_nothing(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "d", "d")
    (tmp_path / "d" / ".tmp" / "x-123").mkdir(parents=True)
    (tmp_path / "d" / ".tmp" / "x-123" / "a.txt").write_text("half")
    with dataset.lock():
        pass
    assert dataset.files("") == ["dataset.json"]


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "d", "d")
    with dataset.lock(), pytest.raises(UserError, match="another frenchcat process"):
        with Dataset.open(dataset.root).lock():
            pass
    with dataset.lock():  # free again
        pass


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "d", "d")
    code = f"""
import os
from frenchcat.curate.dataset import Dataset
with Dataset.open({dataset.root!r}).lock():
    os._exit(9)
"""
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
    assert dataset.exists(".lock")
    with dataset.lock():
        pass
    assert not dataset.exists(".lock")


def test_a_dataset_at_an_fsspec_address() -> None:
    dataset = Dataset.create("memory://test-dataset/cats", "cats")
    with dataset.lock():
        with dataset.publish("x") as publication:
            publication.path("deep/a.txt").write_text("a")
        with pytest.raises(UserError, match="another frenchcat process"), dataset.lock():
            pass
    assert dataset.read_bytes("deep/a.txt") == b"a"
    assert dataset.files("deep") == ["a.txt"]
    assert dataset.files("") == ["dataset.json", "deep"]
    with dataset.as_local("deep/a.txt") as path:
        assert path.read_text() == "a"
    dataset.remove("deep/a.txt")
    assert dataset.size("deep/a.txt") is None


def test_a_crash_while_a_finished_publication_is_deleted_is_recovered(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "d", "d")
    leftover = tmp_path / "d" / ".commit" / "x" / "deep"
    leftover.mkdir(parents=True)  # its .order went first; every file had been moved
    with dataset.lock():
        assert dataset.files(".commit") == []
    assert dataset.files("") == ["dataset.json"]
