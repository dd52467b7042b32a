"""What stages cost: measured while they run, kept as ``costs/<stage>.json``, one entry per run.

Reads /proc, markers and sizes of files; writes one small file per stage when it ends, also when it
fails or is interrupted (a killed one leaves none). These files differ from run to run: nothing but
`frenchcat info --costs` and `frenchcat plan` reads them, no digest covers them, and without them a
dataset is the same.
They hold no time of day, host or path.

Processor time and memory are those of this process and all that descend from it: workers and
decoders are ended before a stage is. On Ray they are not known. Cost: a look at /proc five times
per second, and one small file per shard that was made.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from frenchcat.curate import files
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import FrenchcatError
from frenchcat.curate.markers import Counts, Marker, marker
from frenchcat.curate.parquets import read_parquet
from frenchcat.curate.stage import Engine, Progress, Silent
from frenchcat.curate.typed_json import loaded

FOLDER = "costs"
KEPT_RUNS = 100
"""Of a stage; older ones are dropped."""
_SAMPLE_SEC = 0.2
_ORDER = ("download", "embed", "score", "dedup", "verdict", "index", "latents", "text_states")
_READ = {
    "dedup": (files.SIDECAR, files.SCORES, files.IMG_EMB, files.TEXT_EMB, files.METADATA),
    "index": (files.SIDECAR, files.IMG_EMB, files.TEXT_EMB, files.METADATA),
}
"""What stages read of a shard whose markers do not name it."""


@dataclass(frozen=True)
class RunCost:
    """What one run of a stage cost."""

    shards: int  # that it made
    rows: int
    wall_sec: float
    cpu_sec: float | None  # of all processes; None on Ray
    read_bytes: int  # of the dataset's files; of a download, the bodies of the stored images
    written_bytes: int
    peak_bytes: int | None  # resident, of all processes together; None on Ray and without /proc


@dataclass(frozen=True)
class StageCosts:
    """What a stage cost, run by run; the numbers are those of all its runs."""

    stage: str
    runs: tuple[RunCost, ...]

    def as_dict(self) -> dict[str, Any]:
        """The sums, the highest peak, rows per second of wall time, and the runs; JSON-able."""
        cpu = [run.cpu_sec for run in self.runs]
        peaks = [run.peak_bytes for run in self.runs if run.peak_bytes is not None]
        rows, wall_sec = (sum(getattr(run, of) for run in self.runs) for of in ("rows", "wall_sec"))
        return {
            "shards": sum(run.shards for run in self.runs),
            "rows": rows,
            "wall_sec": wall_sec,
            "cpu_sec": None if None in cpu else sum(one or 0.0 for one in cpu),
            "read_bytes": sum(run.read_bytes for run in self.runs),
            "written_bytes": sum(run.written_bytes for run in self.runs),
            "peak_bytes": max(peaks, default=None),
            "images_per_sec": rows / wall_sec if wall_sec else None,
            "runs": [asdict(run) for run in self.runs],
        }


@dataclass(frozen=True)
class _CostsFile:
    """The value of a stage's file."""

    runs: tuple[RunCost, ...] = field(default=())


def costs_of(dataset: Dataset) -> list[StageCosts]:
    """What was measured of each stage, in the order of a build. Raises `Damaged`."""
    names = [name.removesuffix(".json") for name in dataset.files(FOLDER) if name.endswith(".json")]
    known = [name for name in _ORDER if name in names]
    others = [name for name in names if name not in _ORDER]
    return [StageCosts(name, _runs(dataset, name)) for name in (*known, *others)]


def _relative(stage: str) -> str:
    return f"{FOLDER}/{stage}.json"


def _runs(dataset: Dataset, stage: str) -> tuple[RunCost, ...]:
    relative = _relative(stage)
    if not dataset.exists(relative):
        return ()
    data = dataset.read_bytes(relative)
    return loaded(_CostsFile, data, dataset.path(relative), "delete it: nothing depends on it").runs


# -- measuring -----------------------------------------------------------------------------------


class Metered:
    """A `Progress` that measures each stage it is told of, and keeps what it cost."""

    def __init__(
        self, dataset: Dataset, told: Progress | None = None, engine: Engine | None = None
    ) -> None:
        """Tell `told` all the same. The dataset's lock is held while a stage runs."""
        self._dataset, self._told = dataset, told or Silent()
        self._here = engine is None or engine.kind == "local"
        self._run: _MeasuredRun | None = None

    def begin(self, stage: str, shards: int) -> None:
        """Measure from now on."""
        self._told.begin(stage, shards)
        if shards:
            self._run = _MeasuredRun(self._dataset, stage, self._here)

    def advance(self, rows: int) -> None:
        """So many more rows are done."""
        if self._run is not None:
            self._run.advanced += rows
        self._told.advance(rows)

    def shard_done(self, shard: str, counts: Counts) -> None:
        """Count a shard that was made."""
        if self._run is not None:
            self._run.made[shard] = counts.get("rows")
        self._told.shard_done(shard, counts)

    def end(self) -> None:
        """Keep what the stage cost, if it made a shard."""
        run, self._run = self._run, None
        try:
            if run is not None:
                run.keep()
        finally:
            self._told.end()


class _MeasuredRun:
    """A run of a stage that is being measured."""

    def __init__(self, dataset: Dataset, stage: str, here: bool) -> None:
        self.made: dict[str, int | None] = {}  # shard -> its rows, where its counts have them
        self.advanced = 0  # rows
        self._dataset, self._stage, self._here = dataset, stage, here
        self._before = frozenset(dataset.files(stage))
        self._began, self._used = time.perf_counter(), _cpu_sec()
        self._peak = _Peak() if here else None

    def keep(self) -> None:
        """Add this run to the stage's file."""
        wall_sec, cpu_sec = time.perf_counter() - self._began, _cpu_sec() - self._used
        peak = None if self._peak is None else self._peak.stop()
        if not self.made:
            return
        # A disk that took no file of the stage takes none of this; the stage has said so.
        with contextlib.suppress(OSError, FrenchcatError):
            markers = {one: marker(self._dataset, self._stage, one) for one in self.made}
            counted = [rows for rows in self.made.values() if rows is not None]
            run = RunCost(
                shards=len(self.made),
                rows=sum(counted) if len(counted) == len(self.made) else self.advanced,
                wall_sec=round(wall_sec, 3),
                cpu_sec=round(cpu_sec, 3) if self._here else None,
                read_bytes=self._read(markers),
                written_bytes=self._written(markers),
                peak_bytes=peak,
            )
            runs = (*_runs(self._dataset, self._stage), run)[-KEPT_RUNS:]
            value = {"runs": [asdict(one) for one in runs]}
            self._dataset.write_json(_relative(self._stage), value)

    def _read(self, markers: Mapping[str, Marker | None]) -> int:
        total = 0
        for shard, found in markers.items():
            named = [] if found is None else [name for name in found.inputs if "/" in name]
            named += [file.of(shard) for file in _READ.get(self._stage, ())]
            total += sum(self._dataset.size(relative) or 0 for relative in named)
            if self._stage == "download":
                total += self._dataset.size(files.LIST.of(shard)) or 0
                total += _fetched_bytes(self._dataset, shard)
        return total

    def _written(self, markers: Mapping[str, Marker | None]) -> int:
        made = (found for found in markers.values() if found is not None)
        total = sum(file.bytes for found in made for file in found.outputs.values())
        new = set(self._dataset.files(self._stage)) - self._before  # of the index: no markers
        return total + sum(self._dataset.size(f"{self._stage}/{name}") or 0 for name in new)


def _fetched_bytes(dataset: Dataset, shard: str) -> int:
    with dataset.as_local(files.SIDECAR.of(shard)) as path:
        sizes = read_parquet(path, columns=["original_bytes"])["original_bytes"]
    return sum(size for size in sizes.to_pylist() if size is not None)


def _cpu_sec() -> float:
    """Of this process and of its descendants that have ended."""
    return sum(os.times()[:4])


class _Peak:
    """Looks at the memory of this process and its descendants until it is stopped."""

    def __init__(self) -> None:
        self._bytes = tree_bytes(os.getpid())
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._look, name="peak", daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._stopped.wait(_SAMPLE_SEC):
            self._bytes = max(self._bytes, tree_bytes(os.getpid()))

    def stop(self) -> int | None:
        """The most bytes that were seen; None where nothing can be seen."""
        self._stopped.set()
        self._thread.join()
        return max(self._bytes, tree_bytes(os.getpid())) or None


def tree_bytes(pid: int) -> int:
    """Resident bytes of a process and its descendants; what they share counts once for each.

    0 without Linux's /proc.
    """
    total, waiting = 0, [pid]
    while waiting:
        at = waiting.pop()
        with contextlib.suppress(OSError, IndexError, ValueError):  # it may end meanwhile
            pages = int(Path(f"/proc/{at}/statm").read_text().split()[1])
            total += pages * os.sysconf("SC_PAGE_SIZE")
            for task in Path(f"/proc/{at}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
    return total
