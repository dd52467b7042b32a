"""The verb `used`: rows by every way of asking, the selections and runs that have them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from frenchcat.cli import app
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import NotFound, UserError
from frenchcat.curate.select import Choice, select
from tests.sample.row import Row
from tests.sample.write import write

KEYS = [f"00000000{number}" for number in range(4)]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    made = Dataset.create(tmp_path / "d", "d")
    signed = ("creator", "Ada Example", None)
    rows = [
        Row(url="http://a.example/0.png", columns={"artist": "ada example "}),
        Row(url="http://b.example/1.png", columns={"artist": "Bo"}, signals=[signed]),
        Row(url="http://sub.a.example/2.png", columns={"artist": None}),
        Row(url="http://c.example/3.png", columns={"artist": "Ada"}),
    ]
    write(made, "00000", rows)
    with made.lock():
        select(made, "first", Choice(where="key < '000000002'"))
        select(made, "last", Choice(where="key = '000000003'"))
    return made


def used(dataset: Dataset, *arguments: str) -> tuple[int, dict[str, object]]:
    """Exit status and what --json prints. Raises what the verb raises."""
    command = ["used", dataset.root, *arguments, "--json"]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    return done.exit_code, json.loads(done.stdout)


@pytest.mark.parametrize(
    ("asked", "rows"),
    [
        (("--domain", "a.example"), [0, 2]),
        (("--url", "http://b.example/1.png"), [1]),
        (("--key", KEYS[3]), [3]),
        (("--creator", "Ada Example"), [0, 1]),
        (("--creator", "nobody"), []),
    ],
)
def test_rows_are_found_and_counted_in_each_selection(
    dataset: Dataset, asked: tuple[str, ...], rows: list[int]
) -> None:
    status, found = used(dataset, *asked)
    assert status == (0 if rows else 1)
    assert [row["key"] for row in found["rows"]] == [KEYS[n] for n in rows]  # type: ignore[attr-defined]
    first, last = sum(n < 2 for n in rows), sum(n == 3 for n in rows)
    assert found["selections"] == {
        name: count for name, count in (("first", first), ("last", last)) if count
    }
    assert found["runs"] == []


def test_a_mistake_is_told_and_nothing_is_removed(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="say what to look for with one of --url, --domain"):
        used(dataset)
    with pytest.raises(NotFound, match="is not a run"):
        used(dataset, "--key", KEYS[0], "--run", str(tmp_path))
    assert not dataset.exists("removals")


def test_it_is_said_in_words(dataset: Dataset) -> None:
    done = CliRunner().invoke(app, ["used", dataset.root, "--domain", "a.example"])
    assert "2 rows match" in done.stdout
    assert "selection first: 1 of these rows" in done.stdout
