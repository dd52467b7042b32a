"""Progress of long work on stderr: one bar per stage on a terminal, one line per stage
elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress

from frenchcat.rich_terminal import Terminal

console = Terminal(stderr=True)
_SAY_EVERY_SEC = 10.0
_ESTIMATE_EVERY_SEC = 60.0


class StageClock:
    """How far a stage is, and when it may end."""

    def __init__(self, stage: str, shards: int) -> None:
        self.stage, self.shards = stage, shards
        self.done, self.rows = 0, 0
        self._began = time.monotonic()

    def sec(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._began

    def remaining_sec(self) -> float | None:
        """Seconds until it may end, if the shards that are left take as long as those before.

        None before the first is done.
        """
        left = self.shards - self.done
        return None if not self.done else left * self.sec() / self.done

    def rate(self) -> float:
        """Rows per second."""
        return self.rows / max(self.sec(), 1e-9)


def _bar(counted: str) -> RichProgress:
    """A bar for one task, with `counted` behind its numbers; nothing without a terminal."""
    return RichProgress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(counted),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


class Bars:
    """A `frenchcat.curate.stage.Progress` that draws one bar of shards for the running stage."""

    def __init__(self) -> None:
        self._bar: RichProgress | None = None
        self._clock, self._said = StageClock("", 0), 0.0

    def begin(self, stage: str, shards: int) -> None:
        """Draw the stage's bar."""
        self._clock, self._said = StageClock(stage, shards), time.monotonic()
        if shards == 0:
            console.print(f"{stage}: up to date")
            return
        if not console.is_terminal:
            console.print(f"{stage}: {shards} shards to do")
            return
        self._bar = _bar("shards, {task.fields[rows]} rows, {task.fields[rate]:.0f}/s")
        self._task = self._bar.add_task(stage, total=shards, rows=0, rate=0.0)
        self._bar.start()

    def advance(self, rows: int) -> None:
        """Add to the finished rows."""
        self._clock.rows += rows
        if self._bar:
            self._bar.update(self._task, rows=self._clock.rows, rate=self._clock.rate())

    def shard_done(self, shard: str, counts: Mapping[str, int]) -> None:
        """Advance the bar by a shard; without a terminal, say now and then when it may end."""
        self._clock.done += 1
        if self._bar:
            self._bar.advance(self._task)
        elif (now := time.monotonic()) - self._said > _ESTIMATE_EVERY_SEC:
            self._said = now
            console.print(self._estimate())

    def end(self) -> None:
        """Leave the bar as it is."""
        if self._bar:
            self._bar.stop()
            self._bar = None
        elif self._clock.rows:
            clock = self._clock
            console.print(
                f"{clock.stage}: {clock.rows} rows in {clock.sec():.1f} s ({clock.rate():.0f}/s)"
            )

    def _estimate(self) -> str:
        clock, left = self._clock, self._clock.remaining_sec() or 0.0
        return (
            f"{clock.stage}: {clock.done} of {clock.shards} shards, {clock.rows} rows "
            f"({clock.rate():.0f}/s), about {lasting(left)} left"
        )


class Rows:
    """A bar for a known number of rows; without a terminal one line at the end."""

    def __init__(self, name: str, total: int) -> None:
        self._name, self._done, self._began = name, 0, time.monotonic()
        self._bar = _bar("rows")
        self._task = self._bar.add_task(name, total=total)

    def __enter__(self) -> Rows:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._bar.stop()
        if kind is None and not console.is_terminal:
            spent = time.monotonic() - self._began
            console.print(f"{self._name}: {self._done} rows in {spent:.1f} s")

    def advance(self, rows: int) -> None:
        """Add to the finished rows."""
        self._done += rows
        self._bar.update(self._task, completed=self._done)


class Steps:
    """A bar of training steps with the loss; without a terminal an occasional line."""

    def __init__(self, total: int) -> None:
        self._total, self._said = total, 0.0
        self._bar = _bar("loss {task.fields[loss]:.3f}, waited {task.fields[wait]:.0%}")
        self._task = self._bar.add_task("training", total=total, loss=0.0, wait=0.0)
        self._began, self._waited = time.monotonic(), 0.0

    def __enter__(self) -> Steps:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def step(self, step: int, loss: float, wait_sec: float) -> None:
        """Show a step."""
        now = time.monotonic()
        self._waited += wait_sec
        share = self._waited / max(now - self._began, 1e-9)
        self._bar.update(self._task, completed=step, loss=loss, wait=share)
        if not console.is_terminal and (now - self._said > _SAY_EVERY_SEC or step == self._total):
            self._said = now
            console.print(f"step {step} of {self._total}: loss {loss:.3f}, waited {share:.0%}")


class DrawingBar:
    """A bar of sampler steps; without a terminal an occasional line."""

    def __init__(self) -> None:
        self._said = time.monotonic()
        self._bar = _bar("steps")
        self._task = self._bar.add_task("drawing", total=None)

    def __enter__(self) -> DrawingBar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, step: int, steps: int) -> None:
        """Show a step."""
        self._bar.update(self._task, completed=step, total=steps)
        now = time.monotonic()
        if not console.is_terminal and (now - self._said > _SAY_EVERY_SEC or step == steps):
            self._said = now
            console.print(f"drawing: step {step} of {steps}")


def lasting(sec: float) -> str:
    """A duration for people: 1.5 days."""
    for unit, length in (("years", 365.25 * 86_400), ("days", 86_400), ("h", 3600), ("min", 60)):
        if sec >= 2 * length:
            return f"{sec / length:,.1f} {unit}"
    return f"{sec:.1f} s"
