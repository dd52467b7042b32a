"""What is printed: safe for a terminal, whole in a pipe, JSON; a mistake is one line."""

import json
import logging
import math
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from frenchcat import cli
from frenchcat.cli import app
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.download.lists import Shape, freeze
from frenchcat.curate.info import Info
from frenchcat.curate.known_columns import KnownColumn
from frenchcat.curate.notices import notice
from frenchcat.index.hit import Hit
from frenchcat.progress import Bars
from frenchcat.tables import hits_table, info_table
from frenchcat.terminal import LogFormatter, say, say_json, tell, terminal
from tests.command_line import main
from tests.curate.test_json_text import strict
from tests.curate.test_safe_text import obeyed
from tests.frenchcat.test_cli import verbs
from tests.sample.columns import set_columns
from tests.sample.embedded import embedded
from tests.sample.vectors import unit_rows

EVIL = "\x1b]0;owned\x07\x1b[31mred \x9b31m \u202egpj"
LONG_URL = "http://example.org/" + "x" * 400 + ".jpg"


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr()
    return said.out + said.err


def test_a_table_of_strangers_texts_is_safe_and_short(capsys: pytest.CaptureFixture[str]) -> None:
    long = Hit("2", 0.4, "u", "y" * 1_000_000)
    hits_table([Hit("1", 0.5, EVIL, EVIL), long, Hit("3", 0.3, None, None)])
    said = printed(capsys)
    assert set(obeyed(said)) == {"\n"}
    assert "red" in said
    assert len(said) < 5_000


def test_on_a_terminal_only_its_own_styles_are_obeyed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    hits_table([Hit("1", 0.5, EVIL, EVIL), Hit("2", 0.4, "u", "y" * 1_000_000)])
    said = printed(capsys)
    assert "\x1b[1m" in said  # the heading
    assert "\x1b]" not in said
    assert "\x1b[31m" not in said
    assert set(obeyed(said)) == {"\n", "\x1b"}
    assert len(said.splitlines()) < 40


def test_a_pipe_gets_whole_lines(capsys: pytest.CaptureFixture[str]) -> None:
    hits_table([Hit("1", 0.5, LONG_URL, "a cat " * 30)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[1].endswith(LONG_URL)
    assert "a cat " * 29 in lines[1]
    assert all(line == line.rstrip() for line in lines)


def test_markup_and_emoji_names_are_texts(capsys: pytest.CaptureFixture[str]) -> None:
    hits_table([Hit("1", 0.5, "http://a/[b]", "[red]:cat:[/red] \\")])
    terminal().print(":bird:")
    info_table(Info("[bold]:dog:", failed_reasons={"[x]": 1}))
    said = printed(capsys)
    for text in ("[red]:cat:[/red] \\", "http://a/[b]", ":bird:", "[bold]:dog:", "[x]"):
        assert text in said


def test_a_removal_shows_its_rows_safely(tmp_path: Path) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(3))
    set_columns(dataset, "shards/00000.parquet", caption=[EVIL, "z" * 1_000_000, None])
    done = CliRunner().invoke(app, ["remove", dataset.root, "--domain", "example.org"])
    assert set(obeyed(done.output)) == {"\n"}
    assert len(done.output) < 5_000
    told = CliRunner().invoke(app, ["remove", dataset.root, "--domain", "example.org", "--json"])
    assert set(obeyed(told.stdout)) == {"\n"}
    assert strict(told.stdout.splitlines()[0])["caption"] == EVIL


def test_lines_json_bars_and_logs_are_safe(capsys: pytest.CaptureFixture[str]) -> None:
    say(EVIL)
    tell("x" * 1_000_000)
    say_json({"caption": EVIL, "score": math.nan, "nested": [{"a": -math.inf}], "raw": b"\xff"})
    Bars().begin(EVIL, 0)
    try:
        raise ValueError(EVIL)
    except ValueError:
        record = logging.LogRecord("x", 30, "", 1, "%s\nfailed", (EVIL,), sys.exc_info())
    print(LogFormatter("frenchcat: %(message)s").format(record))
    said = printed(capsys)
    assert set(obeyed(said)) == {"\n"}
    assert len(said) < 10_000
    assert strict(said.splitlines()[1])["score"] is None
    (line,) = [line for line in said.splitlines() if "failed" in line]
    assert line.startswith("frenchcat: ")


def test_what_a_list_is_told_of_is_safe_and_short(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """File names and columns are the list's, and a stage prints them while it runs."""
    folder = tmp_path / "lists"
    folder.mkdir()
    (folder / f"{EVIL}.jsonl").write_text('{"url": "u", "n": 9007199254740993}\n{"n": 0.5}\n')
    (folder / f"no list {EVIL}.txt").write_text("words")
    dataset = Dataset.create(tmp_path / "d", "d")
    with dataset.lock():
        freeze(dataset, str(folder), Shape())
    notice("y" * 1_000_000)
    said = printed(capsys)
    assert "lose digits" in said
    assert "left out" in said
    assert set(obeyed(said)) == {"\n"}
    info_table(Info("d", columns={EVIL + "z" * 1_000_000: KnownColumn("BIGINT", "list", EVIL)}))
    assert len(said) + len(printed(capsys)) < 10_000


def test_a_mistake_with_a_strangers_text_is_one_safe_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(monkeypatch, "info", str(tmp_path / f"none{EVIL}\n\n")) == 2
    said = capsys.readouterr()
    assert obeyed(said.err) == ["\n"]
    assert said.out == ""


def test_a_system_that_refuses_is_one_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    Dataset.create(tmp_path / "d", "d")
    (tmp_path / "d" / "dataset.json").unlink()
    (tmp_path / "d" / "dataset.json").mkdir()
    assert main(monkeypatch, "info", str(tmp_path / "d")) == 2
    said = capsys.readouterr()
    assert said.err == f"frenchcat: {tmp_path}/d/dataset.json is a folder; name a file\n"
    page = ("report", str(embedded(tmp_path / "e", unit_rows(2)).root), "--out", "/sys/page.html")
    assert main(monkeypatch, *page) == 2
    assert capsys.readouterr().err.startswith("frenchcat: /sys cannot be written")


def test_a_fault_of_ours_keeps_its_traceback_without_what_a_terminal_obeys(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError(f"ours {EVIL}")

    monkeypatch.setattr(cli, "app", broken)
    monkeypatch.setattr(sys, "argv", ["frenchcat"])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    with pytest.raises(ValueError, match="ours") as caught:
        cli.main()
    sys.excepthook(caught.type, caught.value, caught.tb)
    said = capsys.readouterr().err
    assert said.startswith("Traceback")
    assert "ValueError: ours" in said
    assert set(obeyed(said)) == {"\n"}


def shown(*arguments: str) -> str:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize("verb", verbs())
def test_every_verb_prints_json_and_has_examples_that_can_be_copied(verb: str) -> None:
    help_ = shown(verb, "-h")
    assert "--json" in help_ or verb == "mcp"  # whose standard output is the protocol's
    assert help_ == shown(verb, "--help")
    examples = [
        line.strip().removeprefix("Example: ")
        for line in help_.splitlines()
        if line.strip().startswith("Example: ")
    ]
    assert examples
    for example in examples:
        program, name, *_ = shlex.split(example)  # raises where a quote is not closed
        assert (program, name) == ("frenchcat", verb)


def test_help_shows_brackets_completion_and_exit_statuses() -> None:
    assert "[clip]" in shown("adopt", "--help")
    whole = " ".join(shown("-h").split())
    assert "--install-completion" in whole
    for status in ("0 done", "2 a mistake", "130 stopped by Ctrl-C"):
        assert status in whole


def test_json_of_a_verb_is_json_whatever_the_columns_hold(tmp_path: Path) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(2))
    odd: list[dict[str, Any]] = [{"a": math.nan, "b": EVIL}, {"a": math.inf, "b": None}]
    set_columns(dataset, "shards/00000.parquet", caption=[json.dumps(one) for one in odd])
    other = embedded(tmp_path / "e", unit_rows(2))
    told = CliRunner().invoke(app, ["diff", dataset.root, other.root, "--json"])
    assert told.exit_code == 0, told.output
    assert len([strict(line) for line in told.stdout.splitlines()]) == 2
