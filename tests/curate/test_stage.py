"""`run_stage`: skips what is done, redoes what changed, survives kill -9; engines agree."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.run_stage import run_stage
from frenchcat.curate.stage import Engine
from tests.sample.stages import Times
from tests.trees import tree_digest

SHARDS = [f"{number:05d}" for number in range(6)]
ROOT = Path(__file__).parents[2]


def test_done_shards_are_skipped_and_changed_settings_redo(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "d", "d")
    first = run_stage(dataset, Times(2), SHARDS)
    again = run_stage(dataset, Times(2), SHARDS)
    other = run_stage(dataset, Times(3), SHARDS)
    assert [(r.done, r.skipped) for r in (first, again, other)] == [(6, 0), (0, 6), (6, 0)]
    assert dataset.read_bytes("numbers/00005.txt") == b"15"
    assert dataset.manifest().entry("times").counts == {"rows": 6}


def test_only_a_damaged_shard_is_redone(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "d", "d")
    run_stage(dataset, Times(), SHARDS)
    dataset.remove("numbers/00003.bak")
    assert run_stage(dataset, Times(), SHARDS).done == 1
    assert dataset.exists("numbers/00003.bak")


def test_a_failing_shard_raises_and_the_rest_stays(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "d", "d")
    for workers in (1, 2):
        with pytest.raises(ValueError, match="shard 00003 is bad"):
            run_stage(dataset, Times(fail_at="00003"), SHARDS, Engine(workers=workers))
    assert {"00000", "00001"} <= set(dataset.shards("times"))
    assert not dataset.exists("numbers/00003.txt")
    assert run_stage(dataset, Times(), SHARDS).skipped >= 2


def test_progress_hears_every_row(tmp_path: Path) -> None:
    heard: list[object] = []

    class Ear:
        def begin(self, stage: str, shards: int) -> None:
            heard.append((stage, shards))

        def advance(self, rows: int) -> None:
            heard.append(rows)

        def shard_done(self, shard: str, counts: object) -> None:
            heard.append(shard)

        def end(self) -> None:
            heard.append("end")

    dataset = Dataset.create(tmp_path / "d", "d")
    run_stage(dataset, Times(), SHARDS, Engine(workers=2), Ear())
    assert heard[0] == ("times", 6)
    assert heard.count(1) == 6
    assert set(SHARDS) <= {item for item in heard if isinstance(item, str)}


CODE = """
import sys
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.run_stage import run_stage
from frenchcat.curate.stage import Engine
from tests.sample.stages import Times
if __name__ == "__main__":
    dataset = Dataset.create(sys.argv[1], "d")
    with dataset.lock():
        run_stage(dataset, Times(sleep_sec=0.05), [f"{n:05d}" for n in range(6)], Engine(workers=2))
"""


def test_kill_and_again_ends_byte_identical(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(CODE)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def command(name: str) -> list[str]:
        return [sys.executable, str(script), str(tmp_path / name)]

    subprocess.run(command("whole"), check=True, env=environment)
    for attempt in range(3):
        process = subprocess.Popen(command("cut"), env=environment)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and process.poll() is None:
            if len(list((tmp_path / "cut" / "stages" / "times").glob("*"))) > attempt:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command("cut"), check=True, env=environment)
    assert tree_digest(tmp_path / "cut") == tree_digest(tmp_path / "whole")


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(CODE.replace("0.05", "60"))
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "d")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    children: list[str] = []
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and len(children) < 2:
        children = _children_of(process.pid)
        time.sleep(0.05)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and any(map(_alive, children)):
        time.sleep(0.05)
    assert len(children) >= 2
    assert not [child for child in children if _alive(child)]


def _children_of(pid: int) -> list[str]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return listed.read_text().split() if listed.exists() else []


def _alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore")
def test_two_ray_nodes_give_the_bytes_of_local_processes(tmp_path: Path) -> None:
    import ray
    from ray.cluster_utils import Cluster

    local = Dataset.create(tmp_path / "local", "d")
    run_stage(local, Times(), SHARDS)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1)
        ray.init(
            address=cluster.address,
            log_to_driver=False,
            runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
        )
        assert len(ray.nodes()) == 2
        remote = Dataset.create(tmp_path / "ray", "d")
        report = run_stage(remote, Times(), SHARDS, Engine("ray"))
        assert report.done == 6
        in_process = Dataset.create(tmp_path / "ray-in-process", "d")
        run_stage(in_process, Times(in_process=True), SHARDS, Engine("ray"))
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert tree_digest(tmp_path / "ray") == tree_digest(tmp_path / "local")
    assert tree_digest(tmp_path / "ray-in-process") == tree_digest(tmp_path / "local")
