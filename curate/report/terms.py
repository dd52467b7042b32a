"""Word lists, and how often their terms stand in the captions of rows.

A list is a TOML file that has a title and terms; a term has spellings by language::

    title = "People"

    [terms.woman]
    en = ["woman", "women"]
    fr = ["femme", "femmes"]

A caption has a term when it holds one of its spellings, in whatever language: as whole words, or
anywhere for languages that put no spaces between words. Case does not count, accents do: captions
and spellings are compared in Unicode's composed form, in lower case, with everything that is not a
letter, mark or number taken for a space.

Counting reads the view `outcomes` and, where there is one, `duplicates`; it writes nothing and
gives counts only: a sparse table (group of domains, term, outcome) and the totals, which the audit
resamples. Domains are hashed into at most MAX_GROUPS groups, so that the tables stay small for
lists of many domains. Cost: one pass over the captions and a hash join of their words; memory grows
with the captions that hold a term.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from frenchcat.curate.catalog import Catalog
from frenchcat.curate.config import PRESETS, resolve, settings
from frenchcat.curate.errors import UserError
from frenchcat.curate.report.outcomes import columns_of, rows_of

if TYPE_CHECKING:
    import pyarrow as pa

LISTS = PRESETS / "terms"
UNSPACED = frozenset({"ja", "zh", "th", "lo", "km", "my"})
"""Languages written without spaces, whose spellings are looked for inside words."""
MAX_GROUPS = 20_000
DUPLICATE = "duplicate"
_NORMAL = (
    r"' ' || trim(regexp_replace(lower(nfc_normalize({text})), '[^\p{L}\p{M}\p{N}]+', ' ', 'g'))"
    " || ' '"
)

Fate = tuple[str, str | None]
"""What became of a row: its outcome and reason; for an image that stays, DUPLICATE or None."""


@settings
class TermList:
    """A word list as its file has it."""

    title: str
    terms: dict[str, dict[str, tuple[str, ...]]] = Field(default_factory=dict)
    """Term -> language (ISO 639-1) -> spellings."""


@dataclass(frozen=True)
class AuditTerm:
    """One term: `words` are looked for as whole words (in a row), `parts` anywhere."""

    name: str
    group: str  # the title of its list
    words: tuple[str, ...]
    parts: tuple[str, ...]
    queries: tuple[tuple[str, str], ...] = ()
    """Language and its first spelling: what the audit of queries searches for."""

    def query(self, language: str) -> str | None:
        """The first spelling in a language (ISO 639-1); None where the list has none."""
        return dict(self.queries).get(language)


def load_terms(files: Iterable[str | Path]) -> list[AuditTerm]:
    """The terms of word lists, each a file's path or the name of one in configs/terms/.

    Raises `UserError` for a missing or bad file, an empty spelling, a term that is in two lists.
    """
    found: dict[str, AuditTerm] = {}
    for file in files:
        for term in _terms(file):
            if term.name in found:
                raise UserError(
                    f"{file}: the term {term.name!r} is in the list {found[term.name].group!r} "
                    "too; give it another name"
                )
            found[term.name] = term
    return list(found.values())


def _terms(file: str | Path) -> list[AuditTerm]:
    path = _path(file)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is not TOML: {error}") from None
    listed = resolve(TermList, values, str(file))
    if not listed.terms:
        raise UserError(
            f"{file} contains no term; write one as [terms.cat] and en = ['cat', 'cats']"
        )
    return [_term(file, listed.title, *item) for item in listed.terms.items()]


def _term(
    file: str | Path, group: str, name: str, languages: dict[str, tuple[str, ...]]
) -> AuditTerm:
    found: dict[bool, dict[str, None]] = {False: {}, True: {}}
    for language, spellings in languages.items():
        for spelling in spellings:
            if not any(character.isalnum() for character in spelling):
                raise UserError(
                    f"{file}: {name}.{language} has the spelling {spelling!r}, which has no word"
                )
            found[language in UNSPACED][spelling] = None
    if not any(found.values()):
        raise UserError(
            f"{file}: the term {name!r} has no spelling; give one, such as en = ['word']"
        )
    queries = tuple((language, spelt[0]) for language, spelt in languages.items() if spelt)
    return AuditTerm(name, group, tuple(found[False]), tuple(found[True]), queries)


def _path(file: str | Path) -> Path:
    path = Path(file)
    if path.is_file():
        return path
    listed = LISTS / f"{path.name.removesuffix('.toml')}.toml"
    if path.parent == Path(".") and listed.is_file():
        return listed
    known = ", ".join(sorted(found.stem for found in LISTS.glob("*.toml")))
    raise UserError(f"no word list {file}; give a TOML file, or one of: {known}")


# -- their counts ------------------------------------------------------------------------------


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
