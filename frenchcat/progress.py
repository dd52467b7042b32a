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
        self._stage, self._rows, self._began = "", 0, 0.0

    def begin(self, stage: str, shards: int) -> None:
        """Draw the stage's bar."""
        self._stage, self._rows, self._began = stage, 0, time.monotonic()
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
        self._rows += rows
        if self._bar:
            self._bar.update(self._task, rows=self._rows, rate=self._rate())

    def shard_done(self, shard: str, counts: Mapping[str, int]) -> None:
        """Advance the bar by a shard."""
        if self._bar:
            self._bar.advance(self._task)

    def end(self) -> None:
        """Leave the bar as it is."""
        if self._bar:
            self._bar.stop()
            self._bar = None
        elif self._rows:
            spent = time.monotonic() - self._began
            console.print(
                f"{self._stage}: {self._rows} rows in {spent:.1f} s ({self._rate():.0f}/s)"
            )

    def _rate(self) -> float:
        return self._rows / max(time.monotonic() - self._began, 1e-9)


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
