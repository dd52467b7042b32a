"""Stages without a network or a model: given rows, vectors by chance, and a mere number."""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow.parquet as pq
from numpy.typing import NDArray

from frenchcat.curate.dataset import Dataset, digest_of
from frenchcat.curate.embed import EmbedStage
from frenchcat.curate.keys import key_of
from frenchcat.curate.markers import Counts, Signature
from frenchcat.curate.stage import Output, ShardFunction
from tests.sample import write
from tests.sample.row import Row
from tests.sample.vectors import unit_rows


@dataclass(frozen=True)
class Times:
    """Writes `shard * factor` twice; sleeps so that a test can kill it at work."""

    factor: int = 2
    sleep_sec: float = 0.0
    fail_at: str | None = None
    name: str = "times"
    version: int = 1
    in_process: bool = False

    @property
    def signature(self) -> Signature:
        """As its fields have it."""
        return Signature(self.name, self.version, self.settings())

    def settings(self) -> Mapping[str, int]:
        """Only the factor shapes the output."""
        return {"factor": self.factor}

    def inputs(self, dataset: Dataset, shard: str) -> Mapping[str, str]:
        """A shard depends on its number."""
        return {"number": shard}

    @contextlib.contextmanager
    def start(self, dataset: Dataset) -> Iterator[ShardFunction]:
        """Gives the shard's function."""
        yield self._work

    def _work(self, shard: str, output: Output) -> Counts:
        if shard == self.fail_at:
            raise ValueError(f"shard {shard} is bad")
        for ending in ("txt", "bak"):
            time.sleep(self.sleep_sec)
            output.path(f"numbers/{shard}.{ending}").write_text(str(int(shard) * self.factor))
        output.advance(1)
        return {"rows": 1}


@dataclass(frozen=True)
class Busy(Times):
    """Spends processor time and memory in each shard, and reads a file of the dataset."""

    cpu_sec: float = 0.3
    held_bytes: int = 2**26
    name: str = "busy"

    def inputs(self, dataset: Dataset, shard: str) -> Mapping[str, str]:
        """A shard depends on a file, and on something that is none."""
        return {f"given/{shard}.bin": "its digest", "number": shard}

    @contextlib.contextmanager
    def start(self, dataset: Dataset) -> Iterator[ShardFunction]:
        """Gives the shard's function."""
        yield self._spend

    def _spend(self, shard: str, output: Output) -> Counts:
        held, began = bytearray(b"x") * self.held_bytes, time.process_time()
        while time.process_time() - began < self.cpu_sec:
            held[0] ^= 1
        return self._work(shard, output)


@dataclass(frozen=True)
class Given:
    """The download stage, with rows that are there."""

    shards: Mapping[str, Sequence[Row]]
    backwards: bool = False  # tar and sidecar in the reverse order of their keys
    name: str = "download"
    version: int = 1
    in_process: bool = True

    @property
    def signature(self) -> Signature:
        """As its fields have it."""
        return Signature(self.name, self.version, self.settings())

    def settings(self) -> Mapping[str, str]:
        """None shapes the output."""
        return {}

    def inputs(self, dataset: Dataset, shard: str) -> Mapping[str, str]:
        """A shard depends on its rows."""
        return {"rows": digest_of(repr((self.shards[shard], self.backwards)))}

    @contextlib.contextmanager
    def start(self, dataset: Dataset) -> Iterator[ShardFunction]:
        """Gives the shard's function."""
        yield self._work

    def _work(self, shard: str, output: Output) -> Counts:
        rows = self.shards[shard]
        keyed = [(key_of(shard, number), row) for number, row in enumerate(rows)]
        if self.backwards:
            keyed.reverse()
        for part in (write.tar, write.sidecar):
            part(output.path, shard, dict(keyed))
        return {"rows": len(rows), "success": sum(row.stored for row in rows)}


@dataclass(frozen=True)
class Vectors:
    """The embed stage, with vectors drawn by `seed`; keys in `without` have none."""

    shards: Mapping[str, Sequence[Row]]
    dimension: int = 16
    seed: int = 0
    text_seed: int = 0  # of the captions' vectors alone
    without: tuple[str, ...] = ()
    name: str = "embed"
    version: int = 1
    in_process: bool = True

    @property
    def signature(self) -> Signature:
        """As its fields have it."""
        return Signature(self.name, self.version, self.settings())

    def settings(self) -> Mapping[str, Any]:
        """What the model's are, and the seeds."""
        seeds = [self.seed, self.text_seed]
        return {**write.MODEL, "dimension": self.dimension, "seed": seeds}

    def inputs(self, dataset: Dataset, shard: str) -> Mapping[str, str]:
        """Which rows have none."""
        return {"without": " ".join(self.without)}

    @contextlib.contextmanager
    def start(self, dataset: Dataset) -> Iterator[ShardFunction]:
        """Gives the shard's function."""
        yield self._work

    def _work(self, shard: str, output: Output) -> Counts:
        listed = {key_of(shard, n): row for n, row in enumerate(self.shards[shard]) if row.stored}
        there = {key: row for key, row in listed.items() if key not in self.without}
        first = 2 * int(shard) + 1000 * self.seed
        pictures = unit_rows(len(there), self.dimension, first)
        texts = unit_rows(len(there), self.dimension, first + 1 + 5000 * self.text_seed)
        drawn = zip(there.items(), pictures, texts, strict=True)
        rows = {key: replace(row, vector=one, text=other) for (key, row), one, other in drawn}
        write.vectors(output.path, shard, rows)
        return {"embedded": len(rows)}


@dataclass(frozen=True)
class Chosen(EmbedStage):
    """The embed stage itself, but `choose` gives a row's vectors: no model."""

    def choose(self, row: Mapping[str, Any]) -> tuple[NDArray[Any], NDArray[Any]] | str:
        """Of a stored row of the sidecar the picture's and the caption's; or why there are none."""
        raise NotImplementedError

    @contextlib.contextmanager
    def start(self, dataset: Dataset) -> Iterator[ShardFunction]:
        """Gives the shard's function."""
        yield lambda shard, output: self._write(dataset, shard, output)

    def _write(self, dataset: Dataset, shard: str, output: Output) -> Counts:
        listed = pq.read_table(dataset.path(f"shards/{shard}.parquet")).to_pylist()
        rows = {row["key"]: self._row(row) for row in listed if row["status"] == "success"}
        for part in (write.vectors, write.unembedded):
            part(output.path, shard, rows)
        embedded = sum(row.vector is not None for row in rows.values())
        return {"embedded": embedded, "failed": len(rows) - embedded}

    def _row(self, listed: Mapping[str, Any]) -> Row:
        row, chosen = Row(listed["url"], listed["caption"], columns=listed), self.choose(listed)
        if isinstance(chosen, str):
            return replace(row, unembedded=chosen)
        return replace(row, vector=chosen[0], text=chosen[1])
