"""Which steps of a run trained on given rows, and which of its checkpoints have seen them.

Reads a run's laid-out rows and the state of its checkpoints; no log, no image and no model. Which
rows make up a batch follows from (selection, seed, epoch, k) alone (plan.py), so this is known
of each of its steps, whether or not it was logged.

It does not say what a row changed in the weights, or which damaged images were replaced by others
during the training (the run counts those as `substituted`).

Cost: every batch up to the last checkpoint is planned again, about 10,000 steps per second.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.command_text import shell_command
from frenchcat.curate.errors import NotFound, UserError
from frenchcat.train import checkpoint
from frenchcat.train.checkpoint import State
from frenchcat.train.loader import Cursor, places, plan_of
from frenchcat.train.plan import Plan
from frenchcat.train.rows import TrainingRows, open_rows
from frenchcat.train.run import find_checkpoint


@dataclass(frozen=True)
class SeenBy:
    """A checkpoint, and how often it was trained on the rows."""

    name: str
    step: int  # optimizer steps of the run until it was written
    times: int  # that one of the rows was drawn until then


@dataclass(frozen=True)
class Use:
    """What a run made of the rows that were asked about."""

    run: str
    selection: str | None
    step: int  # of the newest checkpoint: later steps left nothing behind
    steps: dict[
        str, list[int]
    ]  # key -> the steps that drew it, from 1, rising; twice if drawn twice
    held_out: list[str]  # keys of the run's rows that it never trains on
    checkpoints: list[SeenBy]  # oldest first
    substituted: int  # draws of any row that were replaced by another, as its image was damaged

    @property
    def cannot_forget(self) -> list[str]:
        """The names of the checkpoints that were trained on any of the rows."""
        return [one.name for one in self.checkpoints if one.times]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {**asdict(self), "cannot_forget": self.cannot_forget}


@dataclass(frozen=True)
class Draws:
    """What a run has trained on."""

    dataset: str | None  # None: foreign tars
    selection: str | None
    step: int  # of the newest checkpoint
    times: dict[str, int]  # key -> how often it was drawn, of the rows that were


def use_of(run: Path, keys: Collection[str], only: str | None = None) -> Use:
    """What a run made of the rows of its dataset with these keys; `only` names one checkpoint.

    Raises `NotFound` for a folder that is not a run, has no checkpoint or not the one named, and
    `UserError` if its state cannot be read, or its steps do not follow from its rows.
    """
    _, _, settings = find_checkpoint(run)
    rows = _rows_of(run)
    states = _states(run)
    if only is not None:
        known = ", ".join(name for name, _ in states)
        states = [(name, state) for name, state in states if name == only]
        if not states:
            raise NotFound(f"{run} has no checkpoint {only!r}; there are: {known}")
    _check_order(run, rows, states)
    newest = max((state for _, state in states), key=lambda state: state.step)
    asked = set(keys)
    named = {number: key for number, key in enumerate(rows.keys()) if key in asked}
    wanted = np.array(sorted(named), np.int64)  # the plan draws no row that is held out
    steps: dict[str, list[int]] = defaultdict(list)
    for step, number in _drawn(plan_of(rows, settings), wanted, newest.step):
        steps[named[number]].append(step)
    drawn = sorted(step for found in steps.values() for step in found)
    return Use(
        str(run),
        settings.data.selection,
        newest.step,
        {key: steps[key] for key in sorted(steps)},
        sorted(named[number] for number in rows.held_out if number in named),
        [SeenBy(name, s.step, sum(step <= s.step for step in drawn)) for name, s in states],
        newest.substituted,
    )


def draws_of(run: Path) -> Draws:
    """How often a run has drawn each of its rows until its newest checkpoint.

    Raises as `use_of`.
    """
    _, _, settings = find_checkpoint(run)
    rows = _rows_of(run)
    name, newest = max(_states(run), key=lambda named: named[1].step)
    _check_order(run, rows, [(name, newest)])
    times = np.zeros(len(rows), np.int64)
    plan = plan_of(rows, settings)
    for epoch, k in places(plan, Cursor(), newest.step):
        np.add.at(times, plan.at(epoch, k).rows, 1)
    keys = rows.keys()
    drawn = {keys[number]: int(times[number]) for number in np.flatnonzero(times).tolist()}
    return Draws(settings.data.dataset, settings.data.selection, newest.step, drawn)


def runs_of(dataset: Path) -> list[Path]:
    """The runs beside a dataset that were trained on it: folders of the folder that it lies in."""
    found = []
    for about in sorted(dataset.resolve().parent.glob(f"*/{checkpoint.FOLDER}")):
        try:
            _, _, settings = find_checkpoint(about.parent)
        except NotFound:
            continue
        place = settings.data.dataset
        if place is not None and Path(place).resolve() == dataset.resolve():
            found.append(about.parent)
    return found


def check_trained_on(run: Path, dataset: Path) -> None:
    """Raise `UserError` for a run on other data: there, the same keys are those of other images.

    A run whose dataset is no longer where it was is taken for one on `dataset`, which has moved.
    """
    _, _, settings = find_checkpoint(run)
    place = settings.data.dataset
    if place is None:
        raise UserError(
            f"{run} was trained on the tars {settings.data.tars}, not on {dataset}: their keys are "
            "those of other images; leave the run out"
        )
    if Path(place).exists() and Path(place).resolve() != dataset.resolve():
        raise UserError(
            f"{run} was trained on {place}, not on {dataset}: the keys there are those of other "
            f"images; ask there: {shell_command('used', place)}"
        )


def _states(run: Path) -> list[tuple[str, State]]:
    """The name and the state of each checkpoint, oldest first."""
    return [(path.name, checkpoint.read_state(path)) for path in checkpoint.steps(run)]


def _rows_of(run: Path) -> TrainingRows:
    if (rows := open_rows(run / "rows")) is None:
        raise NotFound(
            f"{run}: its rows/ are gone, from which its order follows; start its training again, "
            "which lays them out, or restore them"
        )
    return rows


def _check_order(run: Path, rows: TrainingRows, states: Sequence[tuple[str, State]]) -> None:
    """Raise `UserError` where the steps of a checkpoint do not follow from the run's rows."""
    for name, state in states:
        if state.identity.get("selection") != rows.digest:
            raise UserError(
                f"{run}: {name} was trained on other rows than those in its rows/, so nobody can "
                "say at which steps; restore them, delete that checkpoint, or name other runs with "
                "--run"
            )
        if (until := state.identity.get(checkpoint.OTHER_UNTIL)) is not None:
            raise UserError(
                f"{run}: the first {until} steps of {name} were of another selection, seed or "
                "order (--other-run), which nothing tells any more; name other runs with --run"
            )


def _drawn(plan: Plan, wanted: NDArray[np.int64], steps: int) -> Iterator[tuple[int, int]]:
    """(step, row) of every draw of the wanted rows in the first steps of a run."""
    if not len(wanted):
        return
    for step, (epoch, k) in enumerate(places(plan, Cursor(), steps), start=1):
        rows = plan.at(epoch, k).rows
        for number in rows[np.isin(rows, wanted)].tolist():
            yield step, number
