"""Settings of the search for duplicates; each detector has its own (detectors.py).

Imports nothing heavy.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from frenchcat.curate.config import known, settings
from frenchcat.curate.dedup.context import CONTEXT_DISTANCE
from frenchcat.curate.dedup.detectors import DETECTORS, DetectorSettings

Method = Annotated[str, known("method", DETECTORS)]
Rule = Literal["resolution", "similarity", "caption_length", "key"]


@settings
class DedupSettings(DetectorSettings):
    """What counts as a duplicate, and which one of several stays."""

    methods: tuple[Method, ...] = tuple(DETECTORS)
    """Any of exact, perceptual (needs scores), semantic (needs embeddings)."""
    context_distance: float = Field(default=CONTEXT_DISTANCE, gt=0, le=2)
    """Two captions of one image contradict each other if they are farther apart than this times
    the distance of two captions of the dataset at random."""
    survivor: tuple[Rule, ...] = ("resolution", "similarity", "key")
    """Which row of a cluster stays: the one with the most pixels in the original, then the highest
    caption score, then the first key. A further rule: caption_length (longest)."""
