"""What a system refuses is one line with the path and a cure; a fault of ours is none of these."""

import errno
import os
import resource
import sys
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import duckdb
import pytest
from safetensors import SafetensorError

from frenchcat.curate.atomic import write_whole
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import NoSpace, NotFound, Unwritable, UserError
from frenchcat.curate.system_errors import (
    check_space,
    check_writable,
    sized,
    system_error,
    writing,
)

FORBIDDEN = Path("/sys/frenchcat")  # where nobody makes a folder, not even root


def raised(act: Callable[[], object]) -> BaseException:
    with pytest.raises(BaseException) as caught:  # noqa: PT011
        act()
    return caught.value


def full() -> None:
    with open("/dev/full", "wb", buffering=0) as file:
        file.write(b"x")


def test_errors_of_the_system_name_path_and_cure(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    for act, said in (
        (lambda: file.joinpath("below").read_text(), f"{file}/below leads through a file"),
        (lambda: tmp_path.read_text(), f"{tmp_path} is a folder; name a file"),
        (lambda: (tmp_path / "none").read_text(), f"{tmp_path}/none is not there"),
        (lambda: file.mkdir(), f"{file} exists and is not a folder"),
        (lambda: FORBIDDEN.mkdir(), f"{FORBIDDEN} cannot be opened or written"),
        (lambda: (tmp_path / ("x" * 300)).touch(), "too long a name"),
        (full, "the disk is full"),
    ):
        line = system_error(raised(act))
        assert line is not None
        assert said in line
        assert "\n" not in line
        assert ";" in line  # what is wrong; the cure


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EMFILE, "Too many open files", "a.tar"), "ulimit -n"),
        (MemoryError(), "out of memory"),
        (duckdb.OutOfMemoryException("Out of Memory Error: no\nmore"), "out of memory"),
        (ImportError("Install s3fs to access S3"), "docs/command-line.md"),
        (BrokenProcessPool("gone"), "--workers"),
        (SafetensorError("I/O error: No space left on device (os error 28)"), "could not be writ"),
        (RuntimeError("write error in x.index: No space left on device\nmore"), "could not be wri"),
        (duckdb.IOException("IO Error: no file"), "IO Error: no file"),
    ],
)
def test_errors_of_libraries_are_a_line_too(error: BaseException, said: str) -> None:
    line = system_error(error)
    assert line is not None
    assert said in line
    assert "\n" not in line


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("y"), RuntimeError("z")])
def test_a_fault_of_ours_stays_one(error: BaseException) -> None:
    assert system_error(error) is None


def test_a_dataset_that_does_not_fit_leaves_no_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (8, before[1])
    )  # no file is longer, as on a full disk
    try:
        for place in ("a/b/c", "empty"):
            with pytest.raises(NoSpace, match="free some"):
                Dataset.create(tmp_path / place, "d")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.rglob("*")] == ["empty"]


def test_a_dataset_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(Unwritable, match=f"{FORBIDDEN} cannot be written"):
        Dataset.create(FORBIDDEN, "d")
    with pytest.raises(Unwritable, match="a file is in its way"):
        Dataset.create(tmp_path / "file", "d")
    with pytest.raises(NotFound, match="is a file; name the folder"):
        Dataset.open(tmp_path / "file")
    with pytest.raises(Unwritable, match="cannot be written"), Dataset(str(FORBIDDEN)).lock():
        pass


def test_a_full_disk_leaves_a_dataset_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = Dataset.create(tmp_path / "d", "d")
    before = dataset.read_bytes("dataset.json")

    def refuse(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("frenchcat.curate.dataset.sync", refuse)
    with pytest.raises(NoSpace, match=f"{dataset.root} cannot be written: the disk is full"):
        dataset.write_json("dataset.json", {})
    monkeypatch.undo()
    assert dataset.read_bytes("dataset.json") == before
    assert dataset.files(".tmp") == []


@pytest.mark.parametrize("address", ["nothing://bucket/cats", "s4://bucket/cats"])
def test_an_address_that_nothing_opens_is_one_line(address: str) -> None:
    with pytest.raises(UserError, match=f"{address} cannot be opened"):
        Dataset.open(address)


def test_an_object_store_without_its_extra_is_one_line_that_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = sys.modules["fsspec.registry"]._registry  # type: ignore[attr-defined]
    for name in ("s3", "s3a"):
        monkeypatch.delitem(known, name, raising=False)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(UserError) as caught:
        Dataset.open("s3://bucket/cats")
    assert "Install s3fs" in str(caught.value)
    assert "install the extra 's3': pip install '.[s3]'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_only_errors_of_the_place_itself_are_its_own(tmp_path: Path) -> None:
    other = tmp_path / "other" / "none"
    error = OSError(errno.EACCES, "Permission denied", str(other))
    with pytest.raises(PermissionError), writing(tmp_path / "place"):
        raise error
    with pytest.raises(Unwritable), writing(tmp_path / "other"):
        raise error


def test_a_file_that_cannot_be_written_is_named_as_it_was_given() -> None:
    error = raised(lambda: write_whole(FORBIDDEN, "x"))
    assert isinstance(error, OSError)
    assert error.filename == str(FORBIDDEN)


def test_writing_is_tried_and_leaves_nothing(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "folder", "folder")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(Unwritable, match="name another folder"):
        check_writable(FORBIDDEN, "folder")


def test_space_is_asked_of_the_disk_that_will_be_written(tmp_path: Path) -> None:
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    check_space(tmp_path / "not" / "yet", free / 2, "half of it")
    check_space("s3://bucket/cats", 1e30, "all of it")
    with pytest.raises(NoSpace, match="2 times as much takes about"):
        check_space(tmp_path / "not" / "yet", free * 2, "2 times as much")


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 bytes"), (1500, "1.5 kB"), (2e9, "2.0 GB"), (3.25e12, "3.2 TB")]
)
def test_sizes_for_people(number: float, said: str) -> None:
    assert sized(number) == said
