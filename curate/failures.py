"""Why a row has no image, as data: reason, signal and detail, each a column of the sidecar.

Reads and writes nothing. img2dataset's `error_message` says the same in one sentence for its tools
and for people; it is made here, and nothing of ours takes it apart but sidecar.py, for sidecars
that have only the sentence.
"""

from __future__ import annotations

from dataclasses import dataclass

REASON, SIGNAL, DETAIL = COLUMNS = ("failure_reason", "failure_signal", "failure_detail")
"""The sidecar's columns. Not plain `reason`: that is what a verdict's column is called, and what
many a URL list's own may be."""
OPTED_OUT = "opted_out"
"""The reason that comes with a signal."""
UNKNOWN = "unknown"
"""The reason of a failed row whose sidecar says nothing."""
NAME_SQL = f"concat_ws(':', {REASON}, {SIGNAL})"
"""`Failure.name` over the sidecar's columns; empty for a stored row."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a row has no image."""

    reason: str
    """Out of a closed set of stable names (reasons.py, pictures.py, block.py)."""
    signal: str | None = None
    """What opts out, where the reason is `opted_out`."""
    detail: str | None = None
    """For people: what exactly."""

    @property
    def name(self) -> str:
        """By which it is counted: ``http_404``, ``opted_out:x_robots_tag``."""
        return self.reason if self.signal is None else f"{self.reason}:{self.signal}"

    @property
    def sentence(self) -> str:
        """As `error_message` has it: the name, a colon, the detail."""
        return self.name if self.detail is None else f"{self.name}: {self.detail}"
