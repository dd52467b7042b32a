"""Exports, read back by those they are for."""

import csv
import json
import shlex
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import webdataset

from frenchcat.curate.dataset import Dataset, file_sha256
from frenchcat.curate.errors import NoSpace, UserError
from frenchcat.curate.export import Exported, export
from frenchcat.curate.remove import RemovalQuery, matches, remove
from frenchcat.curate.select import Choice, select
from tests.sample.columns import set_columns
from tests.sample.embedded import embedded
from tests.sample.pictures import picture
from tests.sample.vectors import unit_rows


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


def test_a_folder_that_holds_something_is_left_alone(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    with pytest.raises(UserError, match=r"out already exists and contains 'mine\.txt'"):
        export(dataset, "some", tmp_path / "out", "csv")
    with pytest.raises(UserError, match="already exists and contains a file"):
        export(dataset, "some", tmp_path / "out/mine.txt", "csv")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("file", "format_", "meant"),
    [
        ("my x.csv", "webdataset", "csv"),
        ("x.CSV", "csv", "csv"),
        ("x.npy", "webdataset", "datacomp"),
        ("x.tar", "webdataset", "webdataset"),
        ("x.parquet", "csv", "csv"),
    ],
)
def test_a_folder_with_the_name_of_a_file_is_not_made(
    dataset: Dataset, tmp_path: Path, file: str, format_: str, meant: str
) -> None:
    """Who writes --to x.csv wants that file: tars in a folder called x.csv would help nobody."""
    with pytest.raises(
        UserError, match="is the name of a file, and --to makes a folder"
    ) as refused:
        export(dataset, "some", tmp_path / file, format_)
    assert [path.name for path in tmp_path.iterdir()] == ["d"]
    told = shlex.split(str(refused.value).partition("; run: ")[2])
    folder = str(tmp_path / file)[: -len(Path(file).suffix)]
    assert told == ["frenchcat", "export", dataset.root, "some", "--to", folder, "--format", meant]
    (tmp_path / file).mkdir()
    assert list(export(dataset, "some", tmp_path / file, format_).iterdir())  # this one is meant


@pytest.mark.parametrize("format_", ["webdataset", "csv"])
def test_an_empty_folder_is_written_into(dataset: Dataset, tmp_path: Path, format_: str) -> None:
    (tmp_path / "out").mkdir()
    assert list(export(dataset, "some", tmp_path / "out", format_).iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d", "out"]


def labelled(dataset: Dataset) -> None:
    label = "CASE WHEN key < '000000010' THEN 'early' END"
    choice = Choice(where="shard = '00000'", weight="1 + (key = '000000003')::int", label=label)
    select(dataset, "words", choice)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_weights_and_labels_are_in_every_format_or_are_said_to_be_missing(
    dataset: Dataset, tmp_path: Path
) -> None:
    labelled(dataset)
    told: list[Exported] = []
    for name in ("webdataset", "csv", "croissant", "datacomp"):
        export(dataset, "words", tmp_path / name, name, told=told.append)
    urls = [str(tmp_path / "webdataset/00000.tar")]
    read = list(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False))
    about = [json.loads(sample["json"]) for sample in read]
    assert [one["weight"] for one in about] == [1, 1, 1, 2] + [1] * 8
    assert [one["label"] for one in about] == ["early"] * 10 + [None] * 2
    assert [one["key"] for one in about] == [sample["__key__"] for sample in read]
    for folder in ("csv", "croissant"):
        with open(tmp_path / folder / "words.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["label"] for row in rows] == ["early"] * 10 + [""] * 2
        assert rows[3]["weight"] == "2.0"
    described = json.loads((tmp_path / "croissant/croissant.json").read_text())
    assert described["recordSet"][0]["field"][-1]["name"] == "label"
    assert len(np.load(tmp_path / "datacomp/words.npy")) == 13
    assert [bool(made.left_out) for made in told] == [False, False, False, True]
    assert "labels" in told[3].left_out[0]
    for made in told:
        assert made.rows == 12
        assert made.bytes == sum(path.stat().st_size for path in made.folder.iterdir())


def test_rows_that_datacomp_cannot_hold_are_refused_and_counted(
    dataset: Dataset, tmp_path: Path
) -> None:
    uids = ["0" * 32, None, "short", "z" * 32, "0" * 31 + "1"]
    set_columns(dataset, "shards/00001.parquet", uid=uids)
    weight = "CASE WHEN key = '000010004' THEN .2 ELSE 1 END"
    select(dataset, "odd", Choice(where="shard = '00001'", weight=weight))
    told: list[Exported] = []
    found = np.load(
        export(dataset, "odd", tmp_path / "x", "datacomp", told=told.append) / "odd.npy"
    )
    assert found.tolist() == [(0, 0)]
    assert told[0].as_dict() == {
        "folder": str(tmp_path / "x"),
        "format": "datacomp",
        "rows": 1,
        "bytes": (tmp_path / "x/odd.npy").stat().st_size,
        "refused": {"no_uid": 3, "weight_rounds_to_0": 1},
        "left_out": [],
    }
    select(dataset, "none", Choice(where="key = '000010001'"))
    with pytest.raises(UserError, match=r"can hold no row of the selection 'none' \(no_uid 1\)"):
        export(dataset, "none", tmp_path / "y", "datacomp")
    assert not (tmp_path / "y").exists()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tars_hold_every_member_of_a_sample_and_so_many_samples_each(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frenchcat.curate.export.SAMPLES_PER_TAR", 4)
    told: list[int] = []
    folder = export(dataset, "some", tmp_path / "out", advance=told.append)
    paths = sorted(folder.iterdir())
    keys = [f"00000{n:04d}" for n in range(7, 12)] + [f"00001{n:04d}" for n in range(5)]
    read = [
        list(webdataset.WebDataset([str(path)], shardshuffle=False, empty_check=False))
        for path in paths
    ]
    assert [[one["__key__"] for one in part] for part in read] == [keys[:4], keys[4:8], keys[8:]]
    words = [one["txt"].decode() for part in read for one in part]
    assert words == [f"caption of {key}" for key in keys]
    about = [json.loads(one["json"]) for part in read for one in part]
    assert [one["key"] for one in about] == keys
    assert all("png" in one for part in read for one in part)
    assert sum(told) == 10


def test_a_weight_is_rounded_to_repeats_for_datacomp(dataset: Dataset, tmp_path: Path) -> None:
    weights = "CASE key WHEN '000000000' THEN .4 WHEN '000000001' THEN 1.6 ELSE 3 END"
    select(dataset, "few", Choice(where="key <= '000000002'", weight=weights))
    uids = np.load(export(dataset, "few", tmp_path / "out", "datacomp") / "few.npy")
    assert uids.tolist() == [(0, 1)] * 2 + [(0, 2)] * 3


def test_datacomp_has_the_halves_of_a_uid_in_order(dataset: Dataset, tmp_path: Path) -> None:
    uids = [f"{high:016x}{low:016x}" for high, low in ((2, 1), (1, 2), (2**64 - 1, 3), (1, 1))]
    set_columns(dataset, "shards/00001.parquet", uid=[*uids, "0" * 32])
    select(dataset, "odd", Choice(where="shard = '00001'"))
    found = np.load(export(dataset, "odd", tmp_path / "out", "datacomp") / "odd.npy")
    assert found.tolist() == [(0, 0), (1, 1), (1, 2), (2, 1), (2**64 - 1, 3)]


def test_the_csv_has_the_selections_rows(dataset: Dataset, tmp_path: Path) -> None:
    captions = ['a "cat", said he', "two\nlines", "le chat — é", "=1+1", ""]
    set_columns(dataset, "shards/00001.parquet", caption=captions)
    made = select(dataset, "odd", Choice(where="shard = '00001'", weight="width / 4"))
    folder = export(dataset, "odd", tmp_path / "out", "csv")
    with open(folder / "odd.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    safe = [c.replace("=1+1", "'=1+1") for c in captions]  # a spreadsheet would compute it
    assert [row["caption"] for row in rows] == safe
    assert [row["key"] for row in rows] == made.table["key"].to_pylist()
    assert {row["weight"] for row in rows} == {"2.0"}
    assert list(rows[0]) == ["key", "uid", "url", "caption", "width", "height", "weight"]


@pytest.mark.parametrize("format_", ["webdataset", "datacomp", "csv", "croissant"])
def test_a_disk_that_cannot_hold_the_export_is_named_before_anything_is_written(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format_: str
) -> None:
    written = export(dataset, "some", tmp_path / "out", format_)
    size = sum(path.stat().st_size for path in written.iterdir())
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=size))
    export(dataset, "some", tmp_path / "enough", format_)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=100))
    told = f"{format_} of .* rows takes about .* its disk has .* free; free some"
    with pytest.raises(NoSpace, match=told):
        export(dataset, "some", tmp_path / "scarce", format_)
    assert not (tmp_path / "scarce").exists()


def test_an_export_that_fails_midway_leaves_nothing(dataset: Dataset, tmp_path: Path) -> None:
    tar = Path(dataset.path("shards/00001.tar"))
    tar.write_bytes(tar.read_bytes()[:1000])
    with pytest.raises(UserError, match="broken tar"):
        export(dataset, "some", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_a_folder_is_there_when_it_is_whole(dataset: Dataset, tmp_path: Path) -> None:
    seen: list[bool] = []
    export(
        dataset,
        "some",
        tmp_path / "deep" / "out",
        advance=lambda rows: seen.append((tmp_path / "deep" / "out").exists()),
    )
    assert seen == [False] * 10
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]


def test_removed_rows_are_not_exported(dataset: Dataset, tmp_path: Path) -> None:
    query = RemovalQuery("key", "000000008")
    remove(dataset, query, matches(dataset, query))
    folder = export(dataset, "some", tmp_path / "out", "csv")
    assert "000000008" not in (folder / "some.csv").read_text()
    assert "000000009" in (folder / "some.csv").read_text()
