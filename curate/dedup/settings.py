"""Settings of the search for duplicates. Imports nothing heavy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from frenchcat.curate.config import settings
from frenchcat.curate.hashes import PDQ_DISTANCE, PDQ_QUALITY

Method = Literal["exact", "perceptual", "semantic"]
METHODS: tuple[Method, ...] = ("exact", "perceptual", "semantic")
"""Strongest evidence first; a row's `kind` is the first that ties it to its survivor."""
Rule = Literal["resolution", "similarity", "caption_length", "key"]


@settings
class DedupSettings:
    """What counts as a duplicate, and which one of several stays."""

    methods: tuple[Method, ...] = METHODS
    """Any of exact, perceptual (needs scores), semantic (needs embeddings)."""
    perceptual_distance: int = Field(default=PDQ_DISTANCE, ge=0, le=64)
    """Bits (of 256) by which PDQ hashes of duplicates may differ."""
    perceptual_quality: int = Field(default=PDQ_QUALITY, ge=0, le=100)
    """PDQ hashes of pictures with less detail than this tie nothing."""
    semantic_cosine: float = Field(default=0.96, gt=0.5, lt=1.0)
    """Least cosine of the picture vectors of duplicates."""
    survivor: tuple[Rule, ...] = ("resolution", "similarity", "key")
    """Who stays: most pixels of the original, then highest caption score, then first key. Further
    rule: caption_length (longest). What the rules leave undecided, the first key decides."""
