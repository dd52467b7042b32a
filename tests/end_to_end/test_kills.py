"""kill -9 of the command or of one of its workers at moments by chance: the same bytes come out.

FRENCHCAT_KILLS moments (50) over a build, a compaction and a report.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.remove import RemovalQuery, matches, remove
from frenchcat.sample_site import SampleSite
from tests.end_to_end.test_build import ENVIRONMENT, build, run, write_list
from tests.trees import tree_digest

pytestmark = [pytest.mark.slow, pytest.mark.server]
KILLS = int(os.environ.get("FRENCHCAT_KILLS", "50"))
SEED = int(os.environ.get("FRENCHCAT_SEED", "20261129"))


@pytest.fixture(scope="module")
def site() -> Iterator[SampleSite]:
    """The sample's server."""
    with SampleSite() as running:
        yield running


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found, waiting = list[int](), [pid]
    while waiting:
        found.append(waiting.pop())
        with contextlib.suppress(OSError):  # it may end meanwhile
            for task in Path(f"/proc/{found[-1]}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
    return found


def alive(pid: int) -> bool:
    """Whether it runs; one that only waits to be reaped does not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def killed(command: list[str], after_sec: float, chance: random.Random) -> bool:
    """Run a command and kill it, or a worker, so much later; gives whether it ended well before.

    What descends from a command that was killed has to end by itself.
    """
    running = subprocess.Popen(
        command,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        running.wait(after_sec)
        return running.returncode == 0
    except subprocess.TimeoutExpired:
        pass
    everyone = family(running.pid)
    victim = chance.choice([running.pid, chance.choice(everyone)])
    with contextlib.suppress(ProcessLookupError):
        os.kill(victim, signal.SIGKILL)
    _, said = running.communicate(timeout=300)
    if victim != running.pid and running.returncode not in (0, -signal.SIGKILL):
        # A worker that dies is one line, or the work goes on without it.
        assert running.returncode == 2, said
        assert "Traceback" not in said
    until = time.monotonic() + 60
    while any(map(alive, everyone)):
        assert time.monotonic() < until, "a worker outlives its command"
        time.sleep(0.05)
    return running.returncode == 0


def timed(command: list[str]) -> float:
    """Seconds of a command that nothing disturbs."""
    began = time.monotonic()
    subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True)
    return time.monotonic() - began


@pytest.mark.timeout(3600)
def test_a_build_that_is_killed_at_any_moment_ends_in_the_same_bytes(
    site: SampleSite, tmp_path: Path
) -> None:
    urls, chance, kills = tmp_path / "urls.parquet", random.Random(SEED), 0
    write_list(urls, site.base_url, 60)
    sec = timed(build(urls, tmp_path / "whole", site, "--workers", "2"))
    expected = tree_digest(tmp_path / "whole")
    while kills < KILLS * 3 // 5:
        command = build(urls, tmp_path / "cut", site, "--workers", "2")
        while not killed(command, chance.uniform(0.3, 1.0) * sec, chance):
            kills += 1
            if chance.random() < 0.2:
                break
        run(command)
        assert tree_digest(tmp_path / "cut") == expected, (SEED, kills)
        shutil.rmtree(tmp_path / "cut")
        kills += 1


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("verb", ["compact", "report"])
def test_a_compaction_or_report_that_is_killed_ends_in_the_same_bytes(
    site: SampleSite, tmp_path: Path, verb: str
) -> None:
    urls, chance = tmp_path / "urls.parquet", random.Random(SEED)
    write_list(urls, site.base_url, 40)
    run(build(urls, tmp_path / "before", site))
    dataset = Dataset.open(tmp_path / "before")
    query = RemovalQuery("key", "000000001", keys=("000010002",))
    with dataset.lock():
        remove(dataset, query, matches(dataset, query))

    def of(name: str) -> list[str]:
        shutil.copytree(tmp_path / "before", tmp_path / name / "d")
        more = ["--out", str(tmp_path / name / "page.html")] if verb == "report" else []
        return [sys.executable, "-m", "frenchcat", verb, str(tmp_path / name / "d"), *more]

    sec = timed(of("whole"))
    expected = tree_digest(tmp_path / "whole")
    for number in range(max(1, KILLS // 5)):
        command = of("cut")
        while not killed(command, chance.uniform(0.2, 1.0) * sec, chance):
            if chance.random() < 0.5:
                break
        subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True)
        assert tree_digest(tmp_path / "cut") == expected, (SEED, number)
        shutil.rmtree(tmp_path / "cut")
