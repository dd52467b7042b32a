"""Removal: whoever asks for a picture to go is obeyed at once, everywhere, and for good.

match.py      a request -> the rows that it names, near copies included where asked
request.py    the whole: match, log, absent at once
undo.py       a request taken back, before compaction
compact.py    shards, embeddings, index and all else rewritten without the removed rows
residue.py    the proof that nothing is left, by key, hash and vector

The append-only log of requests is curate/removals.py, on the ground floor: every stage obeys it.
"""

from frenchcat.curate.remove.compact import compact
from frenchcat.curate.remove.match import Match, RemovalQuery, matches
from frenchcat.curate.remove.request import remove
from frenchcat.curate.remove.residue import residue
from frenchcat.curate.remove.undo import undo

__all__ = ["Match", "RemovalQuery", "compact", "matches", "remove", "residue", "undo"]
