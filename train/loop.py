"""Training in one call: runs the trainer for the run's task on this rank's device, to the end.

A killed run, started again, resumes from its newest checkpoint (trainer.py).
"""

from __future__ import annotations

from pathlib import Path

import torch

from frenchcat.curate.errors import UserError, first_line
from frenchcat.train.classifier_loop import ClassifierTrainer
from frenchcat.train.distributed import join
from frenchcat.train.model import device_of
from frenchcat.train.reader import BadSample
from frenchcat.train.run import anchored
from frenchcat.train.settings import TrainSettings
from frenchcat.train.start import with_start
from frenchcat.train.step_report import Watch
from frenchcat.train.trainer import Trainer


def train(settings: TrainSettings, watch: Watch | None = None, *, other_run: bool = False) -> Path:
    """Train until `optimizer.steps`, from the newest checkpoint if there is one; returns the
    folder.

    `other_run` resumes from a checkpoint of another selection, model or seed. Raises `UserError`
    for settings that do not fit, data too damaged for substitutes, or too little memory.
    """
    settings = with_start(anchored(settings))
    device = device_of(settings.run.device)
    with join(device) as ranks:
        if device.type == "cuda":
            device = torch.device("cuda", ranks.local)
        trainer = _trainer_of(settings)(settings, device, ranks, other_run)
        try:
            trainer.fit(watch or (lambda _: None))
        except BadSample as bad:
            raise UserError(str(bad)) from None
        except (torch.cuda.OutOfMemoryError, MemoryError) as error:
            raise _too_large(settings, error) from None
        except RuntimeError as error:
            if "not enough memory" in str(error) or "out of memory" in str(error):
                raise _too_large(settings, error) from None
            raise
    return trainer.folder


def _trainer_of(settings: TrainSettings) -> type[Trainer]:
    return ClassifierTrainer if settings.run.task == "classifier" else Trainer


def _too_large(settings: TrainSettings, error: BaseException) -> UserError:
    first = first_line(error, 120)
    return UserError(
        f"out of memory at {settings.data.batch} images of {settings.data.size} px per step "
        f"({first}); raise optimizer.accumulate (now {settings.optimizer.accumulate}), set "
        "model.checkpointing, or lower data.batch or data.size"
    )
