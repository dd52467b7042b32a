"""The same commit gives the same wheel and sdist, whoever builds them, where and when."""

import os
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from tools.release import ROOT, release

pytestmark = pytest.mark.slow


def checkout(folder: Path) -> Path:
    """A clone of this checkout's commit."""
    clone = ["git", "clone", "-q", "--no-hardlinks", str(ROOT), str(folder)]
    subprocess.run(clone, check=True)
    return folder


def test_two_builds_are_equal_byte_for_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = release(tmp_path / "one", checkout(tmp_path / "a"))
    other = checkout(tmp_path / "elsewhere" / "b")
    (other / "curate" / "left_behind.py").write_text("")  # of nobody's commit
    for path in other.rglob("*.py"):
        os.utime(path, (1, 1))
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    before = os.umask(0o077)
    try:
        second = release(tmp_path / "two", other)
    finally:
        os.umask(before)
    assert [path.name for path in first] == [path.name for path in second]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    wheel, sdist = first
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {"frenchcat/cli.py", "frenchcat/curate/dataset.py"} <= set(names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"frenchcat"}
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    assert any(member.name.endswith("/pyproject.toml") for member in members)
    assert len({member.mtime for member in members}) == 1
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    third = release(tmp_path / "three", other)
    assert third[0].read_bytes() != wheel.read_bytes()
    shutil.rmtree(tmp_path / "elsewhere")
