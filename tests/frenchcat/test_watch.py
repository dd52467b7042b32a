"""What a build tells programs: a log of JSON lines, figures for Prometheus, the board of them."""

import json
import re
import socket
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from frenchcat.cli import app
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.curate.run_stage import run_stage
from frenchcat.curate.stage import Engine, Progress
from frenchcat.progress import StageClock, lasting
from frenchcat.watch import watched
from tests.curate.download.loopback import healthy, serve
from tests.sample.stages import Times

SHARDS = ["00000", "00001", "00002"]
BOARD = Path(__file__).parents[2] / "docs" / "grafana" / "build.json"


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset.create(tmp_path / "d", "d")


def run(dataset: Dataset, progress: Progress, fail_at: str | None = None) -> None:
    how = {} if fail_at is None else {"fail_at": fail_at}
    run_stage(dataset, Times(**how), SHARDS, Engine(workers=1), progress)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def figures(text: str) -> dict[tuple[str, ...], float]:
    """Name and labels -> value."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_log_has_each_shard_and_what_the_stage_came_to(
    dataset: Dataset, tmp_path: Path
) -> None:
    log = tmp_path / "build.jsonl"
    with watched(log) as progress:
        run(dataset, progress)
    begins, *shards, ends = lines(log)
    assert (begins["event"], begins["stage"], begins["shards"]) == ("stage_begins", "times", 3)
    assert [one["shard"] for one in shards] == SHARDS
    assert [one["shards_done"] for one in shards] == [1, 2, 3]
    assert shards[-1]["remaining_sec"] == 0
    assert shards[0]["counts"]["rows"] == 1
    assert (ends["event"], ends["shards_done"], ends["shards"]) == ("stage_ends", 3, 3)
    times = [one["time"] for one in lines(log)]
    assert times == sorted(times)
    with watched(log) as progress:  # goes on behind what is there
        run(dataset, progress)
    assert [one["event"] for one in lines(log)[5:]] == ["stage_begins", "stage_ends"]


def test_a_failure_is_in_the_log_and_in_the_figures(dataset: Dataset, tmp_path: Path) -> None:
    log, prom = tmp_path / "build.jsonl", tmp_path / "build.prom"
    with pytest.raises(ValueError, match="shard 00001 is bad"), watched(log, str(prom)) as progress:
        run(dataset, progress, fail_at="00001")
    failed = lines(log)[-1]
    assert (failed["event"], failed["stage"]) == ("failed", "times")
    assert "shard 00001 is bad" in failed["error"]
    found = figures(prom.read_text())
    assert found["frenchcat_build_failed",] == 1
    assert found["frenchcat_build_running", "times"] == 0
    assert found["frenchcat_build_shards_done", "times"] == 1


def test_figures_are_in_a_file_for_node_exporter(dataset: Dataset, tmp_path: Path) -> None:
    prom = tmp_path / "build.prom"
    with watched(metrics=str(prom)) as progress:
        progress.begin("before", 1)
        assert figures(prom.read_text())["frenchcat_build_running", "before"] == 1
        progress.end()
        run(dataset, progress)
    found = figures(prom.read_text())
    assert found["frenchcat_build_shards", "times"] == 3
    assert found["frenchcat_build_shards_done", "times"] == 3
    assert found["frenchcat_build_counted_rows", "rows", "times"] == 3
    assert found["frenchcat_build_remaining_seconds", "times"] == 0
    assert found["frenchcat_build_failed",] == 0


@pytest.mark.server
def test_figures_are_served_while_the_command_runs(dataset: Dataset) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with watched(metrics=str(port)) as progress:
        run(dataset, progress)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            found = figures(answer.read().decode())
        with pytest.raises(UserError, match="the port is not free"), watched(metrics=str(port)):
            pass
    assert found["frenchcat_build_shards_done", "times"] == 3
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics")


@pytest.mark.parametrize("place", ["0", "70000", "-1", "x", "build.txt"])
def test_a_place_for_figures_that_is_none_is_refused(place: str) -> None:
    with pytest.raises(UserError, match=f"--metrics {place} is neither"), watched(metrics=place):
        pass


def test_neither_lies_in_a_dataset_or_where_nothing_can_be_written(
    dataset: Dataset, tmp_path: Path
) -> None:
    (Path(dataset.root) / "shards").mkdir()
    inside = Path(dataset.root) / "log"
    with pytest.raises(UserError, match="--log"), watched(inside):
        pass
    with pytest.raises(UserError, match="--metrics"), watched(metrics=f"{inside}.prom"):
        pass
    (tmp_path / "none").write_text("")
    for given in ({"log": tmp_path / "none" / "log"}, {"metrics": f"{tmp_path}/none/x.prom"}):
        with pytest.raises(UserError, match="a file is in its way"), watched(**given):
            pass


def test_an_estimate_is_what_the_shards_that_are_left_take_at_this_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr("frenchcat.progress.time.monotonic", lambda: now[0])
    clock = StageClock("embed", 8)
    assert clock.remaining_sec() is None
    now[0] += 30
    clock.done, clock.rows = 2, 600
    assert (clock.remaining_sec(), clock.rate()) == (90, 20)
    assert [lasting(sec) for sec in (5, 150, 9000, 2e5, 1e8)] == [
        *("5.0 s", "2.5 min", "2.5 h", "2.3 days", "3.2 years")
    ]


def test_the_board_asks_for_figures_that_there_are(dataset: Dataset, tmp_path: Path) -> None:
    prom = tmp_path / "build.prom"
    with watched(metrics=str(prom)) as progress:
        run(dataset, progress)
    known = {name for name, *_ in figures(prom.read_text())}
    board = json.loads(BOARD.read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    named = set(re.findall(r"frenchcat_\w+", " ".join(asked)))
    assert named <= known
    assert len(named) > 5


def test_the_commands_take_both(tmp_path: Path) -> None:
    with serve(healthy) as site:
        urls = site.write_list(tmp_path / "urls.parquet", range(2))
        given = ["download", str(urls), "--out", str(tmp_path / "d"), "--workers", "1"]
        given += ["--allow-host", f"127.0.0.1:{site.port}", "--log", str(tmp_path / "log")]
        ended = CliRunner().invoke(app, [*given, "--metrics", str(tmp_path / "x.prom")])
    assert ended.exit_code == 0, ended.output
    assert [one["event"] for one in lines(tmp_path / "log")][-1] == "stage_ends"
    assert figures((tmp_path / "x.prom").read_text())["frenchcat_build_rows_done", "download"] == 2
