"""What a stage costs per row: fitted to the runs that a dataset keeps (curate/costs.py).

A run on `units` (cores; GPUs where it embedded with some) takes ``start + rows / units * rate``.
Two runs of different sizes tell the two apart; of one, all time counts as rate, which makes a plan
for more rows too long rather than too short. Stages without a kept run take the rates that
bench/results holds (frenchcat/plan.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from frenchcat.curate.costs import RunCost, StageCosts, costs_of
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.pipeline import BuildSettings, saved_settings
from frenchcat.plan import DIMENSION, STAGES, bytes_per_row, rate_of
from frenchcat.scale.settings import IMAGE_KB, ScaleSettings

BY_SHARD = frozenset(("download", "embed", "score", "verdict"))
"""Stages that all machines share; the others are one step over all rows, on one machine."""
GROWTH: Mapping[str, float] = {"dedup": 1.27}
"""Time grows with this power of the rows where it is not 1: ten times the rows took 18.5 times as
long (bench/results/dedup.json)."""
_TABLED = "two cores, bench/results, 26 November 2026"
_TABLED_CORES = 2
_TABLED_ROWS = 1_000_000  # of bench.dedup, from which its growth counts


@dataclass(frozen=True)
class StageRate:
    """What a stage costs."""

    stage: str
    start_sec: float  # of a run, however many rows it has
    unit_sec: float  # of one core (or GPU, see `by_gpu`) per row
    read_bytes: float  # per row
    written_bytes: float  # per row
    measured_rows: int  # of the largest run
    peak_bytes: int | None = None  # of that run
    by_gpu: bool = False
    measured: bool = False
    source: str = _TABLED

    def unit_sec_of(self, rows: float) -> float:
        """Seconds of one core (or GPU) for so many rows."""
        grown = (rows / max(1, self.measured_rows)) ** (GROWTH.get(self.stage, 1.0) - 1)
        return self.unit_sec * rows * grown if rows else 0.0


@dataclass(frozen=True)
class PlanRates:
    """What all stages cost, and what is known of the rows."""

    stages: Mapping[str, StageRate]
    stored_share: float | None  # None: not measured
    dimension: int | None
    rows_per_shard: int


def rates_of(costs: Sequence[str], settings: ScaleSettings, cores: int) -> PlanRates:
    """The rates of datasets, measured on `cores` cores. Raises `UserError` without kept costs."""
    datasets = [Dataset.open(root) for root in costs]
    found = [(dataset, {one.stage: one for one in costs_of(dataset)}) for dataset in datasets]
    for dataset, kept in found:
        if not kept:
            raise UserError(
                f"{dataset.root} keeps no costs; build a part of the list on such a machine, and "
                "name that dataset with --costs"
            )
    build = saved_settings(datasets[0]) if datasets else BuildSettings()
    dimensions = {int(d) for one in datasets if (d := _dimension(one)) is not None}
    if len(dimensions) > 1:
        said = " and ".join(map(str, sorted(dimensions)))
        raise UserError(
            f"--costs: the datasets have vectors of {said} numbers, so their costs cannot be "
            "joined; name datasets of one model"
        )
    dimension = next(iter(dimensions), None)
    tabled = _tabled(build, settings, settings.rows.dimension or dimension or DIMENSION)
    stages = dict(tabled)
    for stage in STAGES:
        runs = [run for _, kept in found if stage in kept for run in _rows(kept[stage])]
        if runs:
            stages[stage] = _measured(stage, runs, settings, cores, tabled[stage])
    shares = [share for _, kept in found if (share := _stored_share(kept)) is not None]
    per_shard = build.download.samples_per_shard
    return PlanRates(stages, max(shares, default=None), dimension, per_shard)


def _rows(costs: StageCosts) -> list[RunCost]:
    return [run for run in costs.runs if run.rows > 0 and run.wall_sec > 0]


def _dimension(dataset: Dataset) -> int | None:
    entry = dataset.manifest().entry("embed")
    return None if entry.settings is None else int(entry.setting("dimension"))


def _stored_share(kept: Mapping[str, StageCosts]) -> float | None:
    """Rows that were embedded of those that were downloaded; None where either is not kept."""
    rows = [sum(run.rows for run in kept[s].runs) for s in ("download", "embed") if s in kept]
    return min(1.0, rows[1] / rows[0]) if len(rows) == 2 and rows[0] and rows[1] else None


def units(stage: str, cores: int, gpus: int, shards: int) -> int:
    """How many of a machine's cores (or GPUs) work on so many shards at once."""
    if stage == "embed":
        return gpus or cores  # one worker per machine has all of them
    return min(cores, max(1, shards)) if stage in BY_SHARD else cores


def _measured(
    stage: str, runs: Sequence[RunCost], settings: ScaleSettings, cores: int, tabled: StageRate
) -> StageRate:
    gpus = settings.measured.gpus if stage == "embed" else 0
    points = [(run.rows / units(stage, cores, gpus, run.shards), run.wall_sec) for run in runs]
    start, rate = fitted(points)
    rows = sum(run.rows for run in runs)
    largest = max(runs, key=lambda run: run.rows)
    fetched = sum(run.read_bytes for run in runs) / rows
    if stage == "download" and settings.rows.image_kb is not None:
        fetched = settings.rows.image_kb * 1000
    return replace(
        tabled,
        start_sec=start,
        unit_sec=rate,
        read_bytes=fetched,
        written_bytes=sum(run.written_bytes for run in runs) / rows,
        measured_rows=largest.rows,
        peak_bytes=largest.peak_bytes,
        by_gpu=gpus > 0,
        measured=True,
        source=f"{len(runs)} kept runs, {largest.rows} rows at most",
    )


def fitted(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Start and slope of a line through (x, seconds), by least squares of relative errors.

    Neither is negative; where the points tell no start, the whole time is slope.
    """
    x, y = (np.array(part, float) for part in zip(*points, strict=True))
    if len(set(x.tolist())) > 1:
        (start, slope), *_ = np.linalg.lstsq(np.stack([1 / y, x / y], 1), np.ones_like(y))
        if start >= 0 and slope > 0:
            return float(start), float(slope)
    at = int(x.argmax())
    return 0.0, float(y[at] / x[at])


def _tabled(build: BuildSettings, settings: ScaleSettings, dimension: int) -> dict[str, StageRate]:
    """The rates of stages for which no run is kept."""
    image_bytes = (settings.rows.image_kb or IMAGE_KB) * 1000
    written = {stage: bytes_per_row(stage, build, dimension) for stage in STAGES}
    read = {
        "download": image_bytes,
        "embed": written["download"],
        "score": written["download"],
        "dedup": 2.0 * dimension,
        "verdict": 0.0,
        "index": 4.0 * dimension,
    }
    return {
        stage: StageRate(
            stage,
            0.0,
            _TABLED_CORES / rate_of(stage, build),
            read[stage],
            written[stage],
            _TABLED_ROWS,
        )
        for stage in STAGES
    }
