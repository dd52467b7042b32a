"""What the report says of a dataset as a whole: counts by outcome, reason, language, licence, size.

Reads the views of outcomes.py, writes nothing. Every number is an aggregate; names that come from
the web are bounded in number here and escaped on the page.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from frenchcat.curate.catalog import Catalog
from frenchcat.curate.failures import DETAIL, NAME_SQL, OPTED_OUT
from frenchcat.curate.licence import COLUMN, NONE_STATED
from frenchcat.curate.report.examples import ExampleImage, Examples, column
from frenchcat.curate.report.outcomes import OUTCOMES, columns_of, kept_sql, rows_of

MAX_REASONS = 40
MAX_BARS = 14
EXAMPLES = 8
"""Images shown of each reason."""


@dataclass(frozen=True)
class ReasonCount:
    """Why rows were lost."""

    outcome: str
    reason: str
    rows: int
    details: list[str] = field(default_factory=list)  # failures: some of their details
    pictures: list[ExampleImage] = field(default_factory=list)  # drops: some of them


@dataclass(frozen=True)
class Bar:
    """A bar of parts: kept (or stored, without verdicts) and the others."""

    label: str
    kept: int
    others: int = 0

    @property
    def rows(self) -> int:
        """Both parts."""
        return self.kept + self.others


def outcome_counts(catalog: Catalog) -> dict[str, int]:
    """Outcome -> rows, every outcome; they sum to the rows of the list."""
    found = dict(rows_of(catalog, "SELECT outcome, count(*) FROM outcomes GROUP BY 1"))
    return {name: int(found.get(name, 0)) for name in OUTCOMES}


def lost_by_reason(catalog: Catalog, examples: Examples) -> list[ReasonCount]:
    """The reasons for which rows were lost, the most frequent first."""
    found = rows_of(
        catalog,
        "SELECT outcome, reason, count(*) AS n FROM outcomes WHERE reason IS NOT NULL "
        f"GROUP BY 1, 2 ORDER BY n DESC, 1, 2 LIMIT {MAX_REASONS}",
    )
    details = _details(catalog)
    source = "samples JOIN outcomes USING (key)"
    dropped = "outcomes.outcome = 'dropped'"
    pictures = examples.by("outcomes.reason", EXAMPLES, source, dropped)
    return [
        ReasonCount(
            outcome,
            reason,
            rows,
            details.get(reason, []) if outcome in ("failed", OPTED_OUT) else [],
            pictures.get(reason, []) if outcome == "dropped" else [],
        )
        for outcome, reason, rows in found
    ]


def _details(catalog: Catalog) -> dict[str, list[str]]:
    """Failure -> some of its details."""
    found = rows_of(
        catalog,
        f"SELECT {NAME_SQL}, min(DISTINCT left({DETAIL}, 160), 3) FROM rows "
        f"WHERE {DETAIL} <> '' GROUP BY 1",
    )
    return {name: sorted(details) for name, details in found}


def kept_pictures(examples: Examples, catalog: Catalog, most: int = 16) -> list[ExampleImage]:
    """Some of what is left, by chance."""
    return examples.by("1", most, where=kept_sql(catalog) or "TRUE").get(1, [])


def languages(catalog: Catalog) -> list[Bar]:
    """Captions by language; empty without that score."""
    if "language" not in catalog.columns():
        return []
    return bars(catalog, "coalesce(samples.language::VARCHAR, '?')")


def bars(catalog: Catalog, value: str, source: str = "samples") -> list[Bar]:
    """The most frequent values of an expression over `samples`; the rest is one bar, `other`."""
    keep = kept_sql(catalog) or "TRUE"
    found = rows_of(
        catalog,
        f"SELECT left({value}, 200), count(*) FILTER ({keep}), count(*) FILTER (NOT {keep}) "
        f"FROM {source} GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 500",
    )
    ((rows, kept),) = rows_of(catalog, f"SELECT count(*), count(*) FILTER ({keep}) FROM {source}")
    return _shortened([Bar(*row) for row in found], rows, kept)


def _shortened(found: list[Bar], rows: int, kept: int) -> list[Bar]:
    shown = found[:MAX_BARS]
    rest = rows - sum(bar.rows for bar in shown)
    kept -= sum(bar.kept for bar in shown)
    return [*shown, Bar("other", kept, rest - kept)] if rest > 0 else shown


def sizes(catalog: Catalog) -> dict[tuple[int, int], int]:
    """(half-octave of the width, of the height) -> originals: side s is in floor(2 log2 s)."""
    if not {"original_width", "original_height"} <= catalog.columns().keys():
        return {}
    wide, high = column("original_width"), column("original_height")
    found = rows_of(
        catalog,
        f"SELECT floor(2 * log2({wide}))::INTEGER, floor(2 * log2({high}))::INTEGER, count(*) "
        f"FROM samples WHERE {wide} > 0 AND {high} > 0 GROUP BY 1, 2",
    )
    return {(w, h): rows for w, h, rows in found}


def licences(catalog: Catalog) -> list[Bar]:
    """Stored images by licence, as the rights ledger has it, or the list's own column."""
    if COLUMN not in catalog.columns():
        return []
    return bars(catalog, f"coalesce({COLUMN}, '{NONE_STATED}')")


@dataclass(frozen=True)
class SignalCounts:
    """One signal about rights: rows in which it opts out, and allows, and that were lost to it."""

    signal: str
    opt_out: int
    allow: int
    lost: int


def opt_outs(catalog: Catalog) -> list[SignalCounts] | None:
    """The signals that say yes or no, the most frequent first; None without a ledger."""
    if not columns_of(catalog, "rights"):
        return None
    found = rows_of(
        catalog,
        "SELECT signal, decision, count(*) FROM (SELECT DISTINCT key, signal, decision FROM rights "
        "WHERE decision IN ('opt_out', 'allow')) GROUP BY 1, 2",
    )
    said = Counter({(signal, decision): rows for signal, decision, rows in found})
    lost = dict(
        rows_of(
            catalog,
            "SELECT coalesce(signal, ''), count(*) FROM outcomes "
            f"WHERE outcome = '{OPTED_OUT}' GROUP BY 1",
        )
    )
    names = {signal for signal, _ in said} | set(lost)
    all_ = [SignalCounts(n, said[n, "opt_out"], said[n, "allow"], lost.get(n, 0)) for n in names]
    return sorted(all_, key=lambda s: (-s.opt_out, -s.lost, -s.allow, s.signal))
