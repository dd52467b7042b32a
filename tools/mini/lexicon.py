"""English words and their likely translations into fr, de, es, it and ja.

Reads the dictionaries (tools/mini/dictionaries.py), CLDR and WordNet; writes
``<work>/lexicon.json``: {language: {english: [[translation, weight], ...]}}. Small dictionaries
are widened through the big ones (English-German-French, English-French-Italian): a path weighs
the product of 1/(number of translations) of its steps, paths to the same word add up, everyday
words weigh more, and the KEEP heaviest translations stay. Ambiguous words get wrong translations
that way; weight keeps them rare.

    python -m tools.mini.lexicon
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from wordfreq import zipf_frequency

from tools.mini.cldr import emoji_texts
from tools.mini.dictionaries import edict, freedict
from tools.mini.heldout import LANGUAGES
from tools.mini.materials import work_folder

Table = dict[str, dict[str, float]]
KEEP = 4
PIVOT_WEIGHT = 0.6  # a word reached through another language against one named directly
CLDR_WEIGHT = 1.0


def table(pairs: Iterable[tuple[str, str]]) -> Table:
    """Word -> translation -> weight; a word's weights add up to one."""
    lists: dict[str, list[str]] = defaultdict(list)
    for word, other in pairs:
        if other not in lists[word.lower()]:
            lists[word.lower()].append(other)
    return {word: dict.fromkeys(found, 1 / len(found)) for word, found in lists.items()}


def flipped(pairs: Iterable[tuple[str, str]]) -> Table:
    """The table of the other direction: a word that means only this weighs one."""
    lists: dict[str, list[str]] = defaultdict(list)
    for word, other in pairs:
        lists[word].append(other.lower().removeprefix("to "))
    out: Table = defaultdict(dict)
    for word, found in lists.items():
        for other in found:
            out[other][word] = 1 / len(found)
    return out


def merged(*tables: Table) -> Table:
    """Sums of weights."""
    out: Table = defaultdict(lambda: defaultdict(float))
    for part in tables:
        for word, found in part.items():
            for other, weight in found.items():
                out[word][other] += weight
    return out


def through(first: Table, second: Table) -> Table:
    """Compose two tables, each path at the product of its weights times PIVOT_WEIGHT."""
    out: Table = defaultdict(lambda: defaultdict(float))
    for word, found in first.items():
        for middle, weight in found.items():
            for other, more in second.get(middle.lower(), {}).items():
                out[word][other] += weight * more * PIVOT_WEIGHT
    return out


def everyday(text: str, language: str) -> float:
    """How common a translation is, 0.1 (unheard of) to about 2 (wordfreq's Zipf scale, squared)."""
    if language == "ja":
        return 1.0
    return max(0.1, (zipf_frequency(text, language) / 4) ** 2)


def heaviest(words: Table, language: str) -> Table:
    """The KEEP heaviest translations a word, none below a tenth of the heaviest."""
    out: Table = {}
    for word, found in words.items():
        scored = ((other, weight * everyday(other, language)) for other, weight in found.items())
        best = sorted(scored, key=lambda item: (-item[1], item[0]))[:KEEP]
        out[word] = {other: weight for other, weight in best if weight >= best[0][1] / 10}
    return out


def both_ways(work: Path, a: str, b: str) -> Table:
    """``a``'s words -> ``b``'s, from the dictionaries of both directions that there are."""
    tables = []
    for pair, flip in ((f"{a}-{b}", False), (f"{b}-{a}", True)):
        try:
            pairs = list(freedict(work, pair))
        except FileNotFoundError:
            continue
        tables.append(flipped(pairs) if flip else table(pairs))
    return merged(*tables)


def japanese(work: Path) -> Table:
    """English -> Japanese writings and readings; common words weigh more."""
    out: Table = defaultdict(lambda: defaultdict(float))
    for writing, reading, english, common in edict(work):
        word = english.lower().removeprefix("to ")
        for form in {writing, reading}:
            out[word][form] += 1.0 if common else 0.2
    return out


def cldr(work: Path) -> dict[str, Table]:
    """English emoji names -> the other languages' names."""
    out: dict[str, Table] = {language: {} for language in LANGUAGES[1:]}
    for texts in emoji_texts(work, LANGUAGES).values():
        for language in LANGUAGES[1:]:
            name = texts["en"][0].lower()
            out[language].setdefault(name, {})[texts[language][0]] = CLDR_WEIGHT
    return out


def build(work: Path) -> dict[str, Table]:
    """All five tables."""
    en_de, en_fr = both_ways(work, "eng", "deu"), both_ways(work, "eng", "fra")
    en_es, fr_de = both_ways(work, "eng", "spa"), both_ways(work, "fra", "deu")
    de_fr, de_es = both_ways(work, "deu", "fra"), both_ways(work, "deu", "spa")
    fr_it, fr_es = both_ways(work, "fra", "ita"), both_ways(work, "fra", "spa")
    plain_de, plain_fr = heaviest(en_de, "de"), heaviest(en_fr, "fr")
    german = merged(
        en_de,
        through(plain_fr, fr_de),
        through(heaviest(en_es, "es"), both_ways(work, "spa", "deu")),
    )
    french = heaviest(merged(en_fr, through(plain_de, de_fr)), "fr")
    spanish = merged(en_es, through(plain_de, de_es), through(french, fr_es))
    italian = merged(both_ways(work, "eng", "ita"), through(french, fr_it))
    kana = merged(both_ways(work, "eng", "jpn"), japanese(work))
    full = {"fr": french, "de": german, "es": spanish, "it": italian, "ja": kana}
    names = cldr(work)
    return {name: heaviest(merged(full[name], names[name]), name) for name in full}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Build the lexicon.")
    parser.add_argument("--work")
    folder = work_folder(parser.parse_args().work)
    words = build(folder)
    (folder / "lexicon.json").write_text(json.dumps(words, ensure_ascii=False))
    print({language: len(found) for language, found in words.items()})
