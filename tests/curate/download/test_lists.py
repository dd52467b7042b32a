import csv
import datetime
import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.download import sources
from frenchcat.curate.download.columns import ORIGIN, uid_of
from frenchcat.curate.download.list_errors import blaming
from frenchcat.curate.download.lists import Shape, check, freeze, relative
from frenchcat.curate.errors import UserError
from frenchcat.curate.remove import RemovalQuery, remove
from tests.trees import tree_digest

ROWS = [
    {"url": "http://a.example/1.jpg", "caption": 'a "cat", asleep', "n": 1},
    {"url": "http://a.example/2.jpg", "caption": "un chat français 猫", "n": 2},
    {"url": "http://a.example/3.jpg", "caption": None, "n": 3},
]


def make(tmp_path: Path, name: str = "dataset") -> Dataset:
    return Dataset.create(tmp_path / name, "test")


def frozen(dataset: Dataset, lists: Any, **shape: Any) -> list[dict[str, Any]]:
    with dataset.lock():
        shards = freeze(dataset, lists, Shape(**shape))
    return rows_of(dataset, shards)


def rows_of(dataset: Dataset, shards: list[str]) -> list[dict[str, Any]]:
    """The rows without their origin, which tests of its own look at."""
    rows = [row for s in shards for row in pq.read_table(dataset.path(relative(s))).to_pylist()]
    return [{n: v for n, v in row.items() if n not in ORIGIN} for row in rows]


def plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "uid"} for row in rows]


def write(path: Path, rows: list[dict[str, Any]] = ROWS) -> Path:
    names = list(rows[0])
    opened: Any = gzip.open if path.suffix == ".gz" else open
    kind = path.name.split(".")[1]
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
        return path
    with opened(path, "wt", encoding="utf-8", newline="") as file:
        if kind in ("csv", "tsv"):
            writer = csv.DictWriter(file, names, delimiter="\t" if kind == "tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
        elif kind == "json":
            json.dump(rows, file)
        elif kind == "jsonl":
            file.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        else:
            file.write("".join(f"{row['url']}\n\n" for row in rows))
    return path


KINDS = ["parquet", *(k + gz for k in ("csv", "tsv", "json", "jsonl") for gz in ("", ".gz"))]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_list_gives_the_same_rows(tmp_path: Path, kind: str) -> None:
    rows = frozen(make(tmp_path), write(tmp_path / f"list.{kind}"))
    assert plain(rows) == ROWS
    assert [row["uid"] for row in rows] == [uid_of(r["url"], r["caption"]) for r in ROWS]
    assert list(rows[0])[:3] == ["uid", "url", "caption"]


@pytest.mark.parametrize("ending", ["txt", "txt.gz"])
def test_text_is_a_url_a_line(tmp_path: Path, ending: str) -> None:
    odd = [*ROWS, {"url": 'http://a.example/?q="1,2"&r=\'\t;x'}]
    rows = frozen(make(tmp_path), write(tmp_path / f"list.{ending}", odd))
    assert [row["url"] for row in rows] == [row["url"] for row in odd]
    assert {row["caption"] for row in rows} == {None}


@pytest.mark.parametrize("whole", [False, True])
def test_json_as_pandas_writes_it(tmp_path: Path, whole: bool) -> None:
    columns = {name: [row[name] for row in ROWS] for name in ROWS[0]}
    numbered = {name: {str(i): v for i, v in enumerate(c)} for name, c in columns.items()}
    path = tmp_path / "list.json"
    path.write_text(json.dumps(columns if whole else numbered))
    assert plain(frozen(make(tmp_path), path)) == ROWS


def test_a_byte_order_mark_and_either_newline(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes("\ufeffurl,caption\r\nhttp://a,é\r\nhttp://b,x\r\n".encode())
    assert [row["caption"] for row in frozen(make(tmp_path), path)] == ["é", "x"]


@pytest.mark.parametrize(
    ("names", "url", "caption"),
    [
        (["URL", "TEXT"], "URL", "TEXT"),
        (["alt", "Url"], "Url", "alt"),
        (["text", "caption", "link"], "link", "caption"),
        (["image_url", "link", "title"], "image_url", "title"),
        (["uri"], "uri", None),
    ],
)
def test_columns_are_found_by_their_usual_names(
    tmp_path: Path, names: list[str], url: str, caption: str | None
) -> None:
    path = write(tmp_path / "list.parquet", [{name: f"{name} value" for name in names}])
    (row,) = frozen(make(tmp_path), path)
    assert row["url"] == f"{url} value"
    assert row["caption"] == (f"{caption} value" if caption else None)
    extras = [name for name in names if name not in (url, caption)]
    assert [name for name in row if name not in ("uid", "url", "caption")] == extras


def test_named_columns_win_and_what_would_collide_is_renamed(tmp_path: Path) -> None:
    table = {"url": ["u"], "page": ["http://p"], "caption": ["c"], "alt": ["a"], "WIDTH": [5]}
    pq.write_table(pa.table({**table, "list_width": [6]}), tmp_path / "list.parquet")
    shape = {"url_column": "page", "caption_column": "alt"}
    (row,) = frozen(make(tmp_path), tmp_path / "list.parquet", **shape)
    del row["uid"]
    assert row == {
        "url": "http://p",
        "caption": "a",
        "list_url": "u",
        "list_caption": "c",
        "list_WIDTH_1": 5,
        "list_width": 6,
    }


def test_extra_columns_keep_their_types(tmp_path: Path) -> None:
    extras = {
        "small": pa.array([1, None], pa.int32()),
        "real": pa.array([0.5, 1.5], pa.float32()),
        "tags": pa.array([["a", "b"], []], pa.list_(pa.string())),
        "box": pa.array([{"x": 1}, None], pa.struct([("x", pa.int64())])),
        "flag": pa.array([True, None]),
        "day": pa.array([datetime.date(2020, 1, 2), None]),
        "big": pa.array([2**63 + 1, 2**64 - 1], pa.uint64()),
    }
    table = pa.table({"url": ["http://a", "http://b"], **extras})
    pq.write_table(table, tmp_path / "list.parquet")
    dataset = make(tmp_path)
    frozen(dataset, tmp_path / "list.parquet")
    found = pq.read_table(dataset.path(relative("00000"))).select(list(extras))
    assert found.schema == table.select(list(extras)).schema
    assert found.to_pylist() == table.select(list(extras)).to_pylist()


def test_csv_types_lose_nothing(tmp_path: Path) -> None:
    columns = {
        "url": ["http://a", "http://b"],
        "caption": ["007", "008"],
        "n": ["-1", "12345678901"],
        "x": ["0.25", "1e-3"],
        "yes": ["true", "false"],
        "zip": ["01234", "98765"],
        "hash": ["18446744073709551615", "1"],
        "mixed": ["1", "one"],
        "none": ["", ""],
    }
    rows = [{name: column[row] for name, column in columns.items()} for row in range(2)]
    path = write(tmp_path / "list.csv", rows)
    first, second = frozen(make(tmp_path), path)
    del first["uid"], second["uid"]
    assert list(first.values()) == [
        *("http://a", "007", -1, 0.25, True, "01234", "18446744073709551615", "1", None)
    ]
    assert list(second.values()) == [
        *("http://b", "008", 12345678901, 0.001, False, "98765", "1", "one", None)
    ]


def test_a_uid_of_the_list_wins_where_it_is_one(tmp_path: Path) -> None:
    rows = [{"uid": "AB" * 16, "url": "u", "text": "t"}, {"uid": "7", "url": "u", "text": "t"}]
    found = frozen(make(tmp_path), write(tmp_path / "list.parquet", rows))
    assert [row["uid"] for row in found] == ["ab" * 16, uid_of("u", "t")]


def several(tmp_path: Path) -> Path:
    folder = tmp_path / "several"
    folder.mkdir()
    write(folder / "b.parquet", [{"url": "b1", "n": 1}, {"url": "b2", "n": 2}])
    write(folder / "a.parquet", [{"url": "a1", "n": 1}])
    write(folder / "c.csv", [{"URL": "c1", "alt": "c", "extra": "x"}])
    (folder / "_SUCCESS").write_text("")
    (folder / "readme.md").write_text("not a list")
    return folder


@pytest.mark.parametrize(
    ("lists", "urls"),
    [
        (lambda f: f, ["a1", "b1", "b2", "c1"]),
        (lambda f: str(f / "*.parquet"), ["a1", "b1", "b2"]),
        (lambda f: [f / "c.csv", f / "b.parquet"], ["c1", "b1", "b2"]),
        (lambda f: (f / "a.parquet").as_uri(), ["a1"]),
    ],
)
def test_several_files(tmp_path: Path, lists: Callable[[Path], Any], urls: list[str]) -> None:
    rows = frozen(make(tmp_path), lists(several(tmp_path)))
    assert [row["url"] for row in rows] == urls
    entry = make(tmp_path).read_json("dataset.json")["stages"]["lists"]
    assert sum(file["rows"] for file in entry["given"][0]["files"]) == len(urls)
    assert str(tmp_path) not in json.dumps(entry)


def test_a_list_at_a_remote_address(tmp_path: Path) -> None:
    with fsspec.open("memory://lists/some.csv", "wt") as file:
        file.write("url,caption\nhttp://a,b\n")
    check("memory://lists/some.csv", Shape())
    assert [row["url"] for row in frozen(make(tmp_path), "memory://lists/*.csv")] == ["http://a"]


def test_shards_are_cut_in_order_and_again_changes_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "list.parquet", [{"url": f"u{n}"} for n in range(25_007)])
    dataset = make(tmp_path)
    rows = frozen(dataset, path, samples_per_shard=5000)
    assert [row["url"] for row in rows] == [f"u{n}" for n in range(25_007)]
    assert pq.read_metadata(dataset.path(relative("00005"))).num_rows == 7
    before = tree_digest(tmp_path / "dataset")
    assert len(frozen(dataset, path, samples_per_shard=4)) == 25_007
    assert len(frozen(dataset, [str(path)], samples_per_shard=4)) == 25_007
    assert tree_digest(tmp_path / "dataset") == before


def test_a_row_twice_in_a_list_is_two_rows(tmp_path: Path) -> None:
    dataset = make(tmp_path)
    one = write(tmp_path / "one.parquet", [{"url": "a"}, {"url": "b"}, {"url": "a"}])
    assert [row["url"] for row in frozen(dataset, one)] == ["a", "b", "a"]
    more = write(tmp_path / "more.parquet", [{"url": u} for u in "aabaca"])
    assert [row["url"] for row in frozen(dataset, more)] == ["a", "b", "a", "a", "c", "a"]


urls = st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=40)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(first=urls, second=urls, size=st.integers(1, 9))
def test_a_grown_list_adds_what_is_new_and_only_that(
    tmp_path_factory: pytest.TempPathFactory, first: list[str], second: list[str], size: int
) -> None:
    folder = tmp_path_factory.mktemp("grown")
    dataset = make(folder)
    frozen(
        dataset, write(folder / "1.parquet", [{"url": u} for u in first]), samples_per_shard=size
    )
    before = tree_digest(folder / "dataset" / "lists")
    grown = write(folder / "2.parquet", [{"url": u} for u in second])
    rows = [row["url"] for row in frozen(dataset, grown, samples_per_shard=size)]
    assert rows[: len(first)] == first
    assert Counter(rows) == Counter(first) | Counter(second)
    after = tree_digest(folder / "dataset" / "lists")
    assert {name: after[name] for name in before} == before


def test_a_grown_list_does_not_bring_back_what_was_removed(tmp_path: Path) -> None:
    dataset = make(tmp_path)
    stays, others = ["http://a.example/1.jpg"], ["http://a.example/2.jpg", "http://b.example/1.jpg"]
    frozen(dataset, write(tmp_path / "1.parquet", [{"url": url} for url in stays]))
    for by, value in (("domain", "b.example"), ("url", others[0])):
        with dataset.lock():
            remove(dataset, RemovalQuery(by, value), [])
    new = "http://a.example/3.jpg"
    grown = [*stays, *others, "http://img.b.example/2.jpg", new]
    rows = frozen(dataset, write(tmp_path / "2.parquet", [{"url": url} for url in grown]))
    assert [row["url"] for row in rows] == [*stays, new]


def csv_of(text: str) -> Callable[[Path], Path]:
    def write_it(folder: Path) -> Path:
        (folder / "list.csv").write_bytes(text.encode("latin-1"))
        return folder / "list.csv"

    return write_it


def file_of(name: str, content: bytes) -> Callable[[Path], Path]:
    def write_it(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return write_it


BAD = {
    "missing": (lambda f: f / "none.parquet", "there is no such file"),
    "no match": (lambda f: str(f / "*.parquet"), "there is no such file"),
    "empty folder": (lambda f: f, "no URL list in this folder"),
    "unknown kind": (file_of("list.xlsx", b"x"), "list.xlsx: a URL list is parquet, csv"),
    "nothing named": (lambda f: [], "no URL list was named"),
    "no URL column": (csv_of("picture,words\na,b\n"), "the columns are: picture, words"),
    "no bytes": (file_of("list.csv", b""), "empty"),
    "header only": (csv_of("url,caption\n"), "has no rows"),
    "blank text": (file_of("list.txt", b"\n \n"), "has no rows"),
    "empty json": (file_of("list.json", b"[]"), "has no rows"),
    "not parquet": (file_of("list.parquet", b"PAR1 but no more"), "broken"),
    "cut gzip": (file_of("l.csv.gz", gzip.compress(b"url\n" + b"http://a\n" * 99)[:-9]), "broken"),
    "no gzip": (file_of("l.txt.gz", b"http://a\n"), "broken"),
    "ragged": (csv_of("url,caption\n" + "u,c\n" * 30_000 + "u,c,d\n"), "Line: 30002"),
    "bad json": (file_of("list.jsonl", b'{"url": "a"}\n{"url": \n'), "broken"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_lists_are_one_line_and_write_nothing(tmp_path: Path, name: str) -> None:
    make_list, message = BAD[name]
    folder = tmp_path / "lists"
    folder.mkdir()
    dataset = make(tmp_path)
    before = tree_digest(tmp_path / "dataset")
    with pytest.raises(UserError, match=message) as caught, dataset.lock():
        freeze(dataset, make_list(folder), Shape())
    assert "\n" not in str(caught.value)
    assert tree_digest(tmp_path / "dataset") == before
    assert dataset.files("") == ["dataset.json"]


def test_a_named_column_that_is_missing(tmp_path: Path) -> None:
    path = write(tmp_path / "list.csv")
    for shape in (Shape(url_column="src"), Shape(caption_column="src")):
        with pytest.raises(UserError, match=r"no column 'src'.*: url, caption, n"):
            check(path, shape)


@pytest.mark.parametrize("name", ["missing", "no URL column", "header only", "empty json"])
def test_check_finds_them_before_a_dataset_is_made(tmp_path: Path, name: str) -> None:
    make_list, message = BAD[name]
    with pytest.raises(UserError, match=message):
        check(make_list(tmp_path), Shape())


def test_a_list_broken_late_among_good_ones_writes_nothing(tmp_path: Path) -> None:
    good = write(tmp_path / "a.parquet", [{"url": f"u{n}"} for n in range(30_000)])
    bad = tmp_path / "b.parquet"
    data = bytearray(good.read_bytes())
    for position in range(5000, 9000):
        data[position] ^= 0x5A
    bad.write_bytes(data)
    dataset = make(tmp_path)
    with pytest.raises(UserError, match=r"b\.parquet.*broken"):
        frozen(dataset, [good, bad], samples_per_shard=100)
    assert dataset.files("") == ["dataset.json"]
    assert len(frozen(dataset, good)) == 30_000


@pytest.mark.parametrize("ending", ["jsonl", "json"])
def test_every_row_of_a_json_counts_for_its_columns_and_their_types(
    tmp_path: Path, ending: str
) -> None:
    rows: list[dict[str, Any]] = [{"url": f"u{n}", "n": n} for n in range(30_000)]
    rows[-2]["n"], rows[-1]["rare"] = 0.5, "once"
    path = tmp_path / f"list.{ending}"
    lines = [json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) if ending == "jsonl" else f"[{','.join(lines)}]")
    found = frozen(make(tmp_path), path, samples_per_shard=10_000)
    assert [row["url"] for row in found] == [row["url"] for row in rows]
    assert found[-2]["n"] == 0.5
    assert [found[0]["rare"], found[-1]["rare"]] == [None, "once"]


def test_a_list_read_by_another_column_is_another_list(tmp_path: Path) -> None:
    rows = [{"url": f"u{n}", "page": f"p{n}", "alt": f"a{n}", "text": f"t{n}"} for n in range(3)]
    path, dataset = write(tmp_path / "list.parquet", rows), make(tmp_path)
    assert len(frozen(dataset, path)) == 3
    found = frozen(dataset, path, url_column="page")
    assert [row["url"] for row in found] == ["u0", "u1", "u2", "p0", "p1", "p2"]
    found = frozen(dataset, path, caption_column="alt")
    assert [row["caption"] for row in found[6:]] == ["a0", "a1", "a2"]
    renamed = path.rename(tmp_path / "renamed.parquet")
    assert frozen(dataset, renamed) == found, "the same list under another name"


def test_files_of_one_list_may_have_different_columns(tmp_path: Path) -> None:
    one = write(tmp_path / "a.parquet", [{"url": "u1", "caption": "c1", "n": 1}])
    two = write(tmp_path / "b.parquet", [{"URL": "u2", "n": 2, "alt": "c2"}])
    three = write(tmp_path / "c.jsonl", [{"n": 3, "caption": "c3", "url": "u3"}])
    rows = frozen(make(tmp_path), [three, two, one])
    assert plain(rows) == [{"url": f"u{n}", "caption": f"c{n}", "n": n} for n in (3, 2, 1)]


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        ([{"a": 1}], [{"b": "x"}], [{"a": 1, "b": None}, {"a": None, "b": "x"}]),
        ([[1]], [["x"]], [["1"], ["x"]]),
        ([1], [{"b": 1}], ["1", '{"b":1}']),
        ([True], [1], ["true", "1"]),
        ([b"caf\xc3\xa9"], ["x"], ["café", "x"]),
        ([None], [{"a": 1}], [None, {"a": 1}]),
        (pa.array([2**64 - 1], pa.uint64()), [-1], [Decimal(2**64 - 1), Decimal(-1)]),
    ],
)
def test_a_column_of_several_types_in_one_list_has_one_that_holds_them(
    tmp_path: Path, one: Any, other: Any, found: list[Any]
) -> None:
    """By the rule of additions, but for bytes beside text: these are text without its mark."""
    for name, values in (("a", one), ("b", other)):
        pq.write_table(pa.table({"url": [f"u{name}"], "n": values}), tmp_path / f"{name}.parquet")
    lists = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    assert [row["n"] for row in frozen(make(tmp_path), lists)] == found


def test_every_row_of_a_csv_counts_for_its_types(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("url,v\n" + "u,2\n" * 25_000 + "u,1.5.2\n")
    found = frozen(make(tmp_path), path, samples_per_shard=10_000)
    assert [found[0]["v"], found[-1]["v"]] == ["2", "1.5.2"]


def test_a_format_that_is_added_to_the_table_is_found_checked_and_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def batches(source: sources.Source) -> Iterator[dict[str, list[Any]]]:
        with pa.ipc.open_file(source.path) as file:
            for number in range(file.num_record_batches):
                yield file.get_batch(number).to_pydict()

    added = sources.Format("arrow", (".arrow", ".feather"), text=False, rows=batches)
    monkeypatch.setattr(sources, "FORMATS", (*sources.FORMATS, added))
    table = pa.Table.from_pylist([row for row in ROWS if row["caption"]])
    (tmp_path / "lists").mkdir()
    for name in ("a.arrow", "b.feather"):
        with pa.ipc.new_file(tmp_path / "lists" / name, table.schema) as file:
            file.write_table(table, max_chunksize=1)
    check(tmp_path / "lists", Shape())
    found = frozen(make(tmp_path), tmp_path / "lists")
    assert plain(found) == table.to_pylist() * 2
    with pytest.raises(UserError, match=r"jsonl, txt or arrow \(the text ones also \.gz, \.bz2"):
        check(write(tmp_path / "urls.csv").rename(tmp_path / "urls.xls"), Shape())
    with pytest.raises(UserError, match="rename it to end in its kind"):
        check((tmp_path / "lists" / "a.arrow").rename(tmp_path / "a.arrow.gz"), Shape())


RESERVED = ("frenchcat_url", "FRENCHCAT_CAPTION", "frenchcat_row", "frenchcat_source")


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize("name", RESERVED)
def test_columns_that_are_called_as_those_added_while_reading(
    tmp_path: Path, kind: str, name: str
) -> None:
    row = {"url": "http://a.example/1", "caption": "a cat", name: "theirs"}
    path = tmp_path / f"list.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist([row]), path)
    elif kind == "csv":
        path.write_text(",".join(row) + "\n" + ",".join(row.values()) + "\n")
    else:
        path.write_text(json.dumps(row) + "\n")
    (found,) = frozen(make(tmp_path), path)
    assert (found["url"], found["caption"]) == ("http://a.example/1", "a cat")
    assert found[f"list_{name}"] == "theirs"


def test_a_uid_that_is_none_is_a_column_of_the_list(tmp_path: Path) -> None:
    tables = {"a": [7, 8], "b": ["a" * 32, "B" * 32], "c": ["a" * 32, None]}
    for name, uids in tables.items():
        urls = [f"http://{name}.example/{n}" for n in range(2)]
        pq.write_table(pa.table({"url": urls, "uid": uids}), tmp_path / f"{name}.parquet")
    found = {
        name: frozen(make(tmp_path, f"d{name}"), tmp_path / f"{name}.parquet") for name in tables
    }
    assert [row["list_uid"] for row in found["a"]] == [7, 8]
    assert [row["uid"] for row in found["b"]] == ["a" * 32, "b" * 32]
    assert "list_uid" not in found["b"][0]
    assert [row["list_uid"] for row in found["c"]] == ["a" * 32, None]
    assert found["c"][0]["uid"] == "a" * 32


@pytest.mark.parametrize(
    "error",
    [
        OSError("Invalid Error: Out of buffer"),  # DuckDB's, streamed through Arrow
        pa.ArrowInvalid("Column 1 named url expected length 3 but got length 2"),
        RuntimeError("TProtocolException: Invalid data"),
    ],
)
def test_an_error_of_a_reader_that_names_no_file_is_one_of_the_file_that_was_read(
    tmp_path: Path, error: Exception
) -> None:
    """Which of them comes of a damaged file is by chance, since several threads read it."""
    source = sources.Source("mine.parquet", tmp_path / "mine.parquet", "parquet")
    with (
        pytest.raises(UserError, match=r"mine\.parquet: the URL list is broken"),
        blaming([source]),
    ):
        raise error
    full = OSError("IO Error: Could not write file: No space left on device")
    with pytest.raises(OSError, match="No space left"), blaming([source]):
        raise full


def test_plain_and_quoted_lines_give_the_same_rows(tmp_path: Path) -> None:
    """Lines without a mark, with marks of the standard, and with others are read in three ways."""
    captions = ["plain", 'a "cat"', "two, three", "", " spaced ", "é 猫", "a\rb", "'", '5" nails']
    rows = [
        {"url": f"http://a.example/{n}.jpg", "caption": captions[n % m], "n": n % 7}
        for m in (1, 4, 9)
        for n in range(9_000)
    ]
    path = tmp_path / "list.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["url", "caption", "n"])
        writer.writeheader()
        writer.writerows(rows)
    found = frozen(make(tmp_path), path, samples_per_shard=10_000)
    told = [{"url": r["url"], "caption": r["caption"] or "", "n": r["n"]} for r in found]
    assert told == rows
    lists = sorted((tmp_path / "dataset/lists").glob("*.parquet"))
    places = [row for one in lists for row in pq.read_table(one)["source_row"].to_pylist()]
    assert places == list(range(2, len(rows) + 2))


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "txt"])
def test_lines_that_were_ended_twice_end_once(tmp_path: Path, kind: str) -> None:
    """As the csv module writes them on Windows into a file opened as text: a known mistake."""
    once = write(tmp_path / f"once.{kind}")
    text = once.read_bytes().replace(b"\r\n", b"\n")
    (tmp_path / f"twice.{kind}").write_bytes(text.replace(b"\n", b"\r\r\n"))
    twice = frozen(make(tmp_path, "twice"), tmp_path / f"twice.{kind}")
    assert twice == frozen(make(tmp_path, "once"), once)


def test_a_carriage_return_before_the_end_of_a_line_is_the_captions(tmp_path: Path) -> None:
    lines = ["url,caption", 'http://a.example/1,"one, two"', "http://a.example/2,x\r\r", ""]
    (tmp_path / "list.csv").write_text("\n".join(lines), newline="")
    found = frozen(make(tmp_path), tmp_path / "list.csv")
    assert [row["caption"] for row in found] == ["one, two", "x\r"]
