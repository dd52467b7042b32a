"""`frenchcat build` as a whole: killed anywhere, grown, run again; the same bytes come out."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from frenchcat.cli import app
from frenchcat.curate.errors import ConfirmationNeeded
from frenchcat.sample_data import read_list
from frenchcat.sample_site import SampleSite
from tests.trees import tree_digest

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
QUICK = (
    *("--set", "download.samples_per_shard=24", "--set", "download.fetch.deadline_sec=3.0"),
    *("--set", 'score.scores=["similarity", "language", "caption", "sharpness", "pdq"]'),
    *("--set", 'verdict.rules.duplicate="duplicate_of is not null"'),
    *("--set", 'verdict.rules.few_words="caption_words <= 1"'),
    *("--workers", "1"),  # in this process: of two shards, a process's start is most of the work
)


def write_list(path: Path, base_url: str, rows: int, start: int = 0) -> None:
    """A part of the sample's list, pictures and faults mixed, the dripping ones left out."""
    table = read_list(base_url)
    planted = table["planted"].to_pylist()
    good = [i for i, kind in enumerate(planted) if kind == ""]
    bad = [i for i, kind in enumerate(planted) if kind and kind not in ("drip", "flaky")]
    chosen = sorted(good[start : start + rows] + bad[start : start + rows // 4])
    pq.write_table(table.take(chosen), path)


def build(urls: Path, out: Path, site: SampleSite, *more: str) -> list[str]:
    """The command line of a quick build."""
    allow = [f"--allow-host={host}" for host in site.hosts]
    command = [sys.executable, "-m", "frenchcat", "build", str(urls), "--out", str(out)]
    return [*command, *QUICK, *allow, *more]


def run(command: list[str], **environment: str) -> str:
    """Run it to its end, in this process, where the libraries are loaded; gives its stdout."""
    _, *_, verb = command[:4]
    ended = CliRunner().invoke(app, [verb, *command[4:]], catch_exceptions=False, env=environment)
    assert ended.exit_code == 0, ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def site() -> object:
    """The sample's server."""
    with SampleSite() as running:
        yield running


@pytest.fixture(scope="module")
def whole(site: SampleSite, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset built without interruption, its list beside it."""
    folder = tmp_path_factory.mktemp("whole")
    write_list(folder / "urls.parquet", site.base_url, 60)
    run(build(folder / "urls.parquet", folder / "dataset", site))
    return folder / "dataset"


def test_every_row_is_accounted_for(whole: Path) -> None:
    listed = pq.read_table(whole.parent / "urls.parquet").num_rows
    shown = json.loads(run([sys.executable, "-m", "frenchcat", "info", str(whole), "--json"]))
    assert shown["downloaded"] + shown["failed"] == listed
    assert sum(shown["failed_reasons"].values()) == shown["failed"]
    assert shown["embedded"] == shown["indexed"] == shown["downloaded"]
    assert {"downloaded", "failed", "embedded", "kept", "dropped", "indexed", "model"} <= set(shown)
    assert shown["kept"] + sum(shown["dropped"].values()) == shown["downloaded"]
    assert "few_words" in shown["dropped"]
    assert list(shown["rules"]) == ["duplicate", "few_words"]
    opted_out = [name for name in shown["failed_reasons"] if name.startswith("opted_out")]
    assert all(name.count(":") == 1 for name in opted_out)


def test_another_rule_redoes_verdicts_and_nothing_else(whole: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(whole, copy)
    before = tree_digest(copy)
    rule = ("--set", 'verdict.rules.few_words="caption_words <= 3"')
    run([sys.executable, "-m", "frenchcat", "verdict", str(copy), *rule])
    after = tree_digest(copy)
    changed = {name.split("/")[0] for name in after if after[name] != before.get(name)}
    assert changed == {"dataset.json", "verdicts", "stages"}
    touched = {name for name in after if after[name] != before[name] and name.startswith("stages")}
    assert all(name.startswith("stages/verdict/") for name in touched)


def test_what_a_later_build_is_told_changes_that_alone(
    whole: Path, site: SampleSite, tmp_path: Path
) -> None:
    import shutil

    copy, urls = tmp_path / "copy", str(whole.parent / "urls.parquet")
    shutil.copytree(whole, copy)
    before = tree_digest(copy)
    again = [sys.executable, "-m", "frenchcat", "build", urls, "--out", str(copy)]
    run(again)
    assert tree_digest(copy) == before, "a build that is told nothing has nothing to do"
    one = tmp_path / "one.toml"
    one.write_text('[index]\nfactory = "Flat"\n')
    run([*again, "--config", str(one)])
    after = tree_digest(copy)
    changed = {name.split("/")[0] for name in after if after[name] != before.get(name)}
    assert changed == {"dataset.json", "index"}
    for given in ("download.resize.image_size=100", "clip.precision=fp32"):
        with pytest.raises(ConfirmationNeeded, match=r"shards will be .* again"):
            run([*again, "--set", given])
    planned = run([*again, "--set", "clip.precision=fp32", "--plan"])
    assert "embedded again: clip.precision auto -> fp32" in planned
    assert tree_digest(copy) == after


def test_again_changes_nothing(whole: Path, site: SampleSite) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*") if path.is_file()}
    run(build(whole.parent / "urls.parquet", whole, site))
    after = {path: path.stat().st_mtime_ns for path in whole.rglob("*") if path.is_file()}
    assert after == before


def test_killed_in_each_stage_then_again_is_byte_identical(
    whole: Path, site: SampleSite, tmp_path: Path
) -> None:
    command = build(whole.parent / "urls.parquet", tmp_path / "cut", site, "--workers", "2")
    chance = random.Random(7)
    for stage in ("lists", "download", "embed", "score", "dedup", "verdict"):
        markers = tmp_path / "cut" / "stages" / stage
        process = subprocess.Popen(
            command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while process.poll() is None and not any(markers.glob("*.json")):
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        process.wait()
    run(command)
    assert tree_digest(tmp_path / "cut") == tree_digest(whole)


def test_two_builds_at_once_are_refused(whole: Path, site: SampleSite) -> None:
    from frenchcat.curate.dataset import Dataset

    with Dataset.open(whole).lock():
        second = subprocess.run(
            build(whole.parent / "urls.parquet", whole, site),
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
        )
    assert second.returncode == 2
    assert "another frenchcat process" in second.stderr


@pytest.mark.slow  # the parts of it are tested where they are made
def test_a_grown_list_adds_shards_and_leaves_the_old_alone(
    site: SampleSite, tmp_path: Path
) -> None:
    urls, dataset = tmp_path / "urls.parquet", tmp_path / "dataset"
    write_list(urls, site.base_url, 30)
    run(build(urls, dataset, site))
    old = tree_digest(dataset / "shards")
    before = pq.read_table(urls).num_rows
    write_list(urls, site.base_url, 50)
    grown = pq.read_table(urls).num_rows
    shown = json.loads(run(build(urls, dataset, site, "--json")))
    assert grown > before
    assert shown["downloaded"] + shown["failed"] == grown
    assert shown["indexed"] == shown["downloaded"]
    new = tree_digest(dataset / "shards")
    assert {name: new[name] for name in old} == old


def test_a_built_dataset_is_searched_from_the_command_line(whole: Path) -> None:
    search = ["search", str(whole), "cat", "--json", "-k", "3"]
    found = run([sys.executable, "-m", "frenchcat", *search])
    hits = [json.loads(line) for line in found.splitlines()]
    assert [set(hit) >= {"key", "similarity", "url", "caption"} for hit in hits] == [True] * 3


def test_a_broken_tar_is_named(whole: Path, site: SampleSite, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(whole, copy)
    tar = copy / "shards" / "00000.tar"
    broken = bytearray(tar.read_bytes())
    broken[0:200] = b"\xff" * 200
    tar.write_bytes(bytes(broken))
    shutil.rmtree(copy / "stages" / "embed")
    ended = subprocess.run(
        [sys.executable, "-m", "frenchcat", "embed", str(copy)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2
    assert "00000.tar" in ended.stderr
    assert len([line for line in ended.stderr.splitlines() if line.startswith("frenchcat:")]) == 1
