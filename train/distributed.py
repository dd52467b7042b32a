"""Ranks: this process's number and how many there are, as torchrun says; otherwise one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Ranks:
    """The place of this process among the ranks."""

    rank: int = 0
    world: int = 1
    local: int = 0  # among the processes of this machine: selects the GPU

    @property
    def first(self) -> bool:
        """Whether this rank writes files and prints."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self.world > 1:
            import torch.distributed as dist

            dist.barrier()

    def mean(self, value: Tensor) -> Tensor:
        """The mean over ranks, whose parts have equal sizes."""
        if self.world > 1:
            import torch.distributed as dist

            value = value.clone()
            dist.all_reduce(value)
            value /= self.world
        return value

    def total(self, number: int) -> int:
        """The sum over ranks."""
        if self.world == 1:
            return number
        import torch
        import torch.distributed as dist

        device = torch.device("cuda") if dist.get_backend() == "nccl" else torch.device("cpu")
        value = torch.tensor(number, device=device)
        dist.all_reduce(value)
        return int(value)


@contextlib.contextmanager
def join(device: torch.device) -> Iterator[Ranks]:
    """Join torchrun's group: nccl on GPUs, gloo on processors."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Ranks()
        return
    import torch
    import torch.distributed as dist

    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device.type == "cuda":
        torch.cuda.set_device(local)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Ranks(dist.get_rank(), world, local)
    finally:
        dist.destroy_process_group()
