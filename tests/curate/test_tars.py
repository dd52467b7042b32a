import io
import tarfile
from pathlib import Path

import pytest

from frenchcat.curate import tars
from frenchcat.curate.errors import UserError
from tests.sample.tars import write_tar as write


def write_tar(path: Path, names: list[str]) -> dict[str, bytes]:
    contents = {name: name.encode() * (number * 300 + 1) for number, name in enumerate(names)}
    write(path, contents.items(), tarfile.USTAR_FORMAT)
    return contents


def test_members_lie_where_they_say(tmp_path: Path) -> None:
    path = tmp_path / "00000.tar"
    contents = write_tar(path, ["000000000.jpg", "000000000.json", "a.b/000000001.seg.png", "bare"])
    found = tars.members(path)
    assert [(m.key, m.extension) for m in found] == [
        ("000000000", "jpg"),
        ("000000000", "json"),
        ("a.b/000000001", "seg.png"),
        ("bare", ""),
    ]
    assert [tars.read(path, member) for member in found] == list(contents.values())


def test_an_empty_shard_has_no_members(tmp_path: Path) -> None:
    write_tar(tmp_path / "x.tar", [])
    assert tars.members(tmp_path / "x.tar") == []


def test_every_way_to_cut_a_tar_is_found(tmp_path: Path) -> None:
    whole = tmp_path / "whole.tar"
    write_tar(whole, [f"{n:09d}.jpg" for n in range(6)])
    data = whole.read_bytes()
    last = tars.members(whole)[-1]
    end = -(-(last.offset + last.size) // 512) * 512
    cut = tmp_path / "cut.tar"
    for size in {0, 100, 512, *range(512, end + 1, 512), last.offset + 1, end - 1, end + 511}:
        cut.write_bytes(data[:size])
        with pytest.raises(UserError, match=f"broken tar: {cut}.*; get a whole copy of it"):
            tars.members(cut)


def test_a_damaged_header_is_not_the_end(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    write_tar(path, [f"{n:09d}.jpg" for n in range(3)])
    damaged = bytearray(path.read_bytes())
    damaged[tars.members(path)[1].offset - 512 + 3] ^= 255
    path.write_bytes(damaged)
    with pytest.raises(UserError, match="no end-of-archive mark"):
        tars.members(path)


@pytest.mark.parametrize("content", [b"no tar at all" * 100, b"\x1f\x8b" + b"x" * 2000])
def test_what_is_no_tar_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(content)
    with pytest.raises(UserError, match="broken tar"):
        tars.members(path)
    with pytest.raises(UserError, match="missing"):
        tars.members(tmp_path / "none.tar")


def test_a_tar_cut_after_it_was_listed(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    write_tar(path, ["0.jpg", "1.jpg"])
    member = tars.members(path)[1]
    path.write_bytes(path.read_bytes()[: member.offset + 5])
    with pytest.raises(UserError, match=r"ends inside 1\.jpg"):
        tars.read(path, member)


def test_only_files_are_members(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as tar:
        for name, kind in (("d", tarfile.DIRTYPE), ("l.jpg", tarfile.SYMTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "0.jpg"
            tar.addfile(info)
        info = tarfile.TarInfo("0.jpg")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))
    assert [(one.key, one.extension, one.size) for one in tars.members(path)] == [("0", "jpg", 3)]
