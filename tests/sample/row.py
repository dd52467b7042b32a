"""A row of a list and what the stages said of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray


@dataclass
class Row:
    """What a test chooses; its key is its place in the shard. What is None was not said."""

    url: str | None = None  # None: of its key
    caption: str | None = "a cat"
    # the download's
    failed: str | None = None  # the error message; None: stored
    picture: bytes | None = None  # as stored
    ending: str = "png"  # of the picture's name
    columns: Mapping[str, Any] = field(default_factory=dict)  # further ones of the sidecar
    signals: Sequence[tuple[str, str, str | None]] = ()  # of rights: signal, value, decision
    # the embedding's
    vector: NDArray[Any] | None = None
    text: NDArray[Any] | None = None  # the caption's vector; None: the picture's
    unembedded: str | None = None  # why there is no vector
    # the others'
    scores: Mapping[str, Any] | None = None
    copy_of: int | None = None  # the row of the shard that stays; None: alone, or it stays
    reason: str | None = None  # of the verdict against it; None: kept

    @property
    def stored(self) -> bool:
        """Whether there is a picture of it."""
        return self.failed is None
