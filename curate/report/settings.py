"""Settings of the report. Imports nothing heavy."""

from __future__ import annotations

from pydantic import Field

from frenchcat.curate.config import settings


@settings
class ReportSettings:
    """What the report shows, and how much of it."""

    terms: tuple[str, ...] = ("people", "places", "occupations")
    """Word lists of the audit: names in configs/terms/, or paths of your own."""
    replicates: int = Field(default=1000, ge=100, le=100_000)
    """Of the bootstrap."""
    seed: int = 0
    """Of the bootstrap."""
    blur_above: float = Field(default=0.3, ge=0, le=1)
    """Images whose `punsafe` is higher are blurred until they are clicked on."""
    thumbnails_mb: float = Field(default=7.0, ge=0, le=50)
    """At most so much of the page is images; later ones are left out."""
