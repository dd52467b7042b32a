"""The scores that come with frenchcat: the class of each, and its columns.

Reads and writes nothing. The table lies below all stages, since the list's own columns are told
from the scores' whether or not a score was made. To add a score: write its class in a module of
`score/` (score/kinds.py says what it needs), and enter it here.
"""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """One score."""

    place: str  # module of frenchcat.curate.score, and class
    columns: tuple[str, ...]  # in the order of the file
    images: bool = False  # whether it is made from the stored images


BUILTIN = {
    "similarity": Entry("similarity:Similarity", ("similarity",)),
    "punsafe": Entry("unsafe:Unsafe", ("punsafe",), images=True),
    "pwatermark": Entry("watermark:Watermark", ("pwatermark",), images=True),
    "language": Entry("language:Language", ("language", "language_confidence")),
    "caption": Entry(
        "caption:Caption",
        ("caption_words", "caption_chars", "caption_is_filename", "caption_is_boilerplate"),
    ),
    "sharpness": Entry("sharpness:Sharpness", ("sharpness",), images=True),
    "compression": Entry(
        "compression:Compression", ("bits_per_pixel", "jpeg_quality"), images=True
    ),
    "pdq": Entry("perceptual:Pdq", ("pdq", "pdq_quality"), images=True),
    "hash": Entry("laion_hash:LaionHash", ("hash",)),
}
"""Name -> score, in the order of their columns in the file."""
MEASURED = tuple(column for entry in BUILTIN.values() for column in entry.columns)
"""The columns of all of them."""
