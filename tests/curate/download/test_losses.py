"""What a list's values lose by their column's type is named and counted, before and after."""

import datetime
import json
import resource
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.download.lists import Shape, freeze, relative
from frenchcat.curate.errors import NoSpace, UserError
from frenchcat.curate.promote import as_schema, digits_lost

ODD = 2**53 + 1  # the first whole number that no double holds
LOSES = "of the column 'n' that lose digits beside fractions: {}"


def listed(folder: Path, name: str, n: Any) -> Path:
    """A list with a column `n`; jsonl for a list of numbers, parquet for an Arrow array."""
    urls = [f"http://a.example/{name}/{row}.jpg" for row in range(len(n))]
    path = folder / name
    if isinstance(n, pa.Array):
        pq.write_table(pa.table({"url": urls, "n": n}), path)
    else:
        rows = [json.dumps({"url": url, "n": value}) for url, value in zip(urls, n, strict=True)]
        path.write_text("\n".join(rows))
    return path


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset.create(tmp_path / "d", "d")


def said(dataset: Dataset, capsys: pytest.CaptureFixture[str], *lists: Path) -> str:
    """What is told when they are frozen at one time, and recorded in dataset.json alike."""
    with dataset.lock():
        freeze(dataset, [str(path) for path in lists], Shape())
    told = capsys.readouterr().err
    given = dataset.manifest().entry("lists").given or ()
    notes = [note for file in given[-1].files for note in file.notes or ()]
    assert len(notes) == len(told.splitlines())
    assert all(note in told for note in notes)
    return told


def kept(dataset: Dataset, shard: str = "00000") -> list[Any]:
    found: list[Any] = pq.read_table(dataset.path(relative(shard)))["n"].to_pylist()
    return found


def test_whole_numbers_beside_fractions_in_one_json(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = said(dataset, capsys, listed(tmp_path, "a.jsonl", [1, ODD, -ODD, 2**53, 0.5]))
    assert LOSES.format("2 rows, the first is 2") in told
    assert kept(dataset) == [1, 2**53, -(2**53), 2**53, 0.5]


def test_nothing_is_said_where_nothing_is_lost(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = listed(tmp_path, "a.jsonl", [1, ODD])
    two = listed(tmp_path, "b.parquet", pa.array([3, 2**53, None]))
    three = listed(tmp_path, "c.parquet", pa.array([0.5]))
    assert said(dataset, capsys, one) == ""
    assert kept(dataset) == [1, ODD]
    assert said(Dataset.create(tmp_path / "e", "e"), capsys, two, three) == ""


def test_whole_numbers_in_one_file_and_fractions_in_another(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = listed(tmp_path, "a.parquet", pa.array([1, ODD, ODD + 2]))
    two = listed(tmp_path, "b.parquet", pa.array([0.5]))
    assert f"a.parquet: whole numbers {LOSES.format('2 rows, the first is 2')}" in said(
        dataset, capsys, one, two
    )


@pytest.mark.parametrize("whole_first", [True, False])
def test_whole_numbers_in_one_addition_and_fractions_in_another(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str], whole_first: bool
) -> None:
    whole = listed(tmp_path, "a.parquet", pa.array([1, ODD, ODD, None]))
    fractions = listed(tmp_path, "b.parquet", pa.array([0.5, 1.5]))
    order = [whole, fractions] if whole_first else [fractions, whole]
    assert said(dataset, capsys, order[0]) == ""
    assert LOSES.format(2).replace(" that", ", here and in rows that the dataset had, that") in (
        said(dataset, capsys, order[1])
    )


def test_durations_and_decimals_beyond_38_digits_are_named(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spans = pa.array([datetime.timedelta(seconds=2), None], pa.duration("ms"))
    told = said(dataset, capsys, listed(tmp_path, "a.parquet", spans))
    assert "durations of the column 'n' are kept as whole numbers, in ms" in told
    assert kept(dataset) == [2000, None]
    other = Dataset.create(tmp_path / "e", "e")
    decimals = pa.array([Decimal("1" * 40)], pa.decimal256(40, 0))
    told = said(other, capsys, listed(tmp_path, "b.parquet", decimals))
    assert "the column 'n' has decimals of 40 digits, of which the first 15 to 17 are kept" in told
    nested = pa.array([{"n": spans[0]}], pa.struct([("n", pa.duration("ms"))]))
    third = Dataset.create(tmp_path / "f", "f")
    assert "durations of the column 'n'" in said(
        third, capsys, listed(tmp_path, "c.parquet", nested)
    )


@pytest.mark.parametrize(
    ("values", "wanted", "lost"),
    [
        (pa.array([datetime.date(9999, 1, 1)]), pa.timestamp("us"), 0),
        (pa.array([ODD, 5, ODD, None]), pa.float64(), 2),
        (pa.array([2**63 - 1, -(2**63)]), pa.float64(), 1),
        (pa.array([2**64 - 1], pa.uint64()), pa.float64(), 1),
        (pa.array([Decimal("0.1"), Decimal("123456789012.78")]), pa.float64(), 0),
        (pa.array([Decimal("0.1234567890123456789")]), pa.float64(), 1),
        (pa.array([[1, ODD], None, [ODD]]), pa.list_(pa.float64()), 2),
        (pa.array([ODD]), pa.string(), 0),
        (pa.array([0.1], pa.float32()), pa.float64(), 0),
    ],
)
def test_digits_that_a_type_loses(values: pa.Array, wanted: pa.DataType, lost: int) -> None:
    assert digits_lost(pa.chunked_array([values]), wanted) == lost


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_a_list_that_does_not_fit_names_the_dataset_and_the_disk(
    dataset: Dataset, tmp_path: Path, kind: str
) -> None:
    numbers = list(range(3000))
    values: Any = pa.array(numbers) if kind == "parquet" else numbers
    path = listed(tmp_path, f"a.{kind}", values)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with dataset.lock():
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, before[1]))  # as on a full disk
        try:
            with pytest.raises(NoSpace) as refused:
                freeze(dataset, str(path), Shape())
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(refused.value).startswith(f"{dataset.root} cannot be written: the disk is full (")
    assert "rows.duckdb" not in str(refused.value)
    assert dataset.shards("lists") == []


@pytest.mark.parametrize(
    ("one", "lost"),
    [
        (pa.array([2**64 - 1, 5], pa.uint64()), "whole numbers"),
        (pa.array([Decimal("0.1234567890123456789"), Decimal("0.1")]), "decimals"),
    ],
)
def test_other_numbers_beside_fractions_in_one_list(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str], one: pa.Array, lost: str
) -> None:
    lists = [listed(tmp_path, "a.parquet", one), listed(tmp_path, "b.parquet", pa.array([0.5]))]
    told = said(dataset, capsys, *lists)
    assert f"a.parquet: {lost} {LOSES.format('1 row, the first is 1')}" in told


NS = 1_600_000_000_123_456_789
STAMPS = {
    "ns": pa.array([NS], pa.timestamp("ns")),
    "us": pa.array([1_600_000_000_123_456], pa.timestamp("us")),
    "ms": pa.array([1_600_000_000_123], pa.timestamp("ms")),
    "day": pa.array([datetime.date(2020, 9, 13)]),
    "zone ns": pa.array([NS], pa.timestamp("ns", "UTC")),
    "zone ms": pa.array([1_600_000_000_123], pa.timestamp("ms", "Europe/Paris")),
}


@pytest.mark.parametrize("together", [True, False], ids=["one list", "an addition"])
@pytest.mark.parametrize(
    ("one", "other"),
    [("ns", "us"), ("ms", "ns"), ("day", "ns"), ("zone ns", "zone ms"), ("zone ms", "zone ns")],
)
def test_times_of_other_units_keep_their_digits(
    dataset: Dataset, tmp_path: Path, together: bool, one: str, other: str
) -> None:
    lists = [listed(tmp_path, f"{name}.parquet", STAMPS[name]) for name in (one, other)]
    with dataset.lock():
        for some in [lists] if together else [[path] for path in lists]:
            freeze(dataset, [str(path) for path in some], Shape())
    found = [pq.read_table(dataset.path(relative(s)))["n"] for s in dataset.shards("lists")]
    wanted = pa.timestamp("ns", "UTC" if "zone" in one else None)
    given = [STAMPS[name].cast(wanted) for name in (one, other)]
    there = [part.cast(wanted) for column in found for part in column.chunks]
    assert pa.concat_arrays(there).equals(pa.concat_arrays(given))
    assert found[-1].type == wanted
    for column in found:  # as those who read the dataset bring it to one type
        as_schema(pa.table({"n": column}), pa.schema({"n": wanted}))


@pytest.mark.parametrize("together", [True, False], ids=["one list", "an addition"])
@pytest.mark.parametrize("first", [True, False])
def test_a_time_beyond_nanoseconds_is_refused_and_nothing_is_written(
    dataset: Dataset, tmp_path: Path, together: bool, first: bool
) -> None:
    """It would be refused whenever anything read the dataset."""
    late = pa.array([datetime.datetime(2020, 1, 1), datetime.datetime(9999, 12, 31)])
    lists = [listed(tmp_path, "late.parquet", late), listed(tmp_path, "ns.parquet", STAMPS["ns"])]
    lists = lists if first else lists[::-1]
    with dataset.lock():
        if not together:
            freeze(dataset, str(lists.pop(0)), Shape())
        before = dataset.shards("lists")
        where = r"late\.parquet: row 2: " if together else ""
        with pytest.raises(UserError, match=rf"^{where}9999-12-31 00:00:00 in the column 'n' does"):
            freeze(dataset, [str(path) for path in lists], Shape())
    assert dataset.shards("lists") == before
