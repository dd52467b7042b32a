"""The columns of lists: several captions, bytes, images inside, types that differ between files."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from frenchcat.curate.download.columns import uid_of
from frenchcat.curate.errors import UserError
from tests.curate.download.listed import frozen_rows, pairs_of, put, rows_of

U = ["http://a.example/1.jpg", "http://a.example/2.jpg", "http://a.example/3.jpg"]
SEVERAL = [["a cat", " ", 'a "big" dog'], ["b"], []]
RULES = {
    "first": [(U[0], "a cat"), (U[1], "b"), (U[2], None)],
    "longest": [(U[0], 'a "big" dog'), (U[1], "b"), (U[2], None)],
    "all": [(U[0], "a cat"), (U[0], 'a "big" dog'), (U[1], "b"), (U[2], None)],
}


def several(form: str) -> tuple[str, Any]:
    if form == "jsonl":
        import json

        pairs = zip(U, SEVERAL, strict=True)
        return "l.jsonl", "".join(json.dumps({"url": u, "caption": c}) + "\n" for u, c in pairs)
    texts: Any = SEVERAL
    if form == "bytes":
        texts = [[text.encode() for text in some] for some in SEVERAL]
    kind = pa.list_(pa.binary() if form == "bytes" else pa.string())
    return "l.parquet", pa.table({"url": U, "caption": pa.array(texts, kind)})


@pytest.mark.parametrize("form", ["text", "bytes", "jsonl"])
@pytest.mark.parametrize("rule", RULES)
def test_of_several_captions_the_setting_says_which(tmp_path: Path, form: str, rule: str) -> None:
    rows = rows_of(tmp_path, *several(form), captions=rule)
    assert [(row["url"], row["caption"]) for row in rows] == RULES[rule]
    assert [row["uid"] for row in rows] == [uid_of(u, c) for u, c in RULES[rule]]
    if form == "text":
        assert rows[0]["list_caption"] == SEVERAL[0], "the others are not lost"


def test_rows_of_their_own_have_uids_of_their_own(tmp_path: Path) -> None:
    table = pa.table({"url": U[:2], "caption": [["a", "b"], ["c"]], "uid": ["ab" * 16, "cd" * 16]})
    rows = rows_of(tmp_path, "l.parquet", table, captions="all")
    assert [row["uid"] for row in rows] == [uid_of(U[0], "a"), uid_of(U[0], "b"), "cd" * 16]


def test_a_caption_that_is_single_in_one_row_and_several_in_the_next(tmp_path: Path) -> None:
    text = '{"url": "a", "caption": ["x", "yy"]}\n{"url": "b", "caption": " one "}\n'
    text += '{"url": ["c", "d"], "caption": 7}\n{"url": "e", "caption": null}\n'
    assert pairs_of(tmp_path, "l.jsonl", text, captions="longest") == [
        ("a", "yy"),
        ("b", " one "),
        ("c", "7"),
        ("e", None),
    ]


def test_bytes_are_text(tmp_path: Path) -> None:
    captions = ["猫".encode(), b"caf\xe9", None]
    table = pa.table({"url": [url.encode() for url in U], "caption": captions})
    assert pairs_of(tmp_path, "l.parquet", table) == list(zip(U, ["猫", "café", None], strict=True))


def test_a_text_column_with_bytes_that_are_not_utf8_costs_its_row_a_character(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = pa.array(["猫".encode(), b"caf\xe9", b"ok"], pa.binary())
    captions = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    table = pa.table({"url": U, "caption": captions, "n": [1, 2, 3]})
    rows = rows_of(tmp_path, "l.parquet", table)
    assert [row["caption"] for row in rows] == ["猫", "café", "ok"]
    assert [(row["n"], row["source_row"]) for row in rows] == [(1, 1), (2, 2), (3, 3)]
    assert "1 row, the first is 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([{"en": "x"}] * 3), r"'caption' is STRUCT\(en VARCHAR\); it has to be text"),
        (pa.array([[["x"]]] * 3), r"'caption' is VARCHAR\[\]\[\]; .*--set download.caption_column"),
    ],
)
def test_a_caption_that_is_no_text_is_refused(tmp_path: Path, column: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        rows_of(tmp_path, "l.parquet", pa.table({"url": U, "caption": column}))


def test_columns_of_the_names_that_duckdb_uses_for_files(tmp_path: Path) -> None:
    table = pa.table({"url": U, "file_row_number": [7, 8, 9], "filename": ["a", "b", "c"]})
    rows = rows_of(tmp_path, "l.parquet", table)
    assert [row["file_row_number"] for row in rows] == [7, 8, 9]
    assert [row["filename"] for row in rows] == ["a", "b", "c"]
    assert [row["source_row"] for row in rows] == [1, 2, 3]


def test_a_column_that_is_of_another_type_in_the_next_file(tmp_path: Path) -> None:
    folder = tmp_path / "given"
    put(folder / "1.parquet", pa.table({"url": U[:1], "s": [[1, 2]], "n": [1], "b": [True]}))
    put(folder / "2.parquet", pa.table({"url": U[1:2], "s": ["t"], "n": [0.5], "b": [3]}))
    put(folder / "3.csv", f"url,s,b\n{U[2]},5,x\n")
    rows = frozen_rows(folder, tmp_path / "dataset")
    found = [(row["s"], row["n"], row["b"]) for row in rows]
    assert found == [("[1,2]", 1.0, "true"), ("t", 0.5, "3"), ("5", None, "x")]
    assert [row["source_file"] for row in rows] == ["1.parquet", "2.parquet", "3.csv"]


def test_images_inside_a_list(tmp_path: Path) -> None:
    images = [
        {"bytes": b"one", "path": "a/1.jpg"},
        {"bytes": b"two", "path": None},
        {"bytes": None, "path": U[2]},
    ]
    table = pa.table({"image": pa.array(images), "text": ["same", "same", "c"], "label": [1, 2, 3]})
    rows = rows_of(tmp_path, "l.parquet", table)
    assert [row["source_bytes"] for row in rows] == [b"one", b"two", None]
    assert [row["source_path"] for row in rows] == ["a/1.jpg", None, U[2]]
    assert [row["url"] for row in rows] == [None, None, U[2]]
    assert [row["caption"] for row in rows] == ["same", "same", "c"]
    assert len({row["uid"] for row in rows}) == 3
    assert [row["label"] for row in rows] == [1, 2, 3]
    assert "image" not in rows[0]


def test_an_image_column_can_be_named(tmp_path: Path) -> None:
    table = pa.table({"url": U[:1], "scan": pa.array([b"one"], pa.binary())})
    (row,) = rows_of(tmp_path, "l.parquet", table, image_column="scan")
    assert (row["url"], row["source_bytes"]) == (U[0], b"one")
    for named, message in (
        ("scam", "no column 'scam'"),
        ("url", "'url' .image_column. is VARCHAR"),
    ):
        with pytest.raises(UserError, match=message):
            rows_of(tmp_path / named, "l.parquet", table, image_column=named)


def test_a_damage_that_the_reader_names_no_file_for_is_one_line(tmp_path: Path) -> None:
    path = put(tmp_path / "given/l.parquet", pa.table({"url": U * 40, "caption": ["x"] * 120}))
    data = path.read_bytes()
    for place in range(4, len(data) - 8, 29):
        path.write_bytes(data[:place] + b"\xff" + data[place + 1 :])
        try:
            frozen_rows(path, tmp_path / f"dataset-{place}")
        except UserError as error:
            assert "l.parquet" in str(error)  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017
