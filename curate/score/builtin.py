"""The scores that come with frenchcat, in the order of their columns in the file.

To add one: write its class in a module of its own (kinds.py says what it needs), and name it here.
"""

from __future__ import annotations

from frenchcat.curate.score.caption import Caption
from frenchcat.curate.score.compression import Compression
from frenchcat.curate.score.kinds import Score
from frenchcat.curate.score.laion_hash import LaionHash
from frenchcat.curate.score.language import Language
from frenchcat.curate.score.perceptual import Pdq
from frenchcat.curate.score.sharpness import Sharpness
from frenchcat.curate.score.similarity import Similarity
from frenchcat.curate.score.unsafe import Unsafe
from frenchcat.curate.score.watermark import Watermark

_ALL: tuple[Score, ...] = (
    Similarity(),
    Unsafe(),
    Watermark(),
    Language(),
    Caption(),
    Sharpness(),
    Compression(),
    Pdq(),
    LaionHash(),
)
SCORES = {score.name: score for score in _ALL}
"""Name -> score."""
COLUMNS = {name: tuple(column.name for column in score.columns) for name, score in SCORES.items()}
"""The columns of each score, in the order of the file."""
