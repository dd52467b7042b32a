"""Every measurement can be started: its module imports and its --help says what it does."""

import importlib
import sys
from pathlib import Path

import pytest

import bench._common

NAMES = sorted(path.stem for path in bench._common.RESULTS.parent.glob("[a-z]*.py"))
OWN_COMMAND_LINE = (
    *("copies", "dedup", "demo", "download", "embed", "hybrid", "remove"),
    *("read", "resume", "steer", "steps"),
)


@pytest.mark.parametrize("name", NAMES)
def test_it_imports(name: str) -> None:
    assert importlib.import_module(f"bench.{name}").__doc__


@pytest.mark.parametrize("name", OWN_COMMAND_LINE)
def test_its_help_says_how_it_is_run(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module(f"bench.{name}")
    monkeypatch.setattr(sys, "argv", [f"bench.{name}", "--help"])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 0
    assert f"python -m bench.{name}" in capsys.readouterr().out


def test_a_command_s_time_memory_and_output_are_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench._common, "BENCH", tmp_path)
    code = "import sys, time; held = b'x' * 200_000_000; time.sleep(.5); print('done')"
    run = bench._common.run([sys.executable, "-c", code], "log")
    assert run.out == "done\n"
    assert run.sec >= 0.5
    assert 0 < run.cpu_sec < run.sec
    assert 200e6 < run.peak_bytes < 300e6


def test_a_command_that_fails_ends_the_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench._common, "BENCH", tmp_path)
    with pytest.raises(SystemExit, match="ended with 3"):
        bench._common.run([sys.executable, "-c", "raise SystemExit(3)"], "log")


def test_a_missed_goal_is_said_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench._common, "BENCH", tmp_path)
    goals = {"ratio": (">=", 5.0), "sec": ("<=", 1.0)}
    bench._common.keep("some", {"ratio": 4.9, "sec": 0.5}, goals)
    assert "MISSED" in capsys.readouterr().out
    assert (
        '"met": {\n  "ratio": false,\n  "sec": true\n }'
        in (tmp_path / "results" / "some.json").read_text()
    )


def test_a_run_of_one_s_own_leaves_the_published_figures_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench._common, "BENCH", tmp_path / "own")
    monkeypatch.setattr(bench._common, "RESULTS", tmp_path / "published")
    for argv, folder in (
        (["bench.some"], "own/results"),
        (["bench.some", "--publish"], "published"),
    ):
        monkeypatch.setattr(sys, "argv", argv)
        bench._common.keep("some", {"sec": 0.5}, {})
        assert [path.name for path in (tmp_path / folder).iterdir()] == ["some.json"]
        assert (tmp_path / "published").exists() == (folder == "published")
    assert bench._common.parser("x").parse_args(["--publish"]).publish


@pytest.mark.parametrize("name", NAMES)
def test_no_measurement_writes_over_published_figures(name: str) -> None:
    text = (bench._common.ROOT / "bench" / f"{name}.py").read_text(encoding="utf-8")
    assert '"results"' not in text
    assert "common.RESULTS" not in text
