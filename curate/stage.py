"""A stage: a pure function from one shard's inputs to one shard's output, and `run_stage`.

`run_stage` owns parallelism, resume and progress. Beside a shard's output lies a marker,
``stages/<stage>/<shard>.json``, with the digest of the inputs and settings that made it:
same again is skipped, changed is redone, and only that. The marker is published with the output.

Cost: one small file read a shard to find that there is nothing to do; memory does not grow with
the number of shards in flight beyond one a worker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from frenchcat.curate.dataset import Dataset, Publication, canonical_json, digest_of, file_sha256

Counts = Mapping[str, int]


@dataclass(frozen=True)
class Output:
    """What a stage writes a shard's files through."""

    publication: Publication
    advance: Callable[[int], None]  # rows done since the last call, for the progress bar

    def path(self, relative: str) -> Path:
        """Where to write the file that will be `relative` in the dataset."""
        return self.publication.path(relative)


ShardFunction = Callable[[str, Output], Counts]


class Stage(Protocol):
    """What `run_stage` runs. Picklable, since it travels to worker processes."""

    @property
    def name(self) -> str:
        """Names the markers' folder and the entry in dataset.json."""
        ...

    @property
    def version(self) -> int:
        """Raised when the code changes what comes out for the same input."""
        ...

    @property
    def in_process(self) -> bool:
        """Whether it brings its own processes, so that shards run one by one in the caller's."""
        ...

    def settings(self) -> Mapping[str, Any]:
        """The settings on which the output depends, JSON-able."""
        ...

    def inputs(self, dataset: Dataset, shard: str) -> Mapping[str, str]:
        """Name -> digest of everything else on which a shard's output depends."""
        ...

    def start(self, dataset: Dataset) -> AbstractContextManager[ShardFunction]:
        """Load what is needed once a process (a model); gives the function of a shard."""
        ...


@dataclass(frozen=True)
class Engine:
    """Where shards are worked on: processes of this machine, or a Ray cluster."""

    kind: str = "local"  # local | ray
    address: str | None = None  # of a running Ray cluster; None starts one here
    workers: int | None = None  # None: one a core


@dataclass(frozen=True)
class StageReport:
    """What a run of a stage came to."""

    stage: str
    done: int  # shards worked on now
    skipped: int  # shards that were up to date
    counts: dict[str, int] = field(default_factory=dict)  # summed over all shards


class Progress(Protocol):
    """Told how a stage goes on; the command line draws it."""

    def begin(self, stage: str, shards: int) -> None:
        """A stage begins with so many shards to work on."""
        ...

    def advance(self, rows: int) -> None:
        """So many more rows are done."""
        ...

    def shard_done(self, shard: str, counts: Counts) -> None:
        """A shard is published."""
        ...

    def end(self) -> None:
        """The stage is over."""
        ...


class Silent:
    """Progress that shows nothing."""

    def begin(self, stage: str, shards: int) -> None:
        """Show nothing."""

    def advance(self, rows: int) -> None:
        """Show nothing."""

    def shard_done(self, shard: str, counts: Counts) -> None:
        """Show nothing."""

    def end(self) -> None:
        """Show nothing."""


def run_shard(
    dataset: Dataset,
    stage: Stage,
    work: ShardFunction,
    shard: str,
    advance: Callable[[int], None],
) -> Counts:
    """Work on one shard and publish its files and its marker together."""
    inputs = stage.inputs(dataset, shard)
    with dataset.publish(f"{stage.name}-{shard}") as publication:
        counts = dict(work(shard, Output(publication, advance)))
        write_marker(publication, stage, shard, inputs, counts)
    return counts


def write_marker(
    publication: Publication,
    stage: Stage,
    shard: str,
    inputs: Mapping[str, str],
    counts: Counts,
    outputs: Iterable[str] | None = None,
) -> None:
    """Add the marker that names what made the publication's files (or `outputs`); call it last."""
    made = {
        relative: {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
        for relative in (publication.relatives if outputs is None else outputs)
        if (path := publication.folder / relative).exists()
    }
    marker = {
        "digest": stage_digest(stage, inputs),
        "inputs": dict(inputs),
        "outputs": made,
        "counts": dict(counts),
    }
    text = canonical_json(marker)
    publication.path(marker_path(stage.name, shard)).write_text(text + "\n", encoding="utf-8")


def marker_path(stage: str, shard: str) -> str:
    """Where a shard's marker lies."""
    return f"stages/{stage}/{shard}.json"


def marker(dataset: Dataset, stage: str, shard: str) -> dict[str, Any] | None:
    """What made a shard's output: digest, inputs, outputs, counts; None if it is not done."""
    relative = marker_path(stage, shard)
    if not dataset.exists(relative):
        return None
    value: dict[str, Any] = dataset.read_json(relative)
    return value


def output_sha256(dataset: Dataset, stage: str, shard: str, relative: str) -> str:
    """The digest of a file that a stage published. Raises KeyError where it did not."""
    found = marker(dataset, stage, shard)
    if found is None:
        raise KeyError(f"stage {stage} has not finished shard {shard}")
    return str(found["outputs"][relative]["sha256"])


def stage_digest(stage: Stage, inputs: Mapping[str, str]) -> str:
    """The digest of all that a shard's output depends on."""
    return digest_of(
        {
            "stage": stage.name,
            "version": stage.version,
            "settings": stage.settings(),
            "inputs": dict(inputs),
        }
    )


def up_to_date(dataset: Dataset, stage: Stage, shard: str) -> bool:
    """Whether a shard's output is there, whole in size, and made from the same inputs."""
    found = marker(dataset, stage.name, shard)
    if found is None or found["digest"] != stage_digest(stage, stage.inputs(dataset, shard)):
        return False
    return all(dataset.size(rel) == out["bytes"] for rel, out in found["outputs"].items())


def record(dataset: Dataset, stage: Stage, shards: Sequence[str]) -> dict[str, int]:
    """Write a stage's settings, digest and summed counts into dataset.json; gives the counts."""
    counts: dict[str, int] = {}
    digests: dict[str, str] = {}
    for shard in shards:
        if found := marker(dataset, stage.name, shard):
            digests[shard] = found["digest"]
            for name, number in found["counts"].items():
                counts[name] = counts.get(name, 0) + number
    entry = {
        "version": stage.version,
        "settings": dict(stage.settings()),
        "shards": len(digests),
        "counts": counts,
        "digest": digest_of(digests),
    }
    record_entry(dataset, stage.name, entry)
    return counts


def record_entry(dataset: Dataset, name: str, entry: Mapping[str, Any]) -> None:
    """Set one stage's entry in dataset.json, leaving the file alone where nothing changed."""
    manifest = dataset.manifest()
    if manifest["stages"].get(name) != entry:
        manifest["stages"][name] = dict(entry)
        dataset.write_json("dataset.json", manifest)
