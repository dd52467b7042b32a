"""The dataset folder: what is published appears whole, together, or not at all."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frenchcat.curate.dataset import Dataset, canonical_json, digest_of
from frenchcat.curate.errors import UserError
from frenchcat.curate.manifest import StageEntry


def test_create_then_open(tmp_path: Path) -> None:
    Dataset.create(tmp_path / "cats", "cats")
    assert Dataset.open(tmp_path / "cats").manifest().name == "cats"


def test_no_dataset_is_one_line_with_a_fix(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a dataset.*frenchcat build") as raised:
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


def test_in_a_store_what_was_begun_last_appears_last() -> None:
    dataset = Dataset.create("memory://in-order/cats", "cats")
    names = ["tables/b.parquet", "tables/a.parquet", "stages/x/0.json"]
    with dataset.publish("x") as publication:
        for name in names:
            publication.path(name).write_text(name)
    appeared = [dataset.fs.created(dataset.path(name)) for name in names]
    assert appeared == sorted(appeared)


def test_a_crash_while_a_finished_publication_is_deleted_is_recovered(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "d", "d")
    leftover = tmp_path / "d" / ".commit" / "x" / "deep"
    leftover.mkdir(parents=True)  # its .order went first; every file had been moved
    with dataset.lock():
        assert dataset.files(".commit") == []
    assert dataset.files("") == ["dataset.json"]


CUT = """
import os, shutil, sys
from frenchcat.curate.dataset import Dataset

base = sys.argv[1]
for step in range(1, 80):  # more than a publication takes
    shutil.copytree(base, f"{base}-{step}")
    if not (child := os.fork()):
        calls = 0
        def cut(real):
            def call(*given, **more):
                global calls
                calls += 1
                if calls == step:
                    os._exit(9)
                return real(*given, **more)
            return call
        for name in ("rename", "replace", "unlink", "rmdir", "mkdir", "fsync"):
            setattr(os, name, cut(getattr(os, name)))
        with Dataset.open(f"{base}-{step}").publish("x") as publication:
            for name in ("deep/a", "b", "new/c"):
                publication.path(name).write_text("after")
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
        break
else:
    sys.exit("no step was the last")
"""


def test_cut_anywhere_all_of_a_publication_is_there_or_nothing(tmp_path: Path) -> None:
    before = Dataset.create(tmp_path / "d", "d")
    with before.publish("x") as publication:
        for name in ("deep/a", "b"):
            publication.path(name).write_text("before")
    subprocess.run(
        [sys.executable, "-c", CUT, before.root], cwd=Path(__file__).parents[2], check=True
    )
    seen = []
    for folder in sorted(tmp_path.glob("d-*"), key=lambda path: int(path.name[2:])):
        dataset = Dataset(str(folder))
        if int(folder.name[2:]) % 2:  # the same name again, before anyone has recovered it
            with dataset.publish("x") as publication:
                publication.path("another").write_text("other")
                publication.path("and-another").write_text("other")
        with dataset.lock():
            pass
        found = [
            dataset.read_bytes(name).decode() if dataset.exists(name) else "before"
            for name in ("deep/a", "b", "new/c")
        ]
        assert len(set(found)) == 1, f"half of it after step {folder.name}"
        seen.append(found[0])
        assert not {".commit", ".tmp", ".lock"} & set(dataset.files(""))
    assert seen == sorted(seen, reverse=True), "what was decided stays"
    assert set(seen) == {"before", "after"}


class Disk:
    """What was asked of the disk, in order: a rename may only move what is on it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.faults: list[str] = []
        self.synced: set[int] = set()
        self.unsure: set[int] = set()  # folders whose newest name may be lost
        self.decided: set[int] = set()  # those of them that a whole folder was moved to
        fsync, unlink = os.fsync, os.unlink

        def synced(descriptor: int) -> None:
            fsync(descriptor)
            number = os.fstat(descriptor).st_ino
            self.synced.add(number)
            self.unsure.discard(number)
            self.decided.discard(number)

        def removed(path: Any, **more: Any) -> None:
            if self.unsure:
                self.faults.append(f"{path} goes before what was moved is at its place for good")
            unlink(path, **more)

        monkeypatch.setattr(os, "fsync", synced)
        monkeypatch.setattr(os, "unlink", removed)
        monkeypatch.setattr(os, "rename", self._moving(os.rename))
        monkeypatch.setattr(os, "replace", self._moving(os.replace))

    def _moving(self, real: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
        def move(source: Any, target: Any) -> None:
            here = Path(source)
            for path in (here, *here.rglob("*")):
                if path.stat().st_ino not in self.synced:
                    self.faults.append(f"{path} is moved before it is on the disk")
            if self.decided:
                self.faults.append(f"{here} is moved before it is decided")
            folder = Path(target).parent.stat().st_ino
            self.unsure.add(folder)
            if here.is_dir():
                self.decided.add(folder)
            real(source, target)

        return move


@pytest.mark.parametrize("names", [["a/b/c.txt"], ["a/b/c.txt", "a/d.txt", "e.txt"]])
def test_what_is_published_outlives_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str]
) -> None:
    dataset = Dataset.create(tmp_path / "d", "d")
    disk = Disk(monkeypatch)
    with dataset.publish("x") as publication:
        for name in names:
            publication.path(name).write_text(name)
    assert disk.faults == []
    assert not disk.unsure, "a rename that may be lost"
    for name in names:
        assert Path(dataset.path(name)).stat().st_ino in disk.synced
        for folder in Path(name).parents:
            assert Path(dataset.path(str(folder))).stat().st_ino in disk.synced


@given(st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3)), st.randoms())
@settings(max_examples=30)
def test_equal_values_have_one_text_and_one_digest(value: dict[str, Any], chance: Random) -> None:
    items = list(value.items())
    chance.shuffle(items)
    assert canonical_json({"x": dict(items)}) == canonical_json({"x": value})
    assert digest_of(dict(items)) == digest_of(value)
    assert digest_of({"x": value}) != digest_of({"x": {**value, "more": 1}})
    assert json.loads(canonical_json(value)) == value


def test_a_json_file_has_the_same_bytes_whatever_order_it_was_made_in(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "d", "d")
    dataset.write_json("one.json", {"b": 1, "a": {"d": 2, "c": "é"}})
    dataset.write_json("deep/two.json", {"a": {"c": "é", "d": 2}, "b": 1})
    assert dataset.read_bytes("one.json") == dataset.read_bytes("deep/two.json")
    assert "é".encode() in dataset.read_bytes("one.json")


def test_a_creation_that_was_cut_short_is_begun_again(tmp_path: Path) -> None:
    for leftover in (".tmp", ".commit", ".workers"):
        (tmp_path / leftover).mkdir()
    (tmp_path / ".lock").write_text("")
    assert Dataset.create(tmp_path, "cats").manifest().name == "cats"


def test_creating_again_keeps_what_is_there(tmp_path: Path) -> None:
    made = Dataset.create(tmp_path / "d", "cats")
    made.update_manifest({"stages": {"x": {"version": 1}}})
    again = Dataset.create(tmp_path / "d", "dogs")
    assert (again.manifest().name, again.manifest().stages) == ("cats", {"x": StageEntry(1)})


def test_a_shard_is_finished_where_its_marker_is(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "d", "d")
    for name in ("00010.json", "00002.json", "00003.json.part", "notes.txt"):
        with dataset.publish("x") as publication:
            publication.path(f"stages/embed/{name}").write_text("{}")
    assert dataset.shards("embed") == ["00002", "00010"]
    assert dataset.shards("download") == []


def test_work_in_progress_is_gone_whether_it_succeeds_or_not(tmp_path: Path) -> None:
    for dataset in (Dataset.create(tmp_path / "d", "d"), Dataset.create("memory://scratch", "d")):
        folders = []
        with contextlib.suppress(RuntimeError), dataset.scratch("x") as folder:
            (folder / "half").write_text("")
            folders.append(folder)
            raise RuntimeError
        with dataset.scratch("x") as folder:
            (folder / "half").write_text("")
            folders.append(folder)
        assert not any(folder.exists() for folder in folders)


def test_two_of_one_name_do_not_work_in_one_folder(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "d", "d")
    with dataset.scratch("x") as one, dataset.scratch("x") as other:
        assert one != other


def test_a_copy_of_a_remote_file_is_gone_afterwards() -> None:
    dataset = Dataset.create("memory://copied", "d")
    with dataset.as_local("dataset.json") as path:
        assert path.read_bytes() == dataset.read_bytes("dataset.json")
    assert not path.exists()


def test_an_address_with_a_slash_at_its_end_is_the_same_dataset(tmp_path: Path) -> None:
    Dataset.create("memory://slashed/cats/", "d")
    assert Dataset.open("memory://slashed/cats").root == "memory://slashed/cats"
    made = Dataset.create(f"{tmp_path}/x/../d/", "d")
    assert made == Dataset.open(tmp_path / "d")
