"""`pwatermark`: the probability that a stamp of a picture agency lies over an image.

Reads the stored image; see network.py, and README.md for what it was trained on, how often it is
right and where it is not. LAION's column of that name, made by another model: thresholds differ.
Cost: about 20 ms per image and core.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from frenchcat.curate.score.kinds import Column, Columns, DecodedImage, Measure


class Watermark:
    """The score; in [0, 1]."""

    name = "pwatermark"
    version = 2
    columns = (
        Column("pwatermark", "float32", "how likely the image bears a watermark", probability=True),
    )

    def settings(self) -> Mapping[str, Any]:
        """The weights of head and trunk."""
        from frenchcat.curate.score.watermark.network import TRUNK_WEIGHTS, WEIGHTS

        return {"head": _digest(str(WEIGHTS)), "trunk": _digest(str(TRUNK_WEIGHTS))}

    def load(self) -> Measure:
        """Load the network."""
        from frenchcat.curate.score.watermark.network import Network

        network = Network()

        def measure(batch: Sequence[DecodedImage]) -> Columns:
            return {"pwatermark": network([stored.rgb for stored in batch])}

        return measure


def _digest(path: str, _known: dict[str, str] = {}) -> str:  # noqa: B006
    """SHA-256 of a weights file, read once a process."""
    from frenchcat.curate.dataset import file_sha256

    if path not in _known:
        _known[path] = file_sha256(path)
    return _known[path]
