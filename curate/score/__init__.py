"""Scores: what is measured of every stored image and its caption, one module per score."""

from frenchcat.curate.score.kinds import Column
from frenchcat.curate.score.settings import ScoreSettings

__all__ = ["Column", "ScoreSettings"]
