"""A stage: a pure function from one shard's inputs to one shard's output.

run_stage.py runs it over many shards; markers.py says which of them are up to date. Memory does not
grow with the number of shards: each worker has one in hand.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from frenchcat.curate.dataset import Dataset, Publication
from frenchcat.curate.markers import Counts, Inputs, Signature, is_made, write_marker


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
    def signature(self) -> Signature:
        """What its markers are signed with: name, version, settings."""
        ...

    @property
    def in_process(self) -> bool:
        """Whether it brings its own processes, so that shards run one by one in the caller's."""
        ...

    def inputs(self, dataset: Dataset, shard: str) -> Inputs:
        """Name -> digest of everything else on which a shard's output depends."""
        ...

    def start(self, dataset: Dataset) -> AbstractContextManager[ShardFunction]:
        """Load what is needed once a process (a model); gives the function of a shard."""
        ...


@runtime_checkable
class SizedStage(Protocol):
    """A stage that can say beforehand how much it will write."""

    def output_bytes(self, dataset: Dataset, shard: str) -> float:
        """At least about so many bytes come of a shard."""
        ...


@dataclass(frozen=True)
class Engine:
    """Where shards are worked on: processes of this machine, or a Ray cluster."""

    kind: str = "local"  # local | ray
    address: str | None = None  # of a running Ray cluster; None starts one here
    workers: int | None = None  # None: one per core


@dataclass(frozen=True)
class StageReport:
    """What a run of a stage came to."""

    stage: str
    done: int  # shards worked on now
    skipped: int  # shards that were up to date
    counts: dict[str, int] = field(default_factory=dict)  # summed over all shards
    notes: tuple[str, ...] = ()  # what was asked for and not done, with the reason


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
    signature = stage.signature
    with dataset.publish(f"{signature.name}-{shard}") as publication:
        counts = dict(work(shard, Output(publication, advance)))
        write_marker(publication, signature, shard, inputs, counts)
    return counts


def up_to_date(dataset: Dataset, stage: Stage, shard: str) -> bool:
    """Whether a shard's output is there, whole in size, and made from the same inputs."""
    return is_made(dataset, stage.signature, shard, lambda: stage.inputs(dataset, shard))
