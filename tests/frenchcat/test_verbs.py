"""The verbs over what is stored: their JSON is the library's answer, their status tells the end."""

import json
import os
import pty
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from frenchcat.cli import app
from frenchcat.commands.build import agreed
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import AlreadyThere, ConfirmationNeeded, UserError
from frenchcat.curate.info import info as count
from frenchcat.curate.select import Choice, open_selection
from frenchcat.curate.select import select as choose
from frenchcat.index.build import build_index
from tests.command_line import main
from tests.sample.embedded import embedded
from tests.sample.vectors import unit_rows
from tests.trees import tree_digest

KEY = "000000007"


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    made = embedded(tmp_path / "d", unit_rows(30))
    build_index(made)
    return made


def call(*arguments: str) -> Result:
    """What the command line did. Raises what the command raises."""
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def objects(*arguments: str) -> list[dict[str, Any]]:
    done = call(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_select_passes_on_all_that_it_is_told(dataset: Dataset) -> None:
    given = {
        **{"--where": "key < '000000020'", "--limit": "6", "--balance": "width", "--seed": "5"},
        **{"--weight": "2", "--label": "caption"},
    }
    (told,) = objects(
        "select", dataset.root, "some", *[one for pair in given.items() for one in pair]
    )
    choice = Choice("key < '000000020'", 6, "width", "2", 5, "caption")
    wanted = choose(dataset, "again", choice)
    found = open_selection(dataset, "some")
    assert (told["name"], told["rows"], told["digest"]) == ("some", 6, found.digest)
    assert found.table.equals(wanted.table)
    other = choose(dataset, "other", Choice("key < '000000020'", 6, "width", "2", 6, "caption"))
    assert not found.table.equals(other.table)


def test_select_takes_another_selection_s_name_only_with_replace(dataset: Dataset) -> None:
    call("select", dataset.root, "some", "--where", "key < '000000020'")
    other = ("select", dataset.root, "some", "--where", "key < '000000010'")
    with pytest.raises(AlreadyThere, match=r"20 rows .*--replace"):
        call(*other)
    assert len(open_selection(dataset, "some")) == 20
    call(*other, "--replace")
    assert len(open_selection(dataset, "some")) == 10


def test_export_writes_the_selection_in_the_format_that_was_asked(
    dataset: Dataset, tmp_path: Path
) -> None:
    choose(dataset, "some", Choice("key < '000000010'"))
    assert call("export", dataset.root, "some", "--to", str(tmp_path / "tars")).exit_code == 0
    assert list((tmp_path / "tars").glob("*.tar"))
    call("export", dataset.root, "some", "--to", str(tmp_path / "csv"), "--format", "csv")
    (file,) = (tmp_path / "csv").glob("*.csv")
    assert file.read_text().count("\n") == 11
    with pytest.raises(UserError, match="tfrecord"):
        call("export", dataset.root, "some", "--to", str(tmp_path / "x"), "--format", "tfrecord")


def test_export_says_what_it_wrote_and_what_it_left_out(dataset: Dataset, tmp_path: Path) -> None:
    weight = "CASE WHEN key = '000000003' THEN 0 ELSE 1 END"
    choose(dataset, "some", Choice("key < '000000010'", weight=weight, label="caption"))
    done = call("export", dataset.root, "some", "--to", str(tmp_path / "a"), "--format", "datacomp")
    size = (tmp_path / "a/some.npy").stat().st_size
    assert done.stdout == (
        f"wrote {tmp_path / 'a'}: 9 rows, {size} bytes; 1 rows refused: weight_rounds_to_0 1\n"
    )
    assert "left out: labels" in done.stderr
    assert "export: 10 rows" in done.stderr
    (told,) = objects(
        "export", dataset.root, "some", "--to", str(tmp_path / "b"), "--format", "csv"
    )
    assert told == {
        **{"folder": str(tmp_path / "b"), "format": "csv", "rows": 10, "refused": {}},
        **{"bytes": (tmp_path / "b/some.csv").stat().st_size, "left_out": []},
    }


def test_without_a_yes_nothing_is_removed(dataset: Dataset, tmp_path: Path) -> None:
    before = tree_digest(tmp_path / "d")
    done = call("remove", dataset.root, "--key", KEY)
    assert (done.exit_code, "nothing was removed" in done.stderr) == (1, True)
    after = tree_digest(tmp_path / "d")
    assert {n: d for n, d in after.items() if "lock" not in n} == {
        n: d for n, d in before.items() if "lock" not in n
    }


@pytest.fixture
def ended_terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A terminal at which Ctrl-D was pressed."""
    keyboard, screen = pty.openpty()
    os.write(keyboard, b"\x04\x04")
    with open(screen, encoding="utf-8") as stdin, monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", stdin)
        yield
    os.close(keyboard)


def test_an_end_of_input_at_a_question_is_a_line_with_the_cure(
    dataset: Dataset,
    ended_terminal: None,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert main(monkeypatch, "remove", dataset.root, "--key", KEY) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[-2:] == ["add --yes to remove without a question", "nothing was removed"]
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    def costly(yes: bool) -> None:
        raise ConfirmationNeeded("2 shards will be embedded again", "say --yes")

    with pytest.raises(ConfirmationNeeded, match="say --yes"):
        agreed(False, costly)


def test_removed_checked_compacted_and_checked_again(dataset: Dataset) -> None:
    assert call("remove", dataset.root, "--check").exit_code == 0
    (match,) = objects("remove", dataset.root, "--key", KEY, "--yes", "--note", "asked by Ann")
    assert match == {
        "key": KEY,
        "url": f"http://example.org/{KEY}.png",
        "caption": f"caption of {KEY}",
        "why": match["why"],
    }
    left = call("remove", dataset.root, "--check", "--json")
    assert left.exit_code == 1
    traces = [json.loads(line) for line in left.stdout.splitlines()]
    assert {"file", "what"} == set(traces[0])
    assert "shards/00000.tar" in {trace["file"] for trace in traces}
    assert "1 rows taken out of 1 shards" in call("compact", dataset.root).stdout
    clean = call("remove", dataset.root, "--check", "--json")
    assert (clean.exit_code, clean.stdout) == (0, "")


@pytest.mark.parametrize("given", [[], ["--key", KEY, "--url", "http://example.org/x.png"]])
def test_one_wish_at_a_time(dataset: Dataset, given: list[str]) -> None:
    with pytest.raises(UserError, match="say what to remove with one of"):
        call("remove", dataset.root, *given, "--yes")


def test_lineage_is_an_object_a_file_back_to_the_list(dataset: Dataset) -> None:
    made = objects("lineage", dataset.root, "shards/00000.tar")
    assert made[0]["file"] == "shards/00000.tar"
    assert all({"file", "made_by", "sha256"} <= set(one) for one in made)


def test_diff_is_an_object_a_change(dataset: Dataset, tmp_path: Path) -> None:
    other = embedded(tmp_path / "e", unit_rows(28))
    assert objects("diff", dataset.root, dataset.root) == []
    changes = objects("diff", dataset.root, other.root)
    assert [one["change"] for one in changes] == ["removed", "removed"]
    assert [one["change"] for one in objects("diff", other.root, dataset.root)] == ["added"] * 2


def test_info_is_the_librarys_count(dataset: Dataset) -> None:
    (told,) = objects("info", dataset.root)
    assert told == json.loads(json.dumps(count(dataset).as_dict()))
    assert (told["downloaded"], told["indexed"]) == (30, 30)
    assert "30 downloaded" in " ".join(call("info", dataset.root).stdout.split())


def test_rows_are_kept_and_dropped_by_hand_and_that_is_taken_back(dataset: Dataset) -> None:
    (made,) = objects("drop", dataset.root, KEY, "000000008", "--note", "upside down")
    assert (made["number"], made["keep"], made["note"]) == (1, False, "upside down")
    assert made["keys"] == [KEY, "000000008"]
    assert count(dataset).dropped == {"by_hand": 2}
    (kept,) = objects("keep", dataset.root, "--where", f"key = '{KEY}' and reason = 'by_hand'")
    assert kept["keys"] == [KEY]
    assert count(dataset).dropped == {"by_hand": 1}
    (undone,) = objects("decisions", dataset.root, "--undo", "2")
    assert undone == {"undone": 2, "rows": 1}
    listed = objects("decisions", dataset.root)
    assert [(one["number"], one["undoes"]) for one in listed] == [(1, None), (2, None), (3, 2)]
    said = call("decisions", dataset.root).stdout.splitlines()
    assert "drop 2 rows  upside down" in said[0]
    assert "keep 1 rows, undone" in said[1]
    assert "undoes 2" in said[2]
    with pytest.raises(UserError, match="no row meets"):
        call("keep", dataset.root, "--where", "width < 0")
