"""What a stage redoes and what it leaves alone: the digest of its inputs, settings and version."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from frenchcat.curate.dataset import Dataset, file_sha256
from frenchcat.curate.markers import Counts, marker, output_sha256
from frenchcat.curate.run_stage import run_stage
from frenchcat.curate.stage import Engine, Output, ShardFunction
from tests.sample.stages import Times
from tests.trees import tree_digest

SHARDS = ["00000", "00001", "00002"]
HERE = Engine(workers=1)


@dataclass(frozen=True)
class Copies(Times):
    """Copies `source/<shard>`, on whose bytes a shard depends."""

    def inputs(self, dataset: Dataset, shard: str) -> Mapping[str, str]:
        """The file that is copied."""
        return {"source": dataset.read_bytes(f"source/{shard}").hex()}

    @contextlib.contextmanager
    def start(self, dataset: Dataset) -> Iterator[ShardFunction]:
        """Gives the shard's function."""

        def work(shard: str, output: Output) -> Counts:
            text = dataset.read_bytes(f"source/{shard}")
            output.path(f"numbers/{shard}.txt").write_bytes(text)
            return {"rows": 1, "bytes": len(text)}

        yield work


def put(dataset: Dataset, relative: str, text: str) -> None:
    with dataset.publish("put") as publication:
        publication.path(relative).write_text(text)


@pytest.fixture(params=["disk", "store"])
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> Dataset:
    """A dataset whose shards have a source each."""
    made = Dataset.create(
        tmp_path / "d" if request.param == "disk" else f"memory://stage/{tmp_path.name}", "d"
    )
    for shard in SHARDS:
        put(made, f"source/{shard}", "one")
    return made


def done(dataset: Dataset, stage: Times, **more: Any) -> int:
    return run_stage(dataset, stage, SHARDS, HERE, **more).done


@pytest.mark.parametrize(
    "other", [replace(Copies(), version=2), replace(Copies(), factor=3)], ids=["version", "setting"]
)
def test_another_version_or_setting_redoes_every_shard(dataset: Dataset, other: Copies) -> None:
    assert [done(dataset, Copies()), done(dataset, Copies())] == [3, 0]
    assert [done(dataset, other), done(dataset, other)] == [3, 0]
    assert dataset.manifest().entry("times").version == other.version
    assert dataset.manifest().entry("times").settings == other.settings()
    assert done(dataset, Copies()) == 3


def test_another_input_redoes_the_shards_that_have_it_and_no_others(dataset: Dataset) -> None:
    done(dataset, Copies())
    before = {shard: marker(dataset, "times", shard) for shard in SHARDS}
    put(dataset, "source/00001", "two")
    report = run_stage(dataset, Copies(), SHARDS, HERE)
    assert (report.done, report.skipped) == (1, 2)
    assert dataset.read_bytes("numbers/00001.txt") == b"two"
    after = {shard: marker(dataset, "times", shard) for shard in SHARDS}
    assert [shard for shard in SHARDS if after[shard] != before[shard]] == ["00001"]
    assert done(dataset, Copies()) == 0


def test_an_output_of_another_size_is_made_again(dataset: Dataset) -> None:
    done(dataset, Copies())
    for text in ("on", "onee", ""):
        put(dataset, "numbers/00002.txt", text)
        assert [done(dataset, Copies()), done(dataset, Copies())] == [1, 0]
        assert dataset.read_bytes("numbers/00002.txt") == b"one"
    dataset.remove("numbers/00000.txt")
    assert done(dataset, Copies()) == 1


def test_a_shard_whose_marker_is_gone_is_made_again(dataset: Dataset) -> None:
    done(dataset, Copies())
    dataset.remove("stages/times/00001.json")
    assert [done(dataset, Copies()), done(dataset, Copies())] == [1, 0]


def test_what_is_to_be_made_again_is_and_nothing_else(dataset: Dataset) -> None:
    done(dataset, Copies())
    assert done(dataset, Copies(), again=["00002", "00009"]) == 1


def test_counts_are_of_all_shards_whenever_they_were_made(dataset: Dataset) -> None:
    first = run_stage(dataset, Copies(), SHARDS, HERE)
    put(dataset, "source/00001", "three")
    second = run_stage(dataset, Copies(), SHARDS, HERE)
    assert first.counts == {"rows": 3, "bytes": 9}
    assert second.counts == {"rows": 3, "bytes": 11}
    entry = dataset.manifest().entry("times")
    assert (entry.counts, entry.shards) == (second.counts, 3)


def test_a_stages_digest_tells_whether_any_of_its_shards_is_another(dataset: Dataset) -> None:
    seen = []
    for text in ("one", "two", "one"):
        put(dataset, "source/00002", text)
        done(dataset, Copies())
        seen.append(dataset.manifest().entry("times").digest)
    assert seen[0] == seen[2] != seen[1]


def test_a_marker_names_what_came_out_by_bytes_and_sha256(dataset: Dataset) -> None:
    done(dataset, Copies())
    with dataset.as_local("numbers/00000.txt") as path:
        assert output_sha256(dataset, "times", "00000", "numbers/00000.txt") == file_sha256(path)
    made = marker(dataset, "times", "00000")
    assert made is not None
    assert [out.bytes for out in made.outputs.values()] == [3]
    assert made.inputs == Copies().inputs(dataset, "00000")
    with pytest.raises(KeyError):
        output_sha256(dataset, "times", "00009", "numbers/00009.txt")


def test_an_input_that_changes_while_a_shard_is_made_is_not_taken_for_the_one_used(
    dataset: Dataset,
) -> None:
    @dataclass(frozen=True)
    class Overtaken(Copies):
        @contextlib.contextmanager
        def start(self, dataset: Dataset) -> Iterator[ShardFunction]:
            with super().start(dataset) as work:

                def late(shard: str, output: Output) -> Counts:
                    counts = work(shard, output)
                    put(dataset, f"source/{shard}", "new")
                    return counts

                yield late

    done(dataset, Overtaken())
    assert done(dataset, Copies()) == 3
    assert dataset.read_bytes("numbers/00000.txt") == b"new"


def test_a_shard_half_uploaded_counts_as_missing(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Breaks(Times):
        @contextlib.contextmanager
        def start(self, dataset: Dataset) -> Iterator[ShardFunction]:
            def work(shard: str, output: Output) -> Counts:
                output.path(f"numbers/{shard}.txt").write_text("here")
                output.path(f"numbers/{shard}.gone")  # named and not there: its upload fails
                return {}

            yield work

    for root in (f"memory://half/{tmp_path.name}", str(tmp_path / "d")):
        dataset = Dataset.create(root, "d")
        with pytest.raises(FileNotFoundError):
            done(dataset, Breaks())
        assert dataset.shards("times") == []
        assert done(dataset, Times()) == 3


def test_nothing_is_written_where_there_is_nothing_to_do(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "d", "d")
    done(dataset, Times())

    def files() -> dict[Path, tuple[int, int]]:
        found = [path for path in (tmp_path / "d").rglob("*") if path.is_file()]
        return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}

    before = files()
    with contextlib.ExitStack() as held:  # files stay open, so that no inode is used anew
        for path in before:
            held.enter_context(open(path, "rb"))
        assert done(dataset, Times()) == 0
        assert files() == before


def test_the_bytes_do_not_depend_on_where_it_is_made(tmp_path: Path) -> None:
    disk = Dataset.create(tmp_path / "d", "d")
    store = Dataset.create((tmp_path / "s").as_uri(), "d")
    for dataset in (disk, store):
        run_stage(dataset, Times(), SHARDS, Engine(workers=2))
    assert tree_digest(tmp_path / "s") == tree_digest(tmp_path / "d")
    assert run_stage(store, Times(), SHARDS, HERE).done == 0


@dataclass(frozen=True)
class Where(Times):
    """Writes the process that it runs in."""

    @contextlib.contextmanager
    def start(self, dataset: Dataset) -> Iterator[ShardFunction]:
        """Gives the shard's function."""

        def work(shard: str, output: Output) -> Counts:
            output.path(f"numbers/{shard}.txt").write_text(str(os.getpid()))
            return {"rows": 1}

        yield work


@pytest.mark.parametrize(
    ("stage", "engine"), [(Where(in_process=True), Engine(workers=2)), (Where(), HERE)]
)
def test_it_runs_in_the_callers_process_where_it_brings_its_own_or_one_is_asked_for(
    tmp_path: Path, stage: Where, engine: Engine
) -> None:
    dataset = Dataset.create(tmp_path / "d", "d")
    run_stage(dataset, stage, SHARDS, engine)
    ran = {dataset.read_bytes(f"numbers/{shard}.txt").decode() for shard in SHARDS}
    assert ran == {str(os.getpid())}


def test_after_a_failure_no_further_shard_is_begun(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "d", "d")
    shards = [f"{number:05d}" for number in range(40)]
    stage = Times(fail_at="00000", sleep_sec=0.05)
    with pytest.raises(ValueError, match="00000"):
        run_stage(dataset, stage, shards, Engine(workers=2))
    assert len(dataset.shards("times")) < 39


def test_a_progress_is_told_of_the_end_of_a_stage_that_failed(tmp_path: Path) -> None:
    heard: list[object] = []

    class Ear:
        def begin(self, stage: str, shards: int) -> None:
            heard.append(shards)

        def advance(self, rows: int) -> None:
            pass

        def shard_done(self, shard: str, counts: Counts) -> None:
            heard.append(shard)

        def end(self) -> None:
            heard.append("end")

    dataset = Dataset.create(tmp_path / "d", "d")
    with pytest.raises(ValueError, match="00001"):
        done(dataset, Times(fail_at="00001"), progress=Ear())
    assert heard == [3, "00000", "end"]
    heard.clear()
    done(dataset, Times(), progress=Ear())
    assert heard == [2, "00001", "00002", "end"], "what was made before the failure stays"
