"""A refused adoption leaves nothing behind; none writes over another dataset."""

from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest

from frenchcat.curate.adopt import adopt
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.download import download
from frenchcat.curate.errors import NoSpace, UserError
from tests.curate.adopt.folders import clip_retrieval, img2dataset
from tests.sample.pictures import picture
from tests.trees import tree_digest

IMAGES = [picture(number, kind="JPEG") for number in range(4)]
WORDS = list("abcd")


def two_shards(folder: Path) -> Path:
    for shard in ("00000", "00001"):
        img2dataset(folder, IMAGES, WORDS, shard=shard)
    return folder


@pytest.mark.parametrize("out", ["d", "new/deep/d", "empty"])
def test_what_fails_midway_is_taken_away(tmp_path: Path, out: str) -> None:
    folder = two_shards(tmp_path / "theirs")
    (folder / "00001.tar").write_bytes((folder / "00001.tar").read_bytes()[:1000])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="broken tar"):
        adopt(folder, tmp_path / out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "theirs"]
    assert not list((tmp_path / "empty").iterdir())


@pytest.mark.parametrize("kind", ["images", "files", "vectors"])
def test_a_disk_that_cannot_hold_the_dataset_is_named_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    folder = tmp_path / "theirs"
    if kind == "vectors":
        clip_retrieval(folder, pa.table({"caption": WORDS}))
    elif kind == "files":
        img2dataset(folder, IMAGES, WORDS, layout="files")
    else:
        folder.mkdir()
        (folder / "a.jpg").write_bytes(IMAGES[0])
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=100))
    with pytest.raises(NoSpace, match=r"takes about .*, and its disk has 100 bytes free"):
        adopt(folder, tmp_path / "d")
    assert not (tmp_path / "d").exists()


def test_a_folder_without_a_usable_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    (tmp_path / "f/a.jpg").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"no image of this folder can be adopted .*a\.jpg"):
        adopt(tmp_path / "f", tmp_path / "d")
    assert not (tmp_path / "d").exists()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("url\nhttp://a.example/1\n")
    with pytest.raises(UserError, match=r"list\.csv is a file; .*a URL list: frenchcat build"):
        adopt(tmp_path / "list.csv", tmp_path / "d")
    assert not (tmp_path / "d").exists()


def test_a_dataset_is_not_made_inside_what_it_is_made_of(tmp_path: Path) -> None:
    theirs = two_shards(tmp_path / "theirs")
    (tmp_path / "link").symlink_to(theirs)
    before = tree_digest(theirs)
    for inside in (theirs / "d", tmp_path / "link" / "d", tmp_path / "x" / ".." / "theirs" / "d"):
        with pytest.raises(UserError, match="which an adoption leaves as it is; give --out"):
            adopt(theirs, inside)
    assert tree_digest(theirs) == before


def test_the_folder_that_was_meant_is_named(tmp_path: Path) -> None:
    two_shards(tmp_path / "theirs")
    with pytest.raises(UserError, match=r"did you mean .*theirs\?"):
        adopt(tmp_path, tmp_path / "d")


def test_other_files_do_not_replace_those_that_were_adopted(tmp_path: Path) -> None:
    adopt(two_shards(tmp_path / "theirs"), tmp_path / "d")
    before = tree_digest(tmp_path / "d")
    other = img2dataset(tmp_path / "other", IMAGES[:2], WORDS[:2])
    with pytest.raises(UserError, match="was adopted from other files"):
        adopt(other, tmp_path / "d")
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.jpg").write_bytes(IMAGES[0])
    with pytest.raises(UserError, match="is a dataset made from img2dataset"):
        adopt(tmp_path / "images", tmp_path / "d")
    assert tree_digest(tmp_path / "d") == before


def test_a_folder_that_grew_adds_its_new_shards(tmp_path: Path) -> None:
    folder = two_shards(tmp_path / "theirs")
    adopt(folder, tmp_path / "d")
    img2dataset(folder, IMAGES, WORDS, shard="00002")
    adopted = adopt(folder, tmp_path / "d")
    assert (adopted.rows, adopted.dataset.shards()) == (12, ["00000", "00001", "00002"])


def test_a_list_is_not_downloaded_onto_an_adopted_dataset(tmp_path: Path) -> None:
    import frenchcat

    adopted = adopt(two_shards(tmp_path / "theirs"), tmp_path / "d")
    before = tree_digest(tmp_path / "d")
    listed = tmp_path / "urls.csv"
    listed.write_text("url,caption\nhttp://127.0.0.1:9/a.jpg,a\n")
    for attempt in (
        lambda: download(adopted.dataset, str(listed)),
        lambda: frenchcat.download(listed, tmp_path / "d"),
        lambda: frenchcat.build(listed, tmp_path / "d"),
    ):
        with pytest.raises(UserError, match="was adopted from img2dataset, and a download would"):
            attempt()
    assert tree_digest(tmp_path / "d") == before


def test_nothing_is_adopted_onto_a_list_s_dataset(tmp_path: Path) -> None:
    from frenchcat.curate.download import lists

    listed = tmp_path / "urls.csv"
    listed.write_text("url,caption\nhttp://127.0.0.1:9/a.jpg,a\n")
    dataset = Dataset.create(tmp_path / "d", "listed")
    lists.freeze(dataset, str(listed), lists.Shape())
    before = tree_digest(tmp_path / "d")
    with pytest.raises(UserError, match="is a dataset made from a URL list"):
        adopt(two_shards(tmp_path / "theirs"), tmp_path / "d")
    assert tree_digest(tmp_path / "d") == before


@pytest.mark.parametrize("linked", [False, True])
def test_nothing_is_made_inside_the_folder_that_is_adopted(tmp_path: Path, linked: bool) -> None:
    folder = two_shards(tmp_path / "theirs")
    before = tree_digest(folder)
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(UserError, match="outside it"):
        adopt(folder, (tmp_path / "link" if linked else folder) / "mine")
    assert tree_digest(folder) == before
