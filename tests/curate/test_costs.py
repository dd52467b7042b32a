"""What stages cost: measured over all processes, kept beside the dataset's files, printed."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

import frenchcat
from frenchcat.cli import app
from frenchcat.curate.costs import KEPT_RUNS, Metered, RunCost, costs_of, tree_bytes
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import Damaged
from frenchcat.curate.run_stage import run_stage
from frenchcat.curate.stage import Engine
from tests.sample.embedded import embedded
from tests.sample.stages import Busy, Times
from tests.sample.vectors import unit_rows
from tests.trees import tree_digest

SHARDS = ["00000", "00001", "00002"]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset.create(tmp_path / "d", "d")


def only(dataset: Dataset) -> RunCost:
    (costs,) = costs_of(dataset)
    return costs.runs[-1]


def test_it_is_of_all_processes_and_of_the_files_that_are_read_and_written(
    dataset: Dataset,
) -> None:
    (Path(dataset.root) / "given").mkdir()
    for shard in SHARDS[:2]:
        (Path(dataset.root) / "given" / f"{shard}.bin").write_bytes(bytes(1000))
    stage = Busy(factor=700)
    run_stage(dataset, stage, SHARDS[:2], Engine(workers=2), Metered(dataset))
    cost = only(dataset)
    assert (cost.shards, cost.rows, cost.read_bytes) == (2, 2, 2000)
    assert cost.written_bytes == 2 * len("0") + 2 * len("700")
    assert cost.cpu_sec is not None
    assert cost.cpu_sec >= 2 * stage.cpu_sec
    assert cost.wall_sec >= stage.cpu_sec
    assert cost.peak_bytes is not None
    assert cost.peak_bytes >= tree_bytes(os.getpid()) + stage.held_bytes, "a worker's, too"
    (costs,) = costs_of(dataset)
    assert costs.as_dict()["images_per_sec"] == 2 / cost.wall_sec


def test_on_ray_the_processes_are_not_ours(dataset: Dataset) -> None:
    metered = Metered(dataset, engine=Engine("ray"))
    run_stage(dataset, Times(), SHARDS, progress=metered)  # wherever it runs
    assert (only(dataset).cpu_sec, only(dataset).peak_bytes) == (None, None)
    assert costs_of(dataset)[0].as_dict()["cpu_sec"] is None


def test_a_run_that_made_nothing_is_not_kept(dataset: Dataset) -> None:
    with pytest.raises(ValueError, match="shard 00000 is bad"):
        run_stage(dataset, Times(fail_at="00000"), SHARDS, Engine(workers=1), Metered(dataset))
    assert costs_of(dataset) == []
    with pytest.raises(ValueError, match="shard 00002 is bad"):
        run_stage(dataset, Times(fail_at="00002"), SHARDS, Engine(workers=1), Metered(dataset))
    assert only(dataset).shards == 2, "of a run that failed, what it made"
    run_stage(dataset, Times(), SHARDS, Engine(workers=1), Metered(dataset))
    before = Path(dataset.path("costs/times.json")).read_bytes()
    run_stage(dataset, Times(), SHARDS, Engine(workers=1), Metered(dataset))
    assert Path(dataset.path("costs/times.json")).read_bytes() == before
    (costs,) = costs_of(dataset)
    assert [run.shards for run in costs.runs] == [2, 1]
    assert costs.as_dict()["shards"] == 3


def test_the_oldest_runs_are_dropped(dataset: Dataset) -> None:
    run = {"shards": 1, "rows": 1, "wall_sec": 1.0, "cpu_sec": 1.0}
    run |= {"read_bytes": 1, "written_bytes": 1, "peak_bytes": 1}
    dataset.write_json("costs/times.json", {"runs": [run] * KEPT_RUNS})
    run_stage(dataset, Times(), SHARDS, Engine(workers=1), Metered(dataset))
    (costs,) = costs_of(dataset)
    assert [one.shards for one in costs.runs] == [*[1] * (KEPT_RUNS - 1), 3]


def test_a_damaged_file_is_named_and_stops_no_stage(dataset: Dataset) -> None:
    dataset.write_json("costs/times.json", {"runs": [{"shards": "many"}]})
    run_stage(dataset, Times(), SHARDS, Engine(workers=1), Metered(dataset))
    with pytest.raises(Damaged, match=r"costs/times\.json.*delete it: nothing depends on it"):
        costs_of(dataset)


def test_info_prints_what_each_stage_cost(tmp_path: Path) -> None:
    made = embedded(tmp_path / "d", unit_rows(30))
    none = CliRunner().invoke(app, ["info", made.root, "--costs"])
    assert "no costs are kept" in none.stdout
    before = tree_digest(Path(made.root))
    opened = frenchcat.open(made.root)
    opened.verdict()
    opened.index()
    changed = set(tree_digest(Path(made.root))) - set(before)
    assert not [path for path in changed if path.startswith("costs")]
    said = CliRunner().invoke(app, ["info", made.root, "--costs", "--json"])
    costs = json.loads(said.stdout)
    assert list(costs) == ["verdict", "index"], "in the order of a build"
    files = [Path(made.root, "index", name) for name in os.listdir(f"{made.root}/index")]
    assert costs["index"]["written_bytes"] == sum(file.stat().st_size for file in files)
    assert costs["index"]["rows"] == costs["verdict"]["rows"] == 30
    assert costs["index"]["read_bytes"] > 30 * 2 * 2
    table = CliRunner().invoke(app, ["info", made.root, "--costs"]).stdout
    assert [line.split()[:3] for line in table.splitlines()[1:]] == [
        ["verdict", "1", "30"],
        ["index", "1", "30"],
    ]
