"""What a training step reports: its loss, its rate, and where its time went."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class StepReport:
    """What a step did; what the progress bar and the log show."""

    step: int
    loss: float  # mean over the global batch
    rate: float
    grad_norm: float
    wait_sec: float  # for the loader
    read_sec: float  # of this batch, in a worker: mostly beside the step before
    decode_sec: float  # likewise
    transfer_sec: float
    compute_sec: float
    substituted: int  # samples of this batch, over all ranks
    captions_cut: int = 0  # of this batch, over all ranks: longer than the text tower reads


Watch = Callable[[StepReport], None]
