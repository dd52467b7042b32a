"""What the report says of a dataset: counts, its largest domains, clusters of duplicates.

Reads the views of outcomes.py, writes nothing. Every number is an aggregate; names that come from
the web are bounded in number here and escaped on the page. A cluster of duplicates is shown under
the kinds of evidence that tie its rows to the one that stays.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from frenchcat.curate.catalog import Catalog
from frenchcat.curate.dedup.detectors import DETECTORS
from frenchcat.curate.failures import DETAIL, NAME_SQL, OPTED_OUT
from frenchcat.curate.licence import COLUMN, NONE_STATED
from frenchcat.curate.report.examples import ExampleImage, Examples, among, column, turn
from frenchcat.curate.report.outcomes import OUTCOMES, columns_of, kept_sql, rows_of

MAX_REASONS = 40
MAX_BARS = 14
EXAMPLES = 8
"""Images shown of each reason."""
SITES = 24
SITE_EXAMPLES = 4
"""Images shown of each domain."""
LARGEST = 2
BY_CHANCE = 3
"""Clusters shown of each kind of duplicates."""
MEMBERS = 6
"""Images shown of each cluster."""
CONTRADICTED = 6
"""Clusters shown whose rows contradict each other."""


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


def kept_images(examples: Examples, catalog: Catalog, most: int = 16) -> list[ExampleImage]:
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


# -- domains -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class SiteCounts:
    """One domain; numbers are rows of the list."""

    domain: str
    outcomes: dict[str, int]
    reasons: list[tuple[str, int]]  # the most frequent ones for which rows were lost
    duplicates: int | None  # stored rows that another stands for; None where not looked for
    unsafe: int | None  # stored rows above the threshold; None where not scored
    pictures: list[ExampleImage]

    @property
    def rows(self) -> int:
        """All of them."""
        return sum(self.outcomes.values())

    @property
    def stored(self) -> int:
        """Those whose image is here."""
        return sum(self.outcomes[name] for name in ("dropped", "stored", "kept"))


def sites(
    catalog: Catalog, examples: Examples, unsafe_above: float
) -> tuple[list[SiteCounts], int]:
    """The cards of the domains with the most rows, and how many domains there are."""
    joined = "outcomes JOIN domains_of_hosts USING (host)"
    top = [
        row[0]
        for row in rows_of(
            catalog,
            f"SELECT domain FROM {joined} GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT {SITES}",
        )
    ]
    ((number,),) = rows_of(catalog, "SELECT count(DISTINCT domain) FROM domains_of_hosts")
    here = among("domain", top)
    found = rows_of(
        catalog, f"SELECT domain, outcome, count(*) FROM {joined} WHERE {here} GROUP BY 1, 2"
    )
    outcomes = {domain: dict.fromkeys(OUTCOMES, 0) for domain in top}
    for domain, outcome, rows in found:
        outcomes[domain][outcome] = rows
    reasons = _reasons(catalog, joined, here)
    duplicates = _stored(catalog, joined, here, "duplicates", "duplicate_of", "IS NOT NULL")
    unsafe = _stored(catalog, joined, here, "scores", "punsafe", f"> {unsafe_above!r}")
    pictures = examples.by(
        "domains_of_hosts.domain",
        SITE_EXAMPLES,
        "samples JOIN outcomes USING (key) "
        "JOIN domains_of_hosts ON outcomes.host = domains_of_hosts.host",
        f"{among('domains_of_hosts.domain', top)} AND outcomes.outcome IN ('kept', 'stored')",
    )
    cards = [
        SiteCounts(
            domain,
            outcomes[domain],
            reasons.get(domain, []),
            None if duplicates is None else duplicates.get(domain, 0),
            None if unsafe is None else unsafe.get(domain, 0),
            pictures.get(domain, []),
        )
        for domain in top
    ]
    return cards, int(number)


def _reasons(catalog: Catalog, joined: str, here: str) -> dict[str, list[tuple[str, int]]]:
    found = rows_of(
        catalog,
        f"SELECT domain, reason, count(*) AS n FROM {joined} WHERE {here} AND reason IS NOT NULL "
        "GROUP BY 1, 2 QUALIFY row_number() OVER (PARTITION BY domain ORDER BY n DESC, reason) <= 3"
        " ORDER BY n DESC, reason",
    )
    reasons: dict[str, list[tuple[str, int]]] = {}
    for domain, reason, rows in found:
        reasons.setdefault(domain, []).append((reason, rows))
    return reasons


def _stored(
    catalog: Catalog, joined: str, here: str, view: str, name: str, meets: str
) -> dict[str, int] | None:
    """Domain -> stored rows of which a view says so; None where it has no such column."""
    if name not in columns_of(catalog, view):
        return None
    sql = (
        f"SELECT domain, count(*) FROM {joined} JOIN {view} USING (key) "
        f"WHERE {here} AND outcome IN ('kept', 'stored', 'dropped') AND {view}.{name} {meets} "
        "GROUP BY 1"
    )
    return dict(rows_of(catalog, sql))


# -- duplicates --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cluster:
    """Images taken for one; the first is the one that stays. `value` of each is its kind."""

    name: str
    rows: int
    members: list[ExampleImage]  # at most MEMBERS


@dataclass(frozen=True)
class Duplicates:
    """What the search for duplicates found."""

    rows: int  # stored images that were compared
    kinds: dict[str, int]  # kind -> rows that another stands for
    sizes: dict[int, int]  # rows per cluster -> clusters, of more than one row; 10 is 10 or more
    shown: list[Cluster]
    contradicted: int = 0  # rows whose image others say something else of
    contradicting: tuple[Cluster, ...] = ()  # some of their clusters, of such rows alone

    @property
    def duplicates(self) -> int:
        """Rows that another stands for."""
        return sum(self.kinds.values())


def duplicates(catalog: Catalog, examples: Examples) -> Duplicates | None:
    """Counts and some clusters; None where duplicates were not looked for."""
    if not {"cluster", "kind", "multiplicity"} <= columns_of(catalog, "duplicates").keys():
        return None
    ((rows,),) = rows_of(catalog, "SELECT count(*) FROM duplicates")
    kinds = dict(
        rows_of(catalog, "SELECT kind, count(*) FROM duplicates WHERE kind IS NOT NULL GROUP BY 1")
    )
    sizes = rows_of(
        catalog,
        "SELECT least(multiplicity, 10)::INTEGER, count(*) FROM duplicates "
        "WHERE multiplicity > 1 AND key = cluster GROUP BY 1 ORDER BY 1",
    )
    known = [kind for kind in DETECTORS if kind in kinds]
    ordered = {kind: int(kinds[kind]) for kind in [*known, *sorted(kinds.keys() - set(known))]}
    contradicted, contradicting = _contradicting(catalog, examples)
    return Duplicates(
        int(rows), ordered, dict(sizes), _shown(catalog, examples), contradicted, contradicting
    )


def _contradicting(catalog: Catalog, examples: Examples) -> tuple[int, tuple[Cluster, ...]]:
    """How many rows are contradicted by others with their image; some clusters, by chance."""
    if "contradicting" not in columns_of(catalog, "duplicates"):
        return 0, ()  # compared by an older version
    ((rows,),) = rows_of(catalog, "SELECT count(*) FROM duplicates WHERE contradicting > 0")
    sizes = dict(
        rows_of(
            catalog,
            "SELECT cluster, count(*) FROM duplicates WHERE contradicting > 0 GROUP BY 1 "
            f"ORDER BY {turn('cluster')} LIMIT {CONTRADICTED}",
        )
    )
    members = examples.first(
        "duplicates.cluster",
        turn("samples.key"),
        MEMBERS,
        "samples JOIN duplicates USING (key)",
        f"duplicates.contradicting > 0 AND {among('duplicates.cluster', list(sizes))}",
        "duplicates.kind",
    )
    shown = tuple(Cluster(name, int(size), members[name]) for name, size in sizes.items())
    return int(rows), shown


def _shown(catalog: Catalog, examples: Examples) -> list[Cluster]:
    """For each kind the largest clusters and some by chance, each once."""
    chance = turn("cluster")
    found = rows_of(
        catalog,
        f"SELECT kind, max_by(cluster, (m, cluster), {LARGEST}), "
        f"min_by(cluster, {chance}, {LARGEST + BY_CHANCE}) FROM (SELECT kind, cluster, "
        "max(multiplicity) AS m FROM duplicates WHERE kind IS NOT NULL GROUP BY 1, 2) GROUP BY 1",
    )
    chosen: dict[str, None] = {}
    for _, largest, others in sorted(found):
        rest = [name for name in others if name not in largest and name not in chosen]
        chosen |= dict.fromkeys([*largest, *rest[:BY_CHANCE]])
    sizes = dict(
        rows_of(
            catalog,
            "SELECT cluster, max(multiplicity) FROM duplicates WHERE "
            f"{among('cluster', list(chosen))} GROUP BY 1",
        )
    )
    members = examples.first(
        "duplicates.cluster",
        f"(duplicates.duplicate_of IS NOT NULL)::INTEGER + {turn('samples.key')}",
        MEMBERS,
        "samples JOIN duplicates USING (key)",
        among("duplicates.cluster", list(chosen)),
        "duplicates.kind",
    )
    return [Cluster(name, int(sizes[name]), members[name]) for name in chosen if name in members]
