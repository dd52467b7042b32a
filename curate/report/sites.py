"""The domains that the list's URLs lead to: a card each for the largest ones.

Reads the view `outcomes` and, where they are, scores and duplicates; writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from frenchcat.curate.catalog import Catalog
from frenchcat.curate.report.examples import ExampleImage, Examples, among
from frenchcat.curate.report.outcomes import OUTCOMES, columns_of, rows_of

CARDS = 24
PICTURES = 4


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
            f"SELECT domain FROM {joined} GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT {CARDS}",
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
        PICTURES,
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
    catalog: Catalog, joined: str, here: str, view: str, column: str, meets: str
) -> dict[str, int] | None:
    """Domain -> stored rows of which a view says so; None where it has no such column."""
    if column not in columns_of(catalog, view):
        return None
    sql = (
        f"SELECT domain, count(*) FROM {joined} JOIN {view} USING (key) "
        f"WHERE {here} AND outcome IN ('kept', 'stored', 'dropped') AND {view}.{column} {meets} "
        "GROUP BY 1"
    )
    return dict(rows_of(catalog, sql))
