"""Finds, explains and stops a training whose numbers are no longer finite.

Nothing that is not finite is ever saved, so that the newest checkpoint is a good one.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from frenchcat.curate.errors import Diverged
from frenchcat.train import checkpoint
from frenchcat.train.loader import Loaded

if TYPE_CHECKING:
    from torch import Tensor

    from frenchcat.train.held_out import HeldOutLoss


def diverged_at(
    step: int, loss: float, norm: float, *, loaded: Loaded, x_t: Tensor, folder: Path, rate: float
) -> Diverged:
    """The error of a step whose loss or gradient's norm is not finite; the weights did not move.

    `x_t` is what the network saw of the batch; `rate` is optimizer.rate.
    """
    sick = (~x_t.isfinite().flatten(1).all(1)).tolist()
    keys = [key for key, is_sick in zip(loaded.keys, sick, strict=True) if is_sick]
    if keys:
        which = f"not finite before the model sees them: {', '.join(keys[:5])}"
    else:
        more = " …" if len(loaded.keys) > 5 else ""
        which = f"its samples: {', '.join(loaded.keys[:5])}{more}"
    return Diverged(
        f"training stopped at step {step}: the loss is {loss:g} and the gradient's norm {norm:g} "
        f"in batch {loaded.k} of epoch {loaded.epoch} ({which}); {_last_good(folder)}; lower "
        f"optimizer.rate (now {rate:g}), raise optimizer.warmup or set run.precision fp32, and "
        "start the same command again"
    )


def check_finite(
    tensors: dict[str, Tensor], losses: HeldOutLoss | None, *, step: int, folder: Path, rate: float
) -> None:
    """Raise `Diverged` if a tensor of a checkpoint, or its held-out loss, is not finite."""
    import torch

    told = {n: t for n, t in tensors.items() if not n.startswith("group.")}  # may be infinite
    bad = [name for name, tensor in told.items() if not bool(torch.isfinite(tensor).all())]
    if not bad and (losses is None or math.isfinite(losses.mean)):
        return
    what = f"{len(bad)} tensors such as {bad[0]} are" if bad else "the held-out loss is"
    raise Diverged(
        f"training stopped after step {step}: {what} not finite any more, and nothing was "
        f"saved; {_last_good(folder)}; lower optimizer.rate (now {rate:g}) and start the same "
        "command again"
    )


def _last_good(folder: Path) -> str:
    path = checkpoint.newest(folder)
    return f"{path} is the last good checkpoint" if path else "there is no checkpoint yet"
