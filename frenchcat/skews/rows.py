"""The dataset's side of the audit of queries: the rows that a search may show, with attributes.

Reads the index's rows and the catalog, writes nothing. Kinds of attributes:

    term       the caption has a spelling of a term of the word lists
    country    the country code that the URL's domain ends with
    language   the caption's, as the score `language` says

Cost: one pass over the captions, and one public-suffix lookup per row. Memory: a byte per row and
attribute, some hundred bytes per row for keys.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.catalog import Catalog
from frenchcat.curate.command_text import shell_command
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.report.terms import AuditTerm, terms_of_rows
from frenchcat.curate.urls import domain_of

if TYPE_CHECKING:
    import pyarrow as pa

    from frenchcat.index.search import Searcher
    from frenchcat.index.visible import View

MIN_ROWS = 10
"""Attributes of fewer rows of the dataset are not tested."""
MOST_VALUES = 40
"""Countries and languages: the most frequent ones are tested, one by one."""
NO_COUNTRY = "no country"
GENERIC = frozenset("ai am cc co eu fm gg io la ly me sh to tv ws".split())
"""Country codes that are sold as generic names, and the EU's: they say nothing about a country."""


@dataclass(frozen=True)
class Attribute:
    """What an image may have."""

    kind: str  # term, country, language
    name: str
    term: AuditTerm | None = None


@dataclass(frozen=True)
class BaseRows:
    """The N rows that a search may show, in the order of their positions in the index."""

    positions: NDArray[np.int64]  # (N,)
    keys: list[str]
    attributes: list[Attribute]
    members: NDArray[np.bool_]  # (N, A)
    domains: NDArray[np.int64]  # (N,) a number per domain
    clusters: NDArray[np.int64] | None  # (N,) a number per cluster of duplicates
    unmeasured: tuple[str, ...]  # what is not known of this dataset, and what to run

    def __len__(self) -> int:
        return len(self.positions)

    def places(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n,) where positions of the index stand among these rows."""
        return np.searchsorted(self.positions, positions)

    @property
    def shares(self) -> NDArray[np.float64]:
        """(A,) the base rates."""
        return np.asarray(self.members.mean(axis=0), np.float64)


def base_rows(
    dataset: Dataset, searcher: Searcher, view: View, terms: Sequence[AuditTerm]
) -> BaseRows:
    """Gather the rows that a view shows. Raises `UserError` for a bad condition."""
    import pyarrow as pa
    import pyarrow.compute as pc

    mask = searcher.visible.mask(view)
    shown = np.arange(len(searcher)) if mask is None else np.flatnonzero(mask)
    keys = searcher.rows.keys().take(pa.array(shown)).combine_chunks()
    with Catalog(dataset) as catalog:
        there = catalog.columns()
        wanted = [name for name in ("url", "language", "cluster") if name in there]
        table = catalog.table(["key", *wanted], order="key")
        found = terms_of_rows(catalog, terms)
    places = pc.index_in(keys, table["key"].combine_chunks())
    known = np.asarray(places.is_valid())  # all but rows that the catalog lost since
    shown, keys = shown[known], keys.filter(pa.array(known))
    table = table.take(places.filter(pa.array(known)))
    attributes = [Attribute("term", term.name, term) for term in terms]
    columns = _term_members(keys, found, len(terms))
    domains = [domain_of(url) for url in table["url"].to_pylist()]
    for kind, values in (
        ("country", [country_of(domain) for domain in domains]),
        ("language", table["language"].to_pylist() if "language" in there else None),
    ):
        if values is not None:
            names, members = _one_hot(values)
            attributes += [Attribute(kind, name) for name in names]
            columns = np.concatenate([columns, members], axis=1)
    clusters = _numbered(table["cluster"].to_pylist()) if "cluster" in there else None
    return BaseRows(
        shown.astype(np.int64),
        keys.to_pylist(),
        attributes,
        columns,
        _numbered(domains),
        clusters,
        _unmeasured(dataset, there),
    )


def country_of(domain: str) -> str:
    """The country code that a domain ends with, such as `fr`; `no country` for a generic name."""
    ending = domain.rpartition(".")[2].lower()
    if len(ending) == 2 and ending.isalpha() and ending not in GENERIC and "." in domain:
        return ending
    return NO_COUNTRY


def _unmeasured(dataset: Dataset, there: Collection[str]) -> tuple[str, ...]:
    said = []
    if "language" not in there:
        said.append(f"languages: not scored; run {shell_command('score', dataset.root)}")
    if "cluster" not in there:
        dedup = shell_command("dedup", dataset.root)
        said.append(f"clusters of duplicates: not searched; run {dedup}")
    return tuple(said)


def _term_members(keys: pa.Array, found: pa.Table, terms: int) -> NDArray[np.bool_]:
    import pyarrow as pa
    import pyarrow.compute as pc

    members = np.zeros((len(keys), terms), bool)
    rows = pc.index_in(found["key"].combine_chunks(), pa.array(keys))
    there = rows.is_valid()
    places = np.asarray(rows.filter(there))
    members[places, np.asarray(found["term"].combine_chunks().filter(there))] = True
    return members


def _one_hot(values: Sequence[str | None]) -> tuple[list[str], NDArray[np.bool_]]:
    """The most frequent values, and (N, V) which row has which."""
    named = np.array([value or "unknown" for value in values], object)
    names, counts = np.unique(named.astype(str), return_counts=True)
    chosen = [str(names[at]) for at in np.lexsort((names, -counts))[:MOST_VALUES]]
    members = np.zeros((len(named), len(chosen)), bool)
    for at, name in enumerate(chosen):
        members[:, at] = named == name
    return chosen, members


def _numbered(values: Sequence[str | None]) -> NDArray[np.int64]:
    """(N,) a number per distinct value; a row without one is a value of its own."""
    numbers: dict[str, int] = {}
    given = (f"row {at}" if value is None else f"={value}" for at, value in enumerate(values))
    return np.array([numbers.setdefault(value, len(numbers)) for value in given], np.int64)
