"""Draws for the service: `frenchcat serve --draw RUN` passes this to /v1/draw.

Draws as `frenchcat sample` does, with signatures and receipts, in memory: no file is written. The
model stays loaded between drawings. A better checkpoint that training writes meanwhile is loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.curate.json_text import plain
from frenchcat.drawing import draw_signed
from frenchcat.index.service.drawing import DrawBackend, Drawn

if TYPE_CHECKING:
    from frenchcat.drawing import Opened
    from frenchcat.index.service.models.drawing import DrawRequest


def draw_backend_of(run: Path) -> DrawBackend:
    """The backend of a run. Raises `UserError` if there is no run, or none that draws yet.

    Loads no model: the first drawing does.
    """
    from frenchcat.train.run import find_checkpoint

    try:
        _, _, settings = find_checkpoint(run)
    except UserError as error:
        raise UserError(f"--draw {error}") from None
    if settings.run.task != "diffusion":
        raise UserError(f"--draw {run} is a {settings.run.task}, which draws nothing")
    return DrawBackend(_Run(run).draw, _root(settings.data.dataset))


def _root(dataset: str | None) -> str | None:
    try:
        return None if dataset is None else Dataset.open(dataset).root
    except UserError:  # gone, or not at this path; the receipts say so
        return None


class _Run:
    """A run whose model is loaded at the first drawing. Used by one thread."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.opened: Opened | None = None

    def draw(self, wanted: DrawRequest, stopped: Callable[[], bool] | None = None) -> list[Drawn]:
        """The images of a request. Raises `UserError` and `Stopped` as `draw_signed` does."""
        from frenchcat.train.checkpoint import best
        from frenchcat.train.run import open_run

        if self.opened is None or self.opened[2] != best(self.run):
            self.opened = open_run(self.run)
        drawings, _ = draw_signed(
            self.run,
            [wanted.prompt],
            number=wanted.number,
            seed=wanted.seed,
            negative=wanted.negative,
            guidance=wanted.guidance,
            steps=wanted.steps,
            opened=self.opened,
            stopped=stopped,
        )
        return [Drawn(one.file, plain(one.receipt)) for one in drawings]
