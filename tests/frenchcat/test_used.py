"""The verb `used`: rows by every way of asking, the selections and runs that have them."""

import hashlib
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import frenchcat
from frenchcat.cli import app
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import NotFound, UserError
from frenchcat.curate.removals import Request, log, removed
from frenchcat.curate.select import Choice, select
from frenchcat.statement import KIND, page_of, write_statement
from frenchcat.train.credentials import own_credentials
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
    with pytest.raises(NotFound, match=r"no run beside .* no checkpoint 'best'; name .* --run"):
        used(dataset, "--key", KEYS[0], "--checkpoint", "best")
    assert not dataset.exists("removals")


def test_it_is_said_in_words(dataset: Dataset) -> None:
    done = CliRunner().invoke(app, ["used", dataset.root, "--domain", "a.example"])
    assert "2 rows match" in done.stdout
    assert "selection first: 1 of these rows" in done.stdout


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the signing key is kept."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_what_was_found_is_removed_and_stated(dataset: Dataset, tmp_path: Path, home: Path) -> None:
    folder = tmp_path / "answer"
    asked = ("--creator", "Ada Example", "--remove", "--yes", "--note", "mail")
    assert used(dataset, *asked, "--statement", str(folder))[0] == 0
    (request,) = removed(dataset).requests
    assert (request.keys, request.note) == (tuple(KEYS[:2]), "mail")
    assert len(request.url_hashes) == 2
    assert used(dataset, "--creator", "Ada Example")[0] == 1
    value = json.loads((folder / "statement.json").read_text())
    assert value["asked"] == {"creator": "Ada Example"}
    assert [row["url"] for row in value["found"]["rows"]] == [
        "http://a.example/0.png",
        "http://b.example/1.png",
    ]
    assert value["found"]["selections"] == {"first": 2}
    assert value["removal"] == {"request": 1, "time": request.time, "rows": 2}
    page = (folder / "statement.html").read_text()
    assert "Removal request 1" in page
    assert "http://b.example/1.png" in page
    found = frenchcat.verify(folder / "statement.json")
    assert (found["intact"], found["key"], found["page"]) == (True, "own", True)


@pytest.mark.parametrize("name", ["statement.json", "statement.html"])
def test_a_statement_that_was_changed_is_not_verified(
    dataset: Dataset, tmp_path: Path, home: Path, name: str
) -> None:
    folder = tmp_path / "answer"
    assert used(dataset, "--key", KEYS[0], "--statement", str(folder))[0] == 0
    assert "Nothing was removed" in (folder / "statement.html").read_text()
    path = folder / name
    path.write_text(path.read_text().replace("a.example", "b.example"))
    done = CliRunner().invoke(app, ["verify", str(folder / "statement.json")])
    assert done.exit_code == 1
    assert "CHANGED" in done.stdout


@pytest.mark.parametrize(
    ("time", "said"),
    [
        ("1999-01-01T00:00:00+00:00", "outside the validity of the signer's certificate"),
        ("2999-01-01T00:00:00+00:00", "lies after this machine's clock"),
        ("yesterday", "its time is 'yesterday', which is not a time"),
        ("2026-05-03T10:00:00", "which is not a time"),
    ],
)
def test_a_statement_of_another_clock_is_told(
    dataset: Dataset, tmp_path: Path, home: Path, time: str, said: str
) -> None:
    folder = tmp_path / "answer"
    assert used(dataset, "--key", KEYS[0], "--statement", str(folder))[0] == 0
    assert frenchcat.verify(folder / "statement.json")["doubts"] == []
    value = json.loads((folder / "statement.json").read_text()) | {"time": time}
    write_statement(value, tmp_path / "other", own_credentials())
    done = CliRunner().invoke(app, ["verify", str(tmp_path / "other" / "statement.json")])
    assert done.exit_code == 0  # as it was signed
    assert said in done.stdout.splitlines()[-1] or said in done.stdout.splitlines()[-2]


def test_a_statement_from_which_no_page_follows_is_not_the_page_beside_it(
    dataset: Dataset, tmp_path: Path, home: Path
) -> None:
    folder = tmp_path / "answer"
    assert used(dataset, "--key", KEYS[0], "--statement", str(folder))[0] == 0
    path = folder / "statement.json"
    path.write_text(json.dumps({"kind": KIND, "found": 3}))
    assert CliRunner().invoke(app, ["verify", str(path)]).exit_code == 1


def test_a_removal_by_a_clock_behind_the_log_is_refused(dataset: Dataset) -> None:
    log(dataset, Request(1, "key", "2999-01-01T00:00:00+00:00"))
    for call in (
        lambda: used(dataset, "--key", KEYS[0], "--remove", "--yes"),
        lambda: frenchcat.open(dataset.root).remove(key=KEYS[0]),
        lambda: frenchcat.open(dataset.root).undo_removal(1),
    ):
        with pytest.raises(UserError, match=r"clock says .* removal 1 .* 2999-.*set the clock"):
            call()
    assert len(removed(dataset).requests) == 1


def test_a_wrong_clock_or_a_taken_folder_stops_before_anything_is_removed(
    dataset: Dataset, tmp_path: Path, home: Path
) -> None:
    log(dataset, Request(1, "key", "2999-01-01T00:00:00+00:00"))
    with pytest.raises(UserError, match=r"clock says .* removal 1 .* 2999-.*set the clock"):
        used(dataset, "--key", KEYS[0], "--remove", "--yes", "--statement", str(tmp_path / "a"))
    with pytest.raises(UserError, match="already exists and contains"):
        used(dataset, "--key", KEYS[0], "--remove", "--yes", "--statement", dataset.root)
    assert len(removed(dataset).requests) == 1
    with pytest.raises(UserError, match="no row names 'nobody' as its creator"):
        used(dataset, "--creator", "nobody", "--remove", "--yes")
    with pytest.raises(UserError, match="add --statement"):
        used(dataset, "--key", KEYS[0], "--signing-key", "k.pem")


def test_without_a_terminal_nothing_is_removed_unasked(dataset: Dataset) -> None:
    assert used(dataset, "--key", KEYS[0], "--remove")[0] == 1
    assert not removed(dataset)


def test_a_statement_that_was_signed_once_keeps_its_page() -> None:
    """`verify` makes the page of a statement again, so other bytes would make old ones suspect."""
    said = {
        "asked": {"key": "000000003"},
        "dataset": "mine",
        "time": "2026-05-03T10:00:00+00:00",
        "found": {
            "rows": [{"key": "000000003", "why": "key", "url": "http://a.b/c.jpg", "sha256": "00"}],
            "selections": {"cats": 1},
            "runs": [],
        },
        "removal": None,
        "cannot_forget": [],
        "limits": ["a limit"],
        "made_by": "frenchcat 0.1.0",
    }
    page = page_of(json.dumps(said).encode()).encode()
    expected = "b08f30884ac67607e471b3bafd9867f11d0e37c9acaf412bc46e9902a12f2585"
    assert hashlib.sha256(page).hexdigest() == expected
