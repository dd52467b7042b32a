"""What a signal is: something that a site or a file says about the use of a picture.

Reads and writes nothing. Names are stable: they end up in datasets, and are only ever added to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

from frenchcat.curate import failures
from frenchcat.curate.failures import Failure

OPT_OUT = "opt_out"
ALLOW = "allow"
FACT = None
"""Neither: a licence, a name, or something that we cannot read."""

OPT_OUTS = (
    "robots_txt",  # Disallow for us
    "robots_content_usage",  # Content-Usage in robots.txt
    "x_robots_tag",
    "content_usage",  # the header
    "tdm_reservation",  # the header
    "tdmrep",  # /.well-known/tdmrep.json
    "ai_txt",
    "xmp_data_mining",
    "xmp_tdm_reservation",
    "c2pa_training_mining",
    "cawg_training_mining",
)
"""Signals that can opt out, in the order in which one is named as the reason."""
OPTED_OUT = frozenset(Failure(failures.OPTED_OUT, name).name for name in OPT_OUTS)
"""The names of the failures that they are."""
FACTS = (
    "license",
    "usage_terms",
    "copyright",
    "creator",
    "credit",
    "tdm_policy",
    "digital_source_type",
)
_MAX_CHARS = 1000


@dataclass(frozen=True, slots=True)
class Signal:
    """One thing said, and where and when it was read."""

    signal: str
    """One of OPT_OUTS or FACTS."""
    value: str
    """As it was said, at most 1000 characters."""
    where: str
    """The URL that was asked, or the part of the file (`xmp`, `exif`, …), or `list:<column>`."""
    time: str | None = None
    """The Date of the answer, ISO 8601 in UTC, where there is one: ours would differ each run."""
    decision: str | None = FACT
    """opt_out, allow, or None."""


def shortened(value: str) -> str:
    """A value as it is kept: one line, bounded, valid text."""
    text = " ".join(value.split())[:_MAX_CHARS]
    return text.encode("utf-8", "backslashreplace").decode()


def date_of(headers: Sequence[tuple[str, str]]) -> str | None:
    """The Date header as ISO 8601 in UTC; None where it is missing or unreadable."""
    for name, value in headers:
        if name.lower() == "date":
            try:
                date = parsedate_to_datetime(value)
                aware = date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
                return aware.isoformat(timespec="seconds").replace("+00:00", "Z")
            except (ValueError, OverflowError):
                return None
    return None


def opted_out(signals: Sequence[Signal]) -> Signal | None:
    """The first signal that opts out, by the order of OPT_OUTS; None where none does."""
    found = [signal for signal in signals if signal.decision == OPT_OUT]
    return min(found, key=lambda signal: OPT_OUTS.index(signal.signal), default=None)
