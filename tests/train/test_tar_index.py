"""Foreign tars: every member where tarfile finds it, and a damaged header costs its own."""

import tarfile
from pathlib import Path

import pytest

from frenchcat.curate.errors import UserError
from frenchcat.curate.tars import members
from frenchcat.train.tar_index import scan
from tests.sample.tars import overwrite
from tests.train.tars import write_tar


@pytest.mark.parametrize("format_", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("prefix", ["", "a/b/"])
def test_members_are_where_tarfile_finds_them(tmp_path: Path, format_: int, prefix: str) -> None:
    path = write_tar(tmp_path / "a.tar", range(20), format_, prefix)
    with open(path, "rb") as file:
        found, damages = scan(file, "a.tar")
    assert found == members(path)
    assert damages == []
    assert len(found) == 40


@pytest.mark.parametrize("format_", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_and_foreign_names_are_read(tmp_path: Path, format_: int) -> None:
    path = write_tar(tmp_path / "a.tar", range(3), format_, "größe/" + "long" * 60 + "/")
    with open(path, "rb") as file:
        found, damages = scan(file, "a.tar")
    assert damages == []
    assert [m.key for m in found[::2]] == [
        f"größe/{'long' * 60}/{number:09d}" for number in range(3)
    ]


def test_a_damaged_header_costs_its_member_alone(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", range(50))
    whole = members(path)
    overwrite(path, whole[20].offset - 512, b"\xff" * 512)
    overwrite(path, whole[60].offset - 512 + 148, b"9999999")  # a wrong checksum
    with open(path, "rb") as file:
        found, damages = scan(file, "a.tar")
    assert found == [m for n, m in enumerate(whole) if n not in (20, 60)]
    assert [damage.offset for damage in damages] == [whole[n].offset - 512 for n in (20, 60)]


def test_the_first_header_too(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", range(5))
    whole = members(path)
    overwrite(path, 0, b"\x01" * 512)
    with open(path, "rb") as file:
        found, damages = scan(file, "a.tar")
    assert found == whole[1:]
    assert len(damages) == 1


@pytest.mark.parametrize("inside", [20, -100])
def test_a_tar_that_is_cut_short_keeps_what_is_whole(tmp_path: Path, inside: int) -> None:
    path = write_tar(tmp_path / "a.tar", range(10))
    whole = members(path)
    data = path.read_bytes()
    path.write_bytes(data[: whole[14].offset + inside])
    with open(path, "rb") as file:
        found, damages = scan(file, "a.tar")
    assert found == whole[:14]
    assert len(damages) == 1


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_a_compressed_tar_is_refused_with_the_reason(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.tar.{kind}"
    with tarfile.open(path, f"w:{kind}") as tar:
        tar.add(__file__, "a.txt")
    with open(path, "rb") as file, pytest.raises(UserError, match="compressed with"):
        scan(file, "a.tar")


def test_what_is_no_tar_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(b"<html>no tar</html>" * 200)
    with open(path, "rb") as file, pytest.raises(UserError, match=r"a\.tar is not a tar"):
        scan(file, "a.tar")
