"""The command line: quick help, documented verbs, a user's mistake is one line and status 2."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.removals import Request, log
from tests.command_line import main
from tests.sample.row import Row
from tests.sample.write import write

ROOT = Path(__file__).parents[2]


def frenchcat(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "frenchcat", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


def verbs() -> list[str]:
    """Every verb that is mounted."""
    from frenchcat.cli import VERBS

    return sorted(VERBS)


HEAVY = {"torch", "open_clip", "faiss", "duckdb", "pyarrow", "numpy", "aiohttp", "cv2", "pydantic"}


@pytest.mark.parametrize(("module", "at_most"), [("frenchcat.cli", 250), ("frenchcat", 120)])
def test_importing_it_loads_nothing_heavy(module: str, at_most: int) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    modules = loaded.stdout.split()
    assert HEAVY & set(modules) == set()
    assert len(modules) < at_most


def test_a_verb_that_is_mistyped_is_named_with_the_nearest() -> None:
    ended = frenchcat("serach")
    assert ended.returncode == 2
    assert "'search'" in ended.stderr


def test_info_does_without_pandas_and_the_other_verbs(tmp_path: Path) -> None:
    """Pandas takes longer to import than all the rest."""
    rows = [Row(), Row(failed="http_404: gone"), Row(reason="small"), Row(unembedded="undecodable")]
    dataset = Dataset.create(tmp_path / "d", "d")
    write(dataset, "00000", rows)
    log(dataset, Request(1, "key", "2026-01-01T00:00:00Z", keys=("000000000",)))
    code = (
        "import sys; from frenchcat.cli import main; sys.argv = ['frenchcat', 'info', 'd']\n"
        "try: main()\nfinally: print(*sys.modules)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    counted = dict(reversed(line.split()[:2]) for line in ended.stdout.splitlines()[1:])
    reasons = ("http_404", "small", "removed", "not_embedded:undecodable")
    assert [counted[reason] for reason in reasons] == ["1"] * 4
    left_out = {"pandas", "faiss", "torch", "frenchcat.commands.train"}
    assert left_out & set(ended.stdout.split()) == set()


@pytest.mark.slow  # it measures time, so it wants a quiet machine
def test_help_answers_in_half_a_second() -> None:
    spent = []
    for _ in range(3):
        began = time.perf_counter()
        assert frenchcat("--help").returncode == 0
        spent.append(time.perf_counter() - began)
    assert min(spent) < 0.5


@pytest.mark.parametrize("verb", verbs())
def test_every_verb_has_help_with_an_example(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    assert main(monkeypatch, verb, "--help") == 0
    shown = capsys.readouterr().out
    assert f"frenchcat {verb}" in " ".join(shown.split())
    assert "Example" in shown


@pytest.mark.parametrize("verb", verbs())
def test_every_verb_is_in_the_docs(verb: str) -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    assert any(f"frenchcat {verb}" in page.read_text() for page in pages)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["build", "nowhere.parquet", "--out", "new"], "nowhere.parquet"),
        (["build", "list.csv", "--out", "new"], "column"),
        (["build", "empty.csv", "--out", "new"], "empty"),
        (
            ["build", "good.csv", "--out", "new", "--set", "download.resize.image_sise=3"],
            "image_size",
        ),
        (["build", "good.csv", "--out", "new", "--config", "vit-b-33"], "vit-b-32"),
        (["build", "good.csv", "--out", "new", "--engine", "spark"], "spark"),
        (["build", "good.csv", "--out", "taken"], "taken"),
        (["info", "nothing"], "is not a dataset"),
        (["search", "nothing", "cat"], "is not a dataset"),
        (["embed", "nothing"], "is not a dataset"),
        (["index", "nothing"], "is not a dataset"),
        (["download", "--retry-failed", "--out", "nothing"], "is not a dataset"),
        (["download", "a.csv", "--retry-failed", "--out", "d"], "takes no list: leave out a.csv"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    (tmp_path / "list.csv").write_text("address,words\nhttp://a/b.jpg,a cat\n")
    (tmp_path / "empty.csv").write_text("url,caption\n")
    (tmp_path / "good.csv").write_text("url,caption\nhttp://127.0.0.1:1/b.jpg,a cat\n")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    assert main(monkeypatch, *arguments) == 2
    ended = capsys.readouterr()
    assert said in ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert ended.out == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_no_arguments_show_help_and_version_is_said() -> None:
    assert "demo" in frenchcat().stdout
    assert frenchcat("--version").stdout.startswith("frenchcat ")


def test_info_json_is_one_object(tmp_path: Path) -> None:
    from frenchcat.curate.dataset import Dataset

    Dataset.create(tmp_path / "d", "d")
    shown = json.loads(frenchcat("info", str(tmp_path / "d"), "--json").stdout)
    assert shown["downloaded"] == 0
    assert {"failed", "embedded", "kept", "dropped", "indexed", "model"} <= set(shown)
