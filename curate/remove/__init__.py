"""Removal: a request to remove an image takes effect at once, everywhere, and for good.

match.py      a request -> the rows that it names, with near-duplicates if asked
request.py    the whole removal: match, log, hidden at once
undo.py       undoes a request before compaction
compact.py    rewrites shards, embeddings, index and everything else without the removed rows
residue.py    checks that nothing is left, by key, hash and vector

The append-only log of requests is curate/removals.py: every stage obeys it.
"""

from frenchcat.curate.remove.compact import compact
from frenchcat.curate.remove.match import KINDS, Match, RemovalQuery, matches
from frenchcat.curate.remove.request import remove
from frenchcat.curate.remove.residue import residue
from frenchcat.curate.remove.undo import undo

__all__ = ["KINDS", "Match", "RemovalQuery", "compact", "matches", "remove", "residue", "undo"]
