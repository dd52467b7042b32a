"""Random numbers by name: a generator for each (seed, epoch, sample, purpose).

Because no generator is shared, a sample's noise, timestep, dropped caption, crop and flip are the
same for any rank, worker or restart. Seeding costs about 13 us.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from frenchcat.train.permutation import key_of

if TYPE_CHECKING:
    import torch

Purpose = Literal["noise", "timestep", "caption", "variant", "crop", "flip", "template", "image"]


@dataclass(frozen=True)
class SampleRandomness:
    """All the randomness of one sample in one epoch."""

    seed: int
    epoch: int
    key: str
    repeat: int = 0  # a row that is drawn twice in an epoch gets other noise the second time

    def generator(self, purpose: Purpose) -> torch.Generator:
        """The generator for a purpose, on the CPU."""
        import torch

        return torch.Generator().manual_seed(self.number(purpose))

    def number(self, purpose: Purpose) -> int:
        """63 bits for a purpose."""
        return key_of(self.seed, self.epoch, self.key, self.repeat, purpose) >> 1

    def uniform(self, purpose: Purpose) -> float:
        """A number in [0, 1), of 53 bits."""
        return (self.number(purpose) >> 10) / (1 << 53)
