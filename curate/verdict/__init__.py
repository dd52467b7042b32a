"""Verdicts: every stored row is kept, or dropped by the first rule that says so, by name.

    settings.py   named rules, and presets of them
    rules.py      a rule's expression, checked: by itself, and against a dataset's columns
    stage.py      the rules over each shard: reads the catalog, writes verdicts/
    dropped.py    what is not kept of a shard as it is now, with what was removed since

Rows without a verdict (not judged yet) count as kept wherever verdicts are read.
"""

from frenchcat.curate.verdict.settings import VerdictSettings
from frenchcat.curate.verdict.stage import verdict

__all__ = ["VerdictSettings", "verdict"]
