"""Which failed rows are worth another request.

Reads a dataset's counts of failures; writes nothing. A failed row has a reason (curate/reasons.py
and its neighbours): some pass by themselves, others would be the same again.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.download.block import BLOCKED
from frenchcat.curate.download.expected import HASH_MISMATCH
from frenchcat.curate.download.pictures import CUT_SHORT, REASONS
from frenchcat.curate.download.refusals import failures_of
from frenchcat.curate.download.rights.signal import OPTED_OUT
from frenchcat.curate.reasons import PERMANENT

LASTING = PERMANENT | REASONS - {CUT_SHORT} | {"no_url", HASH_MISMATCH} | OPTED_OUT | BLOCKED
"""Reasons that `retry_failed` skips by default, because another request gives the same.

A file that is cut short is not among them: if the server announced no length, it may have been cut
on its way.
"""


def asks_again(name: str, permanent: bool) -> bool:
    """Whether `retry_failed` requests a row whose failure has this name."""
    return permanent or name not in LASTING


@dataclass(frozen=True)
class Retry:
    """Which failed rows are requested again."""

    names: frozenset[str] = frozenset()  # of failures
    passing: bool = False  # also those that may succeed now
    permanent: bool = False  # all

    def asks(self, name: str) -> bool:
        """Whether rows whose failure has this name are requested again."""
        return name in self.names or (self.passing and asks_again(name, self.permanent))


def retry_of(dataset: Dataset, refused: Collection[str]) -> Retry:
    """The rows to request again unasked: the refused and, if nothing was downloaded, others."""
    counted = failures_of(dataset)
    return Retry(frozenset(refused), passing=counted.failed > 0 and not counted.downloaded)
