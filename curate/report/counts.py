"""How often each term stands in the captions of rows, by what became of them and by domain.

Reads the view `outcomes` and, where there is one, `duplicates`; writes nothing. Gives counts only:
a sparse table (group of domains, term, outcome) and the totals, which the audit resamples.

Captions and spellings are compared in Unicode's composed form, in lower case, with everything that
is not a letter, mark or number taken for a space. Domains are hashed into at most MAX_GROUPS
groups, so that the tables stay small for lists of many domains. Cost: one pass over the captions
and a hash join of their words; memory grows with the captions that hold a term.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.catalog import Catalog
from frenchcat.curate.report.outcomes import columns_of, rows_of
from frenchcat.curate.report.terms import AuditTerm

if TYPE_CHECKING:
    import pyarrow as pa

MAX_GROUPS = 20_000
DUPLICATE = "duplicate"
_NORMAL = (
    r"' ' || trim(regexp_replace(lower(nfc_normalize({text})), '[^\p{L}\p{M}\p{N}]+', ' ', 'g'))"
    " || ' '"
)

Fate = tuple[str, str | None]
"""What became of a row: its outcome and reason; for an image that stays, DUPLICATE or None."""


@dataclass(frozen=True)
class Counts:
    """Rows by group of domains (G), fate (O) and term (T); a caption counts once a term."""

    fates: tuple[Fate, ...]
    totals: NDArray[np.int64]  # (G, O) rows
    group: NDArray[np.int64]  # (n,) of the entries below
    term: NDArray[np.int64]  # (n,)
    fate: NDArray[np.int64]  # (n,)
    rows: NDArray[np.int64]  # (n,) rows of that group, term and fate
    grouped: bool = False  # whether several domains share a group

    def of_term(self, term: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The groups that have a term, and their rows (groups, O)."""
        mine = self.term == term
        groups, place = np.unique(self.group[mine], return_inverse=True)
        table = np.zeros((len(groups), len(self.fates)), np.int64)
        np.add.at(table, (place, self.fate[mine]), self.rows[mine])
        return groups, table


def count_terms(catalog: Catalog, terms: Sequence[AuditTerm]) -> Counts:
    """Count the rows and the terms in their captions."""
    groups = _register_groups(catalog)
    _add_fates(catalog)
    fates = [(row[0], row[1]) for row in rows_of(catalog, _FATES)]
    place = {fate: number for number, fate in enumerate(fates)}
    totals = np.zeros((max(groups, 1), len(fates)), np.int64)
    for group, outcome, reason, rows in rows_of(catalog, _TOTALS):
        totals[group, place[outcome, reason]] = rows
    _register_spellings(catalog, terms)
    caption = _NORMAL.replace("{text}", "caption")
    sql = _MATCHES.format(caption=caption, columns="key, grp, outcome, fate", source="fates")
    found = catalog.duck.sql(sql).to_arrow_table()
    group, term, rows = (found[name].to_numpy().astype(np.int64) for name in ("grp", "term", "n"))
    fate = found["fate"].combine_chunks().dictionary_encode()
    number = {_joined(*fate): at for at, fate in enumerate(fates)}
    places = np.array([number[text] for text in fate.dictionary.to_pylist()], np.int64)
    of_rows = places[fate.indices.to_numpy(zero_copy_only=False)]
    return Counts(tuple(fates), totals, group, term, of_rows, rows, groups == MAX_GROUPS)


def terms_of_rows(catalog: Catalog, terms: Sequence[AuditTerm]) -> pa.Table:
    """Which stored row's caption has which term: `key`, and `term`, a place in `terms`."""
    _register_spellings(catalog, terms)
    caption = _NORMAL.replace("{text}", "caption::VARCHAR")
    sql = _HITS.format(caption=caption, columns="key", source="samples")
    return catalog.duck.sql(f"{sql} SELECT key, term FROM hits ORDER BY ALL").to_arrow_table()


def _joined(outcome: str, fate: str | None) -> str:
    """A fate as one text, as the SQL has it."""
    return f"{outcome}/{fate or ''}"


def _register_groups(catalog: Catalog) -> int:
    """A table of every host's group; gives the number of groups."""
    import pyarrow as pa

    found = rows_of(catalog, "SELECT host, domain FROM domains_of_hosts ORDER BY host")
    domains = sorted({domain for _, domain in found})
    number = {domain: at for at, domain in enumerate(domains)}
    if len(domains) > MAX_GROUPS:
        number = {domain: crc32(domain.encode()) % MAX_GROUPS for domain in domains}
    groups = pa.array([number[domain] for _, domain in found], pa.int32())
    hosts = pa.array([host for host, _ in found], pa.string())
    catalog.duck.register("host_groups", pa.table({"host": hosts, "grp": groups}))
    return min(len(domains), MAX_GROUPS)


def _add_fates(catalog: Catalog) -> None:
    """The view `fates`: outcomes with the duplicates among the rows that stay told apart."""
    fate, join = "reason", ""
    if "duplicate_of" in columns_of(catalog, "duplicates"):
        join = "LEFT JOIN duplicates USING (key)"
        fate = (
            "CASE WHEN outcome IN ('kept', 'stored') AND duplicate_of IS NOT NULL "
            f"THEN '{DUPLICATE}' ELSE reason END"
        )
    catalog.duck.execute(
        f"CREATE OR REPLACE TEMP VIEW fates AS SELECT key, caption, outcome, {fate} AS fate, grp "
        f"FROM outcomes JOIN host_groups USING (host) {join}"
    )


_FATES = "SELECT outcome, fate FROM fates GROUP BY ALL ORDER BY ALL"
_TOTALS = "SELECT grp, outcome, fate, count(*) FROM fates GROUP BY ALL"


def _register_spellings(catalog: Catalog, terms: Sequence[AuditTerm]) -> None:
    """Tables `words` (first word, whole phrase, term) and `parts` (text, term), as compared."""
    import pyarrow as pa

    def table(spellings: list[tuple[str, int]]) -> pa.Table:
        return pa.table(
            {
                "spelling": pa.array([text for text, _ in spellings], pa.string()),
                "term": pa.array([term for _, term in spellings], pa.int32()),
            }
        )

    words = [(text, at) for at, term in enumerate(terms) for text in term.words]
    parts = [(text, at) for at, term in enumerate(terms) for text in term.parts]
    catalog.duck.register("words_given", table(words))
    catalog.duck.register("parts_given", table(parts))
    normal = _NORMAL.replace("{text}", "spelling")
    catalog.duck.execute(f"""
        CREATE OR REPLACE TEMP TABLE words AS
        SELECT string_split(trim(phrase), ' ')[1] AS word, phrase, term
        FROM (SELECT DISTINCT {normal} AS phrase, term FROM words_given)""")
    catalog.duck.execute(f"""
        CREATE OR REPLACE TEMP TABLE parts AS
        SELECT DISTINCT trim({normal}) AS part, term FROM parts_given""")


# A phrase is found by its first word, then looked for whole. Texts without spaces are looked for
# in captions that are not plain ASCII only, unless a spelling itself is.
_HITS = """
    WITH captions AS (SELECT {columns}, {caption} AS text FROM {source}),
    spoken AS (
        SELECT {columns}, text, unnest(string_split(trim(text), ' ')) AS word
        FROM captions WHERE text <> '  '),
    hits AS (
        SELECT {columns}, term FROM spoken JOIN words USING (word)
        WHERE contains(text, phrase)
        UNION
        SELECT {columns}, term
        FROM (SELECT * FROM captions WHERE strlen(text) <> length(text)
              OR EXISTS (SELECT 1 FROM parts WHERE strlen(part) = length(part))) JOIN parts
        ON contains(text, part))
"""
_MATCHES = (
    _HITS
    + """
    SELECT grp, term, outcome || '/' || coalesce(fate, '') AS fate, count(*) AS n
    FROM hits GROUP BY ALL
"""
)
