"""Where lists are found: folders inside folders, hive partitions, files that are no lists."""

from pathlib import Path

import pyarrow as pa
import pytest

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.download.lists import Shape, check
from frenchcat.curate.download.sources import find
from frenchcat.curate.errors import UserError
from tests.curate.download.listed import frozen_rows, put

HIVE = {
    "lang=en/year=2020/p.parquet": pa.table({"url": ["e1", "e2"]}),
    "lang=fr/year=2021/p.csv": "url,caption\nf1,x\n",
    "lang=__HIVE_DEFAULT_PARTITION__/year=2022/p.txt": "http://n1\n",
}


def test_hive_folders_are_columns(tmp_path: Path) -> None:
    for name, content in HIVE.items():
        put(tmp_path / "given" / name, content)
    rows = frozen_rows(tmp_path / "given", tmp_path / "dataset")
    found = {row["url"]: (row["lang"], row["year"]) for row in rows}
    assert found == {
        "e1": ("en", 2020),
        "e2": ("en", 2020),
        "f1": ("fr", 2021),
        "http://n1": (None, 2022),
    }
    assert {row["source_file"] for row in rows} == set(HIVE)


@pytest.mark.parametrize("name", ["a?b", "a::b", "[x]", "a*b", "a#b%41", "zip::x", "{a,b}"])
def test_a_path_is_a_path_whatever_characters_it_has(tmp_path: Path, name: str) -> None:
    """fsspec chains at `::`, an address ends at `?`, a glob knows `[`, `*` and `?`."""
    lists = {
        "l.parquet": pa.table({"url": ["http://p"]}),
        "l.csv": "url,caption\nhttp://c,x\n",
        f"{name}.txt": "http://t\n",
        f"{name}.jsonl": '{"url": "http://j"}\n',
    }
    for beside in (name, "x", "acb", "a#bA", "a"):
        for file, content in lists.items():
            put(tmp_path / "given" / beside / file, content)
    rows = frozen_rows(tmp_path / "given" / name, tmp_path / "folder")
    assert sorted(row["url"] for row in rows) == ["http://c", "http://j", "http://p", "http://t"]
    (row,) = frozen_rows(tmp_path / "given" / name / f"{name}.txt", tmp_path / "file")
    assert row["url"] == "http://t"


@pytest.mark.parametrize("name", ["l.parquet", "l.csv", "l.txt", "l.jsonl"])
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"PK\x03\x04\x14\0", "a zip archive or spreadsheet"),
        (b"\n<!DOCTYPE html><html>404</html>", "a web page or XML"),
        (b"%PDF-1.7 ", "in an unknown format"),
    ],
)
def test_what_people_give_for_a_list_is_called_by_its_name(
    tmp_path: Path, name: str, data: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=f"{name}: .*{said}"):
        check(tmp_path / name, Shape())


def test_a_txt_with_captions_is_told_to_be_a_tsv(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path / "l.txt", "http://a.example/1\nhttp://a.example/2\ta cat\n")
    rows = frozen_rows(tmp_path / "l.txt", tmp_path / "dataset")
    assert [row["url"] for row in rows] == ["http://a.example/1", "http://a.example/2\ta cat"]
    said = capsys.readouterr().err
    assert "a list with captions is a tsv: rename it to end in .tsv): 1 row, the first is 2" in said


def test_columns_are_named_in_a_line_however_many_there_are(tmp_path: Path) -> None:
    names = ["x" * 5_000_000, *(f"c{number}" for number in range(5_000))]
    put(tmp_path / "l.csv", ",".join(names) + "\n")
    put(tmp_path / "m.csv", ",".join(["1"] * len(names)) + "\n")
    with pytest.raises(UserError, match=r"no URL column; .* and 4971 more; name it") as refused:
        check([tmp_path / "l.csv", tmp_path / "m.csv"], Shape())
    assert len(str(refused.value)) < 1_000


def test_a_column_of_the_list_wins_over_its_folder(tmp_path: Path) -> None:
    table = pa.table({"url": ["d1"], "lang": ["own"]})
    put(tmp_path / "given/lang=d/city=K%C3%B6ln/p.parquet", table)
    (row,) = frozen_rows(str(tmp_path / "given/*/*/p.parquet"), tmp_path / "dataset")
    assert (row["lang"], row["city"]) == ("own", "Köln")


def test_what_lies_beside_lists_is_left_out_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = tmp_path / "given"
    put(given / "data/train-0.parquet", pa.table({"url": ["a"]}))
    put(given / "README.txt", "http://example.org/ has more\n")
    put(given / "notes.txt", "These files were made by a script.\n")
    put(given / "dataset_info.json", "{}")
    put(given / "urls.txt", "\n\nhttp://b\n")
    put(given / "_temporary/x.csv", "url\nc\n")
    put(given / "data/.hidden/y.csv", "url\nd\n")
    rows = frozen_rows(given, tmp_path / "dataset")
    assert [(row["url"], row["source_file"]) for row in rows] == [
        ("a", "data/train-0.parquet"),
        ("http://b", "urls.txt"),
    ]
    said = capsys.readouterr().err
    assert all(name in said for name in ("README.txt", "notes.txt", "dataset_info.json"))
    assert "left out" in said


def test_a_text_that_is_named_is_a_list_whatever_its_name(tmp_path: Path) -> None:
    path = put(tmp_path / "README.txt", "http://a\n")
    assert [row["url"] for row in frozen_rows(path, tmp_path / "dataset")] == ["http://a"]


def test_a_folder_of_other_texts_is_no_list(tmp_path: Path) -> None:
    put(tmp_path / "given/notes.txt", "nothing here\n")
    with pytest.raises(UserError, match="no URL list in this folder"):
        check(tmp_path / "given", Shape())


def test_a_dataset_is_no_list(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "dataset", "test")
    put(tmp_path / "dataset/shards/00000.parquet", pa.table({"url": ["a"]}))
    with pytest.raises(UserError, match="is a dataset, not a URL list"):
        check(dataset.root, Shape())


def test_a_path_with_signs_of_globs_is_one_file(tmp_path: Path) -> None:
    path = put(tmp_path / "a[1]=x/p*.parquet", pa.table({"url": ["a"]}))
    put(tmp_path / "a[1]=x/pq.parquet", pa.table({"url": ["b"]}))
    assert [row["url"] for row in frozen_rows(path, tmp_path / "dataset")] == ["a"]


def test_a_pattern_takes_the_lists_of_folders_and_leaves_out_what_is_none(tmp_path: Path) -> None:
    row = "url,caption\nhttp://a.example/1.jpg,x\n"
    for name in (
        "README.txt",
        "_SUCCESS",
        "notes.md",
        "x.csv",
        "lang=fr/y.csv",
        "lang=fr/notes.md",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(row if name.endswith("csv") else "words\n")
    found = find(f"{tmp_path}/*")
    assert [one.name for one in found.found] == ["lang=fr/y.csv", "x.csv"]
    assert [one.partitions for one in found.found] == [{"lang": "fr"}, {}]
    assert found.left_out == ["README.txt", "_SUCCESS", "notes.md"]
    assert len(find(f"{tmp_path}/lang=*").found) == 1
    for pattern, why in (("*.md", "rename it to end in its kind"), ("READ*", "no URL list among")):
        with pytest.raises(UserError, match=why):
            find(f"{tmp_path}/{pattern}")
