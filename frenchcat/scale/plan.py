"""A list of so many rows on so many machines: time, machine hours, storage, traffic, money.

Reads rates (rates.py) and settings; lists only to count their rows. Writes nothing.

Download, embedding, scores and verdicts are shared among machines by shard; duplicates and the
index are one step on one machine. A stage takes as long as its cores (or GPUs) work, or as long as
its bytes take on the network, whichever is longer. Where there is one machine, only the download
uses the network. What no plan knows is not in it: slow hosts, failing machines, waiting in a queue.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal

from frenchcat.curate.config import Resolved
from frenchcat.curate.dedup.semantic import memory_bytes as near_vectors_bytes
from frenchcat.curate.download import DownloadSettings
from frenchcat.curate.download.sources import find, kind_of
from frenchcat.curate.errors import UserError
from frenchcat.index.kinds import code_bytes
from frenchcat.index.kinds import kind_of as index_kind_of
from frenchcat.plan import DIMENSION, STAGES, rows_of_lists
from frenchcat.scale import laion
from frenchcat.scale.rates import BY_SHARD, PlanRates, StageRate, rates_of, units
from frenchcat.scale.settings import ASSUMED, IMAGE_KB, NO_SOURCE, ScaleSettings

Limit = Literal["cores", "GPUs", "network"]
MOST_ROWS = 10**12
MOST_MACHINES = 100_000
FAR = 100
"""Beyond this many times the rows that were measured, a plan says that it extrapolates."""
_DAY_SEC = 86_400.0
_MODALITIES = 2  # vectors of images and of captions
_NUMBER = re.compile(r"[0-9][0-9_.]*([eE]\+?[0-9]+)?")


@dataclass(frozen=True)
class ScaledStage:
    """A stage on the machines."""

    stage: str
    rows: int
    machines: int
    sec: float
    machine_hours: float
    limit: Limit  # what takes the time
    read_bytes: float
    written_bytes: float
    memory_bytes: float | None  # of one machine; None: not known
    fits: bool  # in machine.memory_gb
    source: str  # of its rates


@dataclass(frozen=True)
class ScalePlan:
    """What a list would take."""

    rows: int
    stored: int  # of them whose image is stored
    machines: int
    stages: tuple[ScaledStage, ...]
    scratch_bytes: float  # of one machine's disk, while duplicates are looked for
    money: Mapping[str, float]  # by what it is for; only what a price was given for
    unpriced: tuple[str, ...]  # what no price was given for
    currency: str
    assumed: tuple[str, ...]  # what nobody gave or measured, and where it comes from
    notes: tuple[str, ...]
    beside: tuple[laion.ComparedFigure, ...] = field(default=())

    @property
    def sec(self) -> float:
        """Seconds from the first stage to the last."""
        return sum(stage.sec for stage in self.stages)

    @property
    def machine_hours(self) -> float:
        """Hours of all machines together."""
        return sum(stage.machine_hours for stage in self.stages)

    @property
    def storage_bytes(self) -> float:
        """Bytes of the dataset."""
        return sum(stage.written_bytes for stage in self.stages)

    @property
    def traffic_in_bytes(self) -> float:
        """Bytes that are fetched from the web."""
        return next(one.read_bytes for one in self.stages if one.stage == "download")

    @property
    def total(self) -> float | None:
        """All amounts together; None where no price was given."""
        return sum(self.money.values()) if self.money else None

    def as_dict(self) -> dict[str, Any]:
        """The plan, ready for JSON."""
        derived = ("sec", "machine_hours", "storage_bytes", "traffic_in_bytes", "total")
        return {**asdict(self), **{name: getattr(self, name) for name in derived}}


def scale_plan(
    lists: Sequence[str],
    costs: Sequence[str],
    resolved: Resolved[ScaleSettings],
    *,
    machines: int | None = None,
    within_days: float | None = None,
) -> ScalePlan:
    """Plan lists, or a number of rows such as ``5e9``, on `machines` or in `within_days`.

    `costs` are datasets whose kept costs the rates are fitted to. Raises `UserError` for a list or
    number that is none, datasets without costs, GPUs without a rate, and a time that no number of
    machines keeps.
    """
    settings = resolved.value
    if machines is not None and within_days is not None:
        raise UserError("--machines and --within were both given; leave out one of them")
    if within_days is not None and not 0 < within_days < float("inf"):
        raise UserError(f"--within {within_days} is no time; give a number of days above 0")
    if machines is not None and not 1 <= machines <= MOST_MACHINES:
        raise UserError(f"--machines {machines} is not from 1 to {MOST_MACHINES:,}")
    cores = settings.measured.cores or os.cpu_count() or 1
    rates = rates_of(costs, settings, cores)
    work = _ScaledWork(settings, rates, cores, rows_of(lists))
    work.check()
    if within_days is not None:
        machines = _fewest(work, within_days)
    return work.plan(machines or 1, _assumed(resolved, rates, cores))


def rows_of(lists: Sequence[str]) -> int:
    """A number of rows, or the rows of lists: of parquet as its footers say, of others counted."""
    if len(lists) == 1 and _NUMBER.fullmatch(lists[0]) and not Path(lists[0]).exists():
        return _number(lists[0])
    found = find(list(lists)).found
    if all(kind_of(one.address) == "parquet" and "://" not in one.address for one in found):
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            rows = sum(int(pq.read_metadata(one.address).num_rows) for one in found)
        except (pa.ArrowException, OSError):  # reading it says what is wrong with it
            rows = 0
        if rows:
            return rows
    return rows_of_lists(list(lists), DownloadSettings())


def _number(text: str) -> int:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("0.5")
    if not 1 <= value <= MOST_ROWS or value != value.to_integral_value():
        raise UserError(
            f"{text} is not a number of rows; give a whole number from 1 to {MOST_ROWS:,}, such as "
            "1000000 or 5e9, or a list"
        )
    return int(value)


@dataclass(frozen=True)
class _ScaledWork:
    """Rows, what they cost, and on what."""

    settings: ScaleSettings
    rates: PlanRates
    cores: int  # of the measured machine
    rows: int

    def check(self) -> None:
        """Raise `UserError` for GPUs whose rate is not known."""
        machine = self.settings.machine
        known = machine.images_per_sec_per_gpu or self.rates.stages["embed"].by_gpu
        if machine.gpus and not known:
            raise UserError(
                "machine.gpus is set, but not how much one embeds: give "
                "machine.images_per_sec_per_gpu (LAION-5B: 312 of ViT-L/14, 1800 of ViT-B/32 on an "
                "A100), or measured.gpus with --costs of a machine with GPUs"
            )

    @property
    def stored(self) -> int:
        """Rows with an image."""
        share = self.settings.rows.stored_share or self.rates.stored_share or 1.0
        return max(1, round(self.rows * share))

    @property
    def dimension(self) -> int:
        """Numbers of a vector."""
        return self.settings.rows.dimension or self.rates.dimension or DIMENSION

    def stages(self, machines: int) -> tuple[ScaledStage, ...]:
        """What each stage takes."""
        return tuple(self._stage(self.rates.stages[stage], machines) for stage in STAGES)

    def _stage(self, rate: StageRate, machines: int) -> ScaledStage:
        stage, machine = rate.stage, self.settings.machine
        rows = self.rows if stage == "download" else self.stored
        shards = -(-self.rows // self.rates.rows_per_shard)
        used = min(machines, shards) if stage in BY_SHARD else 1
        work, limit = self._work(rate, rows, used, shards)
        read, written = rate.read_bytes * rows, self._written_per_row(rate, rows) * rows
        # Several machines have the dataset where all reach it; one has it on its disk.
        sent = written if machines > 1 else 0.0
        received = read if machines > 1 or stage == "download" else 0.0
        network = max(sent, received) * 8 / (used * machine.network_gbit * 1e9)
        if network > work:
            work, limit = network, "network"
        sec = rate.start_sec + work
        memory = self._memory(rate, rows)
        fits = memory is None or memory <= machine.memory_gb * 1e9
        hours = sec * used / 3600
        return ScaledStage(
            stage, rows, used, sec, hours, limit, read, written, memory, fits, rate.source
        )

    def _work(self, rate: StageRate, rows: int, used: int, shards: int) -> tuple[float, Limit]:
        machine = self.settings.machine
        gpus = machine.gpus if rate.stage == "embed" else 0
        if gpus and machine.images_per_sec_per_gpu:
            return rows / (used * gpus * machine.images_per_sec_per_gpu), "GPUs"
        if gpus:
            return rate.unit_sec_of(rows) / (used * gpus), "GPUs"
        if rate.by_gpu:
            raise UserError(
                "--costs were measured with GPUs (measured.gpus), and machine.gpus is 0; give "
                "machine.gpus, or costs of a machine without"
            )
        each = units(rate.stage, machine.cores, 0, -(-shards // used))
        return rate.unit_sec_of(rows) / (used * each * machine.core_speed), "cores"

    def _written_per_row(self, rate: StageRate, rows: int) -> float:
        """As measured, but for an index: few rows are kept in float16, many as codes."""
        if rate.stage != "index" or not rate.measured:
            return rate.written_bytes
        before, now = (
            _MODALITIES * code_bytes(index_kind_of(number, "auto"), self.dimension)
            for number in (rate.measured_rows, rows)
        )
        return max(now, rate.written_bytes - before + now)

    def _memory(self, rate: StageRate, rows: int) -> float | None:
        """Of one machine: as measured by shard, with what grows with the rows for other stages."""
        machine, peak = self.settings.machine, rate.peak_bytes
        if rate.stage in BY_SHARD:  # one worker per core, but for the model
            more = 1.0 if rate.stage == "embed" else max(1.0, machine.cores / self.cores)
            return None if peak is None else peak * more
        if rate.stage == "dedup":
            grown = float(near_vectors_bytes(rows, self.dimension, machine.cores))
        else:
            grown = rows * code_bytes(index_kind_of(rows, "auto"), self.dimension)
        return max(float(peak or 0), grown)

    # -- all together ------------------------------------------------------------------------------

    def plan(self, machines: int, assumed: Sequence[str]) -> ScalePlan:
        """The plan, with what it costs and LAION-5B beside it."""
        stages = self.stages(machines)
        money, unpriced = self._money(stages)
        return ScalePlan(
            self.rows,
            self.stored,
            machines,
            stages,
            2.0 * self.dimension * self.stored,
            money,
            unpriced,
            self.settings.prices.currency,
            tuple(assumed),
            tuple(self._notes(stages)),
            tuple(self._beside()),
        )

    def _money(self, stages: Sequence[ScaledStage]) -> tuple[dict[str, float], tuple[str, ...]]:
        prices = self.settings.prices
        hours = sum(stage.machine_hours for stage in stages)
        stored = sum(stage.written_bytes for stage in stages) / 1e12
        fetched = stages[0].read_bytes / 1e12
        amounts = {
            "machines": (prices.machine_hour, hours, "prices.machine_hour"),
            "storage": (prices.storage_tb_month, stored * prices.months, "prices.storage_tb_month"),
            "traffic": (prices.traffic_in_tb, fetched, "prices.traffic_in_tb"),
        }
        money = {what: price * n for what, (price, n, _) in amounts.items() if price is not None}
        return money, tuple(name for price, _, name in amounts.values() if price is None)

    def _notes(self, stages: Sequence[ScaledStage]) -> list[str]:
        notes = []
        memory_gb = self.settings.machine.memory_gb
        cures = {
            "dedup": "use a larger machine for it, or compare parts of the list on their own",
            "index": "use a larger machine for it, or a database: docs/publish.md",
        }
        for one in stages:
            if not one.fits:
                assert one.memory_bytes is not None
                cure = cures.get(one.stage, "use fewer workers per machine (--workers)")
                notes.append(
                    f"{one.stage} takes {one.memory_bytes / 1e9:,.0f} GB of memory on one machine, "
                    f"and machine.memory_gb is {memory_gb:g}; {cure}"
                )
        far = [
            one.stage
            for one in stages
            if one.rows > FAR * self.rates.stages[one.stage].measured_rows
        ]
        if far:
            notes.append(
                f"{', '.join(far)}: more than {FAR} times the rows that were measured; measure a "
                "larger part before you rely on it"
            )
        return notes

    def _beside(self) -> list[laion.ComparedFigure]:
        as_many = _ScaledWork(self.settings, self.rates, self.cores, laion.ROWS)
        stages = {one.stage: one for one in as_many.stages(laion.MACHINES)}
        gpus = self.settings.machine.gpus
        cores = self.settings.machine.cores

        def hours(stage: str, each: int) -> float:
            return stages[stage].machine_hours * each

        planned = {
            "download": (hours("download", cores), "core hours"),
            "embedding": (
                hours("embed", gpus or cores),
                "GPU hours" if gpus else "core hours",
            ),
            "images": (stages["download"].written_bytes / 1e12, "TB"),
            "vectors": (stages["embed"].written_bytes / 1e12, "TB"),
            "index": (stages["index"].written_bytes / 1e12, "TB"),
        }
        return laion.compared(planned)


def _fewest(work: _ScaledWork, days: float) -> int:
    """The fewest machines that are done in so many days."""

    def sec(machines: int) -> float:
        return sum(one.sec for one in work.stages(machines))

    if sec(MOST_MACHINES) > days * _DAY_SEC:
        alone = {one.stage: one.sec / _DAY_SEC for one in work.stages(MOST_MACHINES)}
        longest = max(alone, key=lambda stage: alone[stage])
        raise UserError(
            f"--within {days:g}: {longest} alone takes {alone[longest]:.3g} days on any number of "
            "these machines; give more days, or faster machines (machine.cores, core_speed)"
        )
    return _least(lambda machines: sec(machines) <= days * _DAY_SEC)


def _least(enough: Callable[[int], bool]) -> int:
    low, high = 1, MOST_MACHINES
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low


def _assumed(resolved: Resolved[ScaleSettings], rates: PlanRates, cores: int) -> list[str]:
    """What nobody gave or measured."""
    settings = resolved.value
    said = [
        f"{name} = {getattr(settings.machine, name.partition('.')[2]):g} ({source})"
        for name, source in ASSUMED.items()
        if name not in resolved.origins
    ]
    if settings.measured.cores is None and any(one.measured for one in rates.stages.values()):
        said.append(f"measured.cores = {cores} (this machine's)")
    if settings.rows.stored_share is None and rates.stored_share is None:
        said.append("rows.stored_share = 1 (an upper bound: no download is measured)")
    if settings.rows.image_kb is None and not rates.stages["download"].measured:
        said.append(f"rows.image_kb = {IMAGE_KB:g} ({NO_SOURCE})")
    if settings.rows.dimension is None and rates.dimension is None:
        said.append(f"rows.dimension = {DIMENSION} (ViT-B-32)")
    tabled = [rate.stage for rate in rates.stages.values() if not rate.measured]
    if tabled:
        where = rates.stages[tabled[0]].source
        said.append(f"rates of {', '.join(tabled)}: {where} (give --costs DATASET for yours)")
    return said
