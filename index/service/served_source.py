"""What the service serves a dataset from: its folder, or a database to which it was published."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from frenchcat.curate.clip.model import Clip
    from frenchcat.index.service.batching import Encoder
    from frenchcat.index.service.served_dataset import ServedDataset


class ServedSource(ABC):
    """One dataset's place. `ServedDataset` is one version of it, open."""

    root: str
    """The address, for messages."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The dataset's name."""

    @property
    def served_name(self) -> str:
        """The name by which it is served: a slash becomes a dash."""
        return self.name.replace("/", "-")

    @property
    @abstractmethod
    def weights(self) -> str:
        """The digest of the model that made the vectors. Raises `UserError` without vectors."""

    @abstractmethod
    def stamp(self) -> object:
        """A value that changes when there is a new version."""

    @abstractmethod
    def load_clip(self) -> Clip:
        """Load the model that made the vectors. Raises `UserError` where it cannot be had."""

    @abstractmethod
    def open(self, name: str, encoder: Encoder) -> ServedDataset:
        """The version of now, open. Raises `UserError` without an index, or for a broken one."""

    @abstractmethod
    def close(self) -> None:
        """End what is held."""
