"""A request is undone: its rows are there again, unless they were compacted away."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from frenchcat.cli import app
from frenchcat.curate.catalog import Catalog
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import NotFound, UserError
from frenchcat.curate.removals import removed, removed_keys
from frenchcat.curate.remove import RemovalQuery, compact, matches, remove, undo
from tests.sample.embedded import embedded
from tests.sample.vectors import unit_rows

KEY = "000000002"


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return embedded(tmp_path / "d", unit_rows(4))


def take_out(dataset: Dataset, key: str = KEY) -> None:
    query = RemovalQuery("key", key)
    with dataset.lock():
        remove(dataset, query, matches(dataset, query))


def keys(dataset: Dataset) -> list[str]:
    with Catalog(dataset) as catalog:
        found: list[str] = catalog.table(["key"], order="key")["key"].to_pylist()
    return found


def test_what_is_undone_is_there_again_and_may_be_crawled(dataset: Dataset) -> None:
    there = keys(dataset)
    first = dataset.files("removals")
    take_out(dataset)
    take_out(dataset, "000000003")
    log = dataset.read_bytes("removals/000001.json")
    assert keys(dataset) == there[:2]
    with dataset.lock():
        assert undo(dataset, 1, "a mistake").keys == (KEY,)
    assert keys(dataset) == there[:3]
    gone = removed(dataset)
    assert gone.keys == {"000000003"}
    assert len(gone.url_hashes) == len(gone.uid_hashes) == len(gone.vectors) == 1
    assert first == []
    assert dataset.read_bytes("removals/000001.json") == log  # the log only grows
    assert dataset.read_json("removals/000003.json")["undoes"] == 1
    assert "undoes" not in dataset.read_json("removals/000002.json")
    take_out(dataset)
    assert keys(dataset) == there[:2]


def test_what_cannot_be_undone_is_said(dataset: Dataset) -> None:
    with pytest.raises(NotFound, match="no removal request 1"):
        undo(dataset, 1)
    take_out(dataset)
    with dataset.lock():
        undo(dataset, 1)
        with pytest.raises(UserError, match="request 1 is already undone"):
            undo(dataset, 1)
        with pytest.raises(UserError, match="request 2 undoes 1"):
            undo(dataset, 2)
    take_out(dataset)
    with dataset.lock():
        compact(dataset)
        with pytest.raises(UserError, match=f"frenchcat compact took 1 of its rows away .{KEY}"):
            undo(dataset, 3)
    assert removed_keys(dataset) == {KEY}


def test_the_verb_says_how_and_does_it(dataset: Dataset) -> None:
    told = CliRunner().invoke(app, ["remove", dataset.root, "--key", KEY, "--yes"])
    assert f"frenchcat remove {dataset.root} --undo 1" in told.stderr
    done = CliRunner().invoke(app, ["remove", dataset.root, "--undo", "1", "--json"])
    assert (done.exit_code, done.stdout) == (0, '{"undone": 1, "rows": 1}\n')
    assert removed_keys(dataset) == frozenset()
