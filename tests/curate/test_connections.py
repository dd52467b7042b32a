"""Connections to DuckDB: each has its own views, sees the files of now, and no others."""

import os
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from frenchcat.curate.connections import connection
from frenchcat.curate.dataset import Dataset


def numbers(folder: Path, value: int) -> str:
    """Write a parquet file of one number; gives the SQL that reads it."""
    path = folder / "numbers.parquet"
    pq.write_table(pa.table({"n": [value]}), path)
    os.utime(path, (0, 0))  # two files of one size and one time: nothing tells them apart
    return f"SELECT n FROM read_parquet('{path}')"


def test_views_and_tables_belong_to_their_connection(tmp_path: Path) -> None:
    dataset, sql = Dataset(str(tmp_path)), numbers(tmp_path, 7)
    with connection(dataset) as one, connection(dataset) as other:
        one.execute(f"CREATE TEMP VIEW mine AS {sql}")
        one.register("given", pa.table({"n": [1]}))
        assert one.execute("SELECT n FROM mine").fetchall() == [(7,)]
        for name in ("mine", "given"):
            with pytest.raises(duckdb.CatalogException):
                other.execute(f"SELECT * FROM {name}")


def test_a_file_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    dataset = Dataset(str(tmp_path))
    for value in (7, 8):
        with connection(dataset) as duck:
            assert duck.execute(numbers(tmp_path, value)).fetchall() == [(value,)]


def test_one_dataset_sees_nothing_of_another(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b", "ab")]
    for folder in folders:
        folder.mkdir()
    asked = [numbers(folder, 1) for folder in folders]
    for folder, own in zip(folders, asked, strict=True):
        with connection(Dataset(str(folder))) as duck:
            assert duck.execute(own).fetchall() == [(1,)]
            for other in asked:
                if other != own:
                    with pytest.raises(duckdb.PermissionException):
                        duck.execute(other)
            with pytest.raises(duckdb.InvalidInputException, match="locked"):
                duck.execute("SET enable_external_access = true")


def test_a_time_with_a_zone_is_told_in_utc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    with connection(Dataset(str(tmp_path))) as duck:
        sql = "SELECT (TIMESTAMPTZ '2024-01-02 03:04:05+00')::VARCHAR"
        assert duck.execute(sql).fetchall() == [("2024-01-02 03:04:05+00",)]


def test_a_connection_that_spills_takes_no_more_than_its_memory(tmp_path: Path) -> None:
    """Groups of 400,000 long texts are more than that."""
    dataset, spill = Dataset(str(tmp_path / "d")), tmp_path / "spill"
    for folder in (tmp_path / "d", spill):
        folder.mkdir()
    asked = numbers(tmp_path / "d", 1)
    with connection(dataset, spill) as duck:
        assert duck.execute(asked).fetchall() == [(1,)]
        with pytest.raises(duckdb.PermissionException):
            duck.execute(numbers(tmp_path, 2))
        texts = "SELECT repeat(i::VARCHAR, 150) AS text FROM range(400_000) AS numbers(i)"
        grouped = f"SELECT count(*) FROM (SELECT text, count(*) FROM ({texts}) GROUP BY 1)"
        assert duck.execute(grouped).fetchall() == [(400_000,)]
        limit = duck.execute("SELECT current_setting('memory_limit')").fetchall()
        assert limit == [("244.1 MiB",)]
