"""`pdq` and `pdq_quality`: a hash of a picture's looks, as 64 hex digits, and its quality.

Reads the stored picture; see curate/score/hashes.py. Lists of PDQ hashes are exchanged in hex.
Cost: 2-3 ms a picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from frenchcat.curate.hashes import pdq_and_quality
from frenchcat.curate.score.kinds import Columns, Measure, Stored

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Pdq:
    """The score."""

    name: str = "pdq"
    version: int = 2

    def settings(self) -> Mapping[str, Any]:
        """It depends on the picture alone."""
        return {}

    def columns(self) -> dict[str, pa.DataType]:
        """64 hex digits, and 0 to 100."""
        import pyarrow as pa

        return {"pdq": pa.string(), "pdq_quality": pa.int32()}

    def load(self) -> Measure:
        """Nothing to load."""
        return _measure


def _measure(batch: Sequence[Stored]) -> Columns:
    found = [pdq_and_quality(stored.rgb) for stored in batch]
    return {"pdq": [hash_.hex() for hash_, _ in found], "pdq_quality": [q for _, q in found]}
