"""The logs of a training: log.jsonl, held_out.jsonl, losses-<rank>.jsonl, TensorBoard.

A run that resumes at step n truncates the logs to that step, so that each step is logged once.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from frenchcat.curate.atomic import write_whole
from frenchcat.curate.dataset import digest_of
from frenchcat.curate.errors import UserError
from frenchcat.curate.json_text import json_text
from frenchcat.train.distributed import Ranks
from frenchcat.train.loader import Loaded

if TYPE_CHECKING:
    from PIL.Image import Image

    from frenchcat.train.held_out import HeldOutLoss
    from frenchcat.train.step_report import StepReport


class Log:
    """The files of one rank; only the first writes more than its losses.

    TensorBoard gets a point `every` so many steps, log.jsonl a line per step.
    """

    def __init__(
        self, folder: Path, ranks: Ranks, step: int, every: int = 1, wandb: str | None = None
    ) -> None:
        self._every = every
        self._wandb: Any = _wandb_run(folder, wandb) if wandb and ranks.first else None
        self._losses = _open(folder / f"losses-{ranks.rank}.jsonl", step)
        self._steps = _open(folder / "log.jsonl", step) if ranks.first else None
        self._held_out = _open(folder / "held_out.jsonl", step) if ranks.first else None
        self._board: Any = None
        if ranks.first:
            from tensorboardX import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def step(self, report: StepReport, loaded: Loaded) -> None:
        """Log a step and the samples that were lost in it."""
        place = {"step": report.step, "epoch": loaded.epoch, "k": loaded.k}
        for loss in loaded.losses:
            _write(self._losses, place | asdict(loss))
        self._losses.flush()
        if self._steps is None:
            return
        # Of samples and their random numbers: equal digests mean equal training.
        digest = digest_of(
            [loaded.keys, loaded.captions, loaded.times.tolist(), loaded.noise_seeds]
        )
        _write(self._steps, place | asdict(report) | {"samples": digest[:16]})
        self._steps.flush()
        if report.step % self._every:
            return
        for name in ("loss", "rate", "grad_norm", "wait_sec", "compute_sec"):
            self._board.add_scalar(f"train/{name}", getattr(report, name), report.step)
        names = ("loss", "rate", "grad_norm", "wait_sec", "compute_sec", "substituted")
        self._tell({f"train/{name}": getattr(report, name) for name in names}, report.step)

    def held_out(self, step: int, losses: HeldOutLoss | None) -> None:
        """Log the loss on held-out images."""
        if losses is None or self._board is None or self._held_out is None:
            return
        _write(self._held_out, {"step": step, "loss": losses.mean, "by_time": losses.by_time})
        self._held_out.flush()
        self._board.add_scalar("held_out/loss", losses.mean, step)
        self._tell({"held_out/loss": losses.mean}, step)
        for t, value in losses.by_time.items():
            self._board.add_scalar(f"held_out/t{t:04d}", value, step)

    def picture(self, step: int, picture: Image) -> None:
        """Log a grid of samples."""
        if self._board is not None:
            self._board.add_image("samples", np.asarray(picture), step, dataformats="HWC")
        if self._wandb is not None:
            import wandb

            self._tell({"samples": wandb.Image(picture)}, step)

    def _tell(self, values: dict[str, Any], step: int) -> None:
        if self._wandb is not None:
            self._wandb.log(values, step=step)

    def close(self) -> None:
        """Close the files."""
        self._losses.close()
        for file in (self._steps, self._held_out):
            if file is not None:
                file.close()
        if self._board is not None:
            self._board.close()
        if self._wandb is not None:
            self._wandb.finish()


def _wandb_run(folder: Path, project: str) -> Any:
    """A run of Weights & Biases, resumed by the folder's name.

    Raises `UserError` without the package, or if it cannot start.
    """
    try:
        import wandb

        return wandb.init(project=project, name=folder.name, dir=str(folder), resume="allow")
    except ImportError:
        raise UserError("run.wandb needs wandb; pip install wandb, or leave it out") from None
    except Exception as error:  # a service may fail in any way
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"run.wandb {project} cannot begin ({reason}); set WANDB_MODE=offline, or leave it out"
        ) from None


def _open(path: Path, step: int) -> IO[str]:
    """The file, truncated to the lines up to `step`."""
    kept = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line)
            except (ValueError, KeyError):  # a line that a crash cut short
                continue
    write_whole(path, "".join(f"{line}\n" for line in kept))
    return open(path, "a", encoding="utf-8")


def _write(file: IO[str], value: dict[str, Any]) -> None:
    file.write(json_text(value) + "\n")
