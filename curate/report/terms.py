"""Word lists: what the audits look for in captions, and what the audit of queries searches for.

Reads TOML files, writes nothing. A list has a title and terms; a term has spellings by language::

    title = "People"

    [terms.woman]
    en = ["woman", "women"]
    fr = ["femme", "femmes"]

A caption has a term when it holds one of its spellings, in whatever language: as whole words, or
anywhere for languages that put no spaces between words. Case does not count, accents do.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from frenchcat.curate.config import PRESETS, resolve, settings
from frenchcat.curate.errors import UserError

LISTS = PRESETS / "terms"
UNSPACED = frozenset({"ja", "zh", "th", "lo", "km", "my"})
"""Languages written without spaces, whose spellings are looked for inside words."""


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
