"""Bilingual word lists out of Debian's FreeDict (dictd format) and EDICT packages.

Reads ``dictd/freedict-xxx-yyy.dict.dz`` and ``edict/edict``; gives (word, translation) pairs,
plain text in NFKC, and the example sentences of the German dictionary. Glosses, labels and
grammar are cut away by their brackets; lines that are glosses in the headword's own language
are told from translations by where they stand, so some noise stays.
"""

import gzip
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from tools.mini.materials import share

HEADWORD = re.compile(r"^([^\s/][^/\n<]*?) (?:/|<)")
BRACKETS = re.compile(r"<[^>]*>|\[[^\]]*\]|\([^)]*\)|\{[^}]*\}|/[^/]*/")
EXAMPLE = re.compile(r'^\s+"([^"]+)"\s+- (.+)$')
EDICT_LINE = re.compile(r"^(\S+)(?: \[([^\]]+)\])? /(.+)/$")
MAX_CHARS = 40


def tidy(text: str) -> str:
    """A translation without brackets, numbers and doubled spaces."""
    text = BRACKETS.sub(" ", unicodedata.normalize("NFKC", text.replace("\u2010", "-")))
    return " ".join(re.sub(r"^\s*\d+\.", " ", text).split()).strip(" .,;:!?|")


def translations(line: str) -> list[str]:
    """The alternatives of one translation line."""
    bare = re.sub(r"\s\d\.\s*$", "", BRACKETS.sub(" ", line))
    parts = (tidy(part) for part in re.split(r"[,;]", bare))
    return [part for part in parts if part and len(part) <= MAX_CHARS]


def freedict(work: Path, pair: str) -> Iterator[tuple[str, str]]:
    """(word, translation) pairs of FreeDict's ``pair``, e.g. ``"fra-deu"``."""
    path = share(work, "dictd", f"freedict-{pair}.dict.dz")
    head, fresh = "", False
    with gzip.open(path, "rt", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if found := HEADWORD.match(line):
                head, fresh = tidy(found[1]), True
                continue
            numbered = re.match(r"^\d+\. ", line) is not None
            label = re.match(r"^\s*(Note|Synonyms?|see|Antonyms?):|^\s+\"", line)
            if not line.strip() or label or not head or not (fresh or numbered):
                continue
            fresh = False
            for text in translations(line):
                yield head, text


def german_examples(work: Path) -> Iterator[tuple[str, str]]:
    """(German, English) example phrases of FreeDict's deu-eng."""
    path = share(work, "dictd", "freedict-deu-eng.dict.dz")
    with gzip.open(path, "rt", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if found := EXAMPLE.match(line):
                german, english = tidy(found[1]), tidy(found[2])
                if 0 < len(german) < 80 and 0 < len(english) < 80:
                    yield german, english


def edict(work: Path) -> Iterator[tuple[str, str, str, bool]]:
    """(writing, reading, English, common) of EDICT's first senses."""
    path = share(work, "edict", "edict")
    with open(path, encoding="euc-jp", errors="replace") as lines:
        for line in lines:
            if not (found := EDICT_LINE.match(line.strip())):
                continue
            common = "(P)" in found[3]
            senses = [tidy(part) for part in found[3].split("/")[:4] if "EntL" not in part]
            for sense in senses:
                if sense and sense != "P" and len(sense) <= MAX_CHARS:
                    yield found[1], found[2] or found[1], sense, common
