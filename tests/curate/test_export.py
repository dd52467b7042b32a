"""Exports, read back by those they are for."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import webdataset

from frenchcat.curate.dataset import Dataset, file_sha256
from frenchcat.curate.errors import UserError
from frenchcat.curate.export import export
from frenchcat.curate.select import Choice, select
from tests.embedded import embedded, picture, unit_rows


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    made = embedded(tmp_path / "d", unit_rows(12), unit_rows(5, seed=1))
    select(
        made,
        "some",
        Choice(where="key >= '000000007'", weight="case when key < '00001' then 2 else 1 end"),
    )
    return made


# webdataset leaves its tar to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_the_tars(dataset: Dataset, tmp_path: Path) -> None:
    folder = export(dataset, "some", tmp_path / "out")
    urls = [str(path) for path in sorted(folder.iterdir())]
    read = list(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False))
    keys = [f"00000{n:04d}" for n in range(7, 12)] + [f"00001{n:04d}" for n in range(5)]
    assert [sample["__key__"] for sample in read] == keys
    assert all(sample["png"] == picture(int(sample["__key__"][-4:])) for sample in read)


def test_datacomp_gets_uids_as_often_as_they_weigh(dataset: Dataset, tmp_path: Path) -> None:
    uids = np.load(export(dataset, "some", tmp_path / "out", "datacomp") / "some.npy")
    assert uids.dtype == np.dtype("u8,u8")
    assert len(uids) == 5 * 2 + 5
    assert (np.sort(uids) == uids).all()
    assert (0, 7) in uids.tolist()


def test_croissant_describes_the_csv_beside_it(dataset: Dataset, tmp_path: Path) -> None:
    folder = export(dataset, "some", tmp_path / "out", "croissant")
    about = json.loads((folder / "croissant.json").read_text())
    (file,) = about["distribution"]
    assert file["sha256"] == file_sha256(folder / file["contentUrl"])
    with open(folder / "some.csv", newline="") as listed:
        rows = list(csv.DictReader(listed))
    assert len(rows) == 10
    columns = [field["source"]["extract"]["column"] for field in about["recordSet"][0]["field"]]
    assert columns == list(rows[0])


@pytest.mark.parametrize(
    ("name", "format_", "said"),
    [("none", "csv", "no selection 'none'"), ("some", "zip", "no format 'zip'")],
)
def test_bad_exports_leave_nothing(
    dataset: Dataset, tmp_path: Path, name: str, format_: str, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        export(dataset, name, tmp_path / "out", format_)
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_a_folder_that_is_there_is_left_alone(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="is there already"):
        export(dataset, "some", tmp_path / "out", "csv")
