"""Files that are whole or not there, and that nobody writes them in another way."""

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from frenchcat.curate.atomic import move_folder, write_whole

ROOT = Path(__file__).parents[2]


def test_a_text_a_file_and_a_private_one(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for data in ("chat français", b"\x00\xff"):
        write_whole(path, data)
        assert path.read_bytes() == (data.encode() if isinstance(data, str) else data)
    plain = tmp_path / "plain"
    plain.write_text("")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    write_whole(path, "secret", private=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(tmp_path.iterdir()) == [path, plain]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_what_fails_on_the_way_leaves_the_former_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("former")

    def fails(*given: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fails)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, "new")
    assert path.read_text() == "former"
    assert list(tmp_path.iterdir()) == [path]


def test_bytes_are_on_the_disk_before_their_name_and_the_name_before_it_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, int]] = []
    fsync: Callable[[int], None] = os.fsync
    real = {name: getattr(os, name) for name in ("rename", "replace")}

    def synced(descriptor: int) -> None:
        fsync(descriptor)
        done.append(("on the disk", os.fstat(descriptor).st_ino))

    def moving(name: str) -> Callable[..., None]:
        def move(source: Path, target: Path) -> None:
            done.append(("named", os.stat(source).st_ino))
            real[name](source, target)

        return move

    monkeypatch.setattr(os, "fsync", synced)
    for name in real:
        monkeypatch.setattr(os, name, moving(name))
    write_whole(tmp_path / "a", "text")
    file, folder = (path.stat().st_ino for path in (tmp_path / "a", tmp_path))
    assert done == [("on the disk", file), ("named", file), ("on the disk", folder)]
    done.clear()
    (tmp_path / "new" / "deep").mkdir(parents=True)
    (tmp_path / "new" / "deep" / "b").write_text("text")
    numbers = {path.stat().st_ino for path in (tmp_path / "new", *(tmp_path / "new").rglob("*"))}
    move_folder(tmp_path / "new", tmp_path / "moved")
    assert done.index(("named", (tmp_path / "moved").stat().st_ino)) == len(numbers)
    assert {number for what, number in done[: len(numbers)]} == numbers
    assert done[-1] == ("on the disk", folder)


def test_no_module_but_two_renames_what_it_wrote() -> None:
    """A dataset publishes many files at once; all else goes through curate/atomic.py."""
    writing = re.compile(
        r"os\.(replace|rename)\(|NamedTemporaryFile|mkstemp|fsync\("
        r"|\w\.rename\(|\.replace\([\w.]+\)"
    )
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in ("curate", "index", "train", "frenchcat")
        for path in (ROOT / folder).rglob("*.py")
        if writing.search(path.read_text(encoding="utf-8"))
    }
    allowed = {"curate/atomic.py", "curate/dataset.py"}
    pruning = {"train/checkpoint.py"}  # gives what it deletes another name
    assert found == allowed | pruning
