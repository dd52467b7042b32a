"""What a command writes never lands in a dataset, nor in place of what is no page."""

import os
import resource
from pathlib import Path

import pytest

from frenchcat.curate.dataset import Dataset, dataset_around
from frenchcat.curate.errors import NoSpace, Unwritable, UserError
from frenchcat.curate.export import export
from frenchcat.curate.outputs import check_folder_name, check_outside, check_page, write_page
from frenchcat.curate.select import select
from tests.command_line import main
from tests.curate.report.datasets import write
from tests.sample.row import Row


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return write(tmp_path / "d", [Row(caption="a cat")])


@pytest.mark.parametrize("name", ["mine.csv", "cat.jpg", "notes.txt", "d-report.html"])
def test_a_file_that_is_no_page_is_not_replaced(
    dataset: Dataset,
    tmp_path: Path,
    name: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / name
    path.write_bytes(b"url,caption\n")
    out = [] if name == "d-report.html" else ["--out", str(path)]
    assert main(monkeypatch, "report", dataset.root, *out) == 2
    assert f"{path} already exists and is not an HTML page" in capsys.readouterr().err
    assert path.read_bytes() == b"url,caption\n"


def test_a_page_is_replaced_and_a_device_is_not(tmp_path: Path) -> None:
    page = tmp_path / "p.html"
    check_page(page, "--html")
    for text in ("", "<!doctype html>\n", "\ufeff \n<!DOCTYPE HTML>", "<HTML>"):
        page.write_text(text, encoding="utf-8")
        check_page(page, "--html")
    os.mkfifo(tmp_path / "pipe")  # nobody writes to it: to read from it would wait for ever
    for other in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(UserError, match="not an HTML page"):
            check_page(other, "--html")
    with pytest.raises(UserError, match="is a folder; name a file for the page: --html"):
        check_page(tmp_path, "--html")


@pytest.mark.parametrize("name", ["credits.csv", "statement.json", "cat.PNG", "all.html"])
def test_a_new_folder_does_not_get_the_name_of_a_file(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    with pytest.raises(UserError, match=f"makes a folder; name a folder: --to .*/{folder.stem}$"):
        check_folder_name(folder, "--to")
    folder.mkdir()
    for fine in (folder, tmp_path / "cats-1.5", tmp_path / "cats.lance", tmp_path / ".csv"):
        check_folder_name(fine, "--to")


@pytest.mark.parametrize("name", ["page.txt", "page", "page.html.gz", "mine.csv", ".html"])
def test_a_page_has_the_name_of_one(tmp_path: Path, name: str) -> None:
    """A browser would show it as text, and a later list or image of the name would be lost."""
    with pytest.raises(UserError, match=r"is not the name of an HTML page.*\.html: --page "):
        check_page(tmp_path / name, "--page")
    for fine in ("page.html", "PAGE.HTM", "a.b.html"):
        check_page(tmp_path / fine, "--page")


def test_nothing_is_written_into_a_dataset(dataset: Dataset, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(dataset.root)
    for inside in (f"{dataset.root}/x/y", dataset.root, f"{link}/x", f"{tmp_path}/o/../d/x"):
        assert dataset_around(inside) == os.path.realpath(dataset.root)
        with pytest.raises(UserError, match=r"inside the dataset .*; name another place with --to"):
            check_outside(inside, "--to")
    check_outside(tmp_path / "d-tars", "--to")
    check_outside("s3://bucket/cats", "--to")
    (tmp_path / "dataset.json").write_text("{}")  # of another tool
    check_outside(tmp_path / "x", "--to")


def test_neither_an_export_nor_another_dataset(dataset: Dataset) -> None:
    select(dataset, "all")
    before = sorted(Path(dataset.root).rglob("*"))
    with pytest.raises(UserError, match="inside the dataset"):
        export(dataset, "all", f"{dataset.root}/tars")
    with pytest.raises(UserError, match=r"inside the dataset .* give a folder outside it"):
        Dataset.create(f"{dataset.root}/more", "more")
    assert sorted(Path(dataset.root).rglob("*")) == before


def test_a_page_that_does_not_fit_says_that_the_disk_is_full(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<!doctype html>before")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, before[1]))  # as on a full disk
    try:
        with pytest.raises(NoSpace, match=f"^{page} cannot be written: the disk is full.*; free"):
            write_page(page, "<!doctype html>" * 9, "--out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert page.read_text() == "<!doctype html>before"
    assert list(tmp_path.iterdir()) == [page]
    for place, cure in ((tmp_path, "is a folder; name a file"), (page / "x", "--out")):
        with pytest.raises(Unwritable, match=cure):
            write_page(place, "<!doctype html>", "--out")
