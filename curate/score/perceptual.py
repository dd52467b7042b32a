"""`pdq` and `pdq_quality`: a hash of an image's looks, as 64 hex digits, and its quality.

Reads the stored image; see curate/hashes.py. Lists of PDQ hashes are exchanged in hex.
Cost: .5 ms per image of 256 x 256 pixels, four times as much with twice the side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from frenchcat.curate.hashes import pdq_and_quality
from frenchcat.curate.score.kinds import Column, Columns, DecodedImage, Measure


class Pdq:
    """The score."""

    name = "pdq"
    version = 2
    columns = (
        Column("pdq", "string", "a hash of the image's looks"),
        Column("pdq_quality", "int32", "how much detail that hash rests on", charted=False),
    )

    def settings(self) -> Mapping[str, Any]:
        """It depends on the image alone."""
        return {}

    def load(self) -> Measure:
        """Nothing to load."""
        return _measure


def _measure(batch: Sequence[DecodedImage]) -> Columns:
    found = [pdq_and_quality(stored.rgb) for stored in batch]
    return {"pdq": [hash_.hex() for hash_, _ in found], "pdq_quality": [q for _, q in found]}
