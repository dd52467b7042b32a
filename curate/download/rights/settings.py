"""Settings of the rights ledger. Imports nothing heavy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from frenchcat.curate.config import settings

SiteFile = Literal["robots", "tdmrep", "aitxt"]


@settings
class RightsSettings:
    """What is done about the statements of sites and files on their use."""

    policy: Literal["respect", "record"] = "respect"
    """respect: opted-out images are not stored, and not requested if the site said so before.
    record: everything is stored, and the statements are recorded.
    """
    agents: tuple[str, ...] = Field(default=("frenchcat", "img2dataset"), min_length=1)
    """The names under which rules for us are looked up, besides those for everybody. What a site
    says to img2dataset, it says to builders of image datasets.
    """
    site_files: tuple[SiteFile, ...] = ("robots", "tdmrep", "aitxt")
    """Which of /robots.txt, /.well-known/tdmrep.json and /ai.txt are requested, once per site."""
