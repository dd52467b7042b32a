"""Duplicates: which stored images show the same thing, and which one of them stays.

    exact.py        equal bytes, equal URLs
    perceptual.py   PDQ hashes that differ in few bits; pdq_variants.py: of mirrored and cut copies
    semantic.py     CLIP vectors of high cosine, by sketches.py and partition.py
    cluster.py      all of these relations -> clusters
    survivor.py     a cluster -> the row that stays, by a stated rule
    detectors.py    the table of these: what each reads, its settings, its place in the order
    earlier.py      what an earlier search found, so that new rows alone are compared
    rows.py         what a dataset's files say of its images, gathered
    stage.py        the whole: reads and writes a dataset

Those above detectors.py are pure functions over arrays and know no dataset.
"""

from frenchcat.curate.dedup.settings import DedupSettings
from frenchcat.curate.dedup.stage import DedupReport, dedup

__all__ = ["DedupReport", "DedupSettings", "dedup"]
