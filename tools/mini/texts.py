"""The text pairs: a text in one of six languages, and the English text that it means.

Reads the lexicon, WordNet, CLDR, phrases.toml and Open Clip Art's captions; writes
``<work>/texts.json``: {"english": [...], "pairs": {language: [[text, english row], ...]}}.
Machine translation into Spanish, and from it into French and Italian, is Apertium's (rules and
dictionaries, no network); captions made from slots are put together in all languages at once.

    python -m tools.mini.texts --captions 250000
"""

import argparse
import json
import random
import re
import subprocess
import tomllib
from pathlib import Path

from tools.mini.cldr import emoji_texts
from tools.mini.dictionaries import edict, freedict, german_examples
from tools.mini.heldout import LANGUAGES
from tools.mini.lexicon import Table
from tools.mini.materials import work_folder
from tools.mini.wordnet import Thing, things, weights

SLOTS = tomllib.loads(Path(__file__).with_name("phrases.toml").read_text("utf-8"))
NOUN_FIRST = ("fr", "es", "it")  # adjectives of colour, shape and make follow the noun
UNKNOWN = re.compile(r"[*@#]\w")
SEED = 20


class Pairs:
    """Collects (text, language, English) triples, English texts numbered once."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self.pairs: dict[str, dict[str, int]] = {language: {} for language in LANGUAGES}

    def add(self, language: str, text: str, english: str) -> None:
        """Record that ``text`` means ``english``; the English side is a pair of its own."""
        row = self.rows.setdefault(english, len(self.rows))
        self.pairs["en"].setdefault(english, row)
        if text:
            self.pairs[language].setdefault(text, row)

    def save(self, path: Path) -> None:
        """Write the JSON that training reads."""
        pairs = {language: list(found.items()) for language, found in self.pairs.items()}
        out = {"english": list(self.rows), "pairs": pairs}
        path.write_text(json.dumps(out, ensure_ascii=False))
        print(len(self.rows), {language: len(found) for language, found in pairs.items()})


def drawn(rng: random.Random, cell: str) -> str:
    """One of a cell's alternatives."""
    return rng.choice(cell.split("|"))


def noun_in(rng: random.Random, lexicon: dict[str, Table], language: str, noun: str) -> str:
    """A translation of ``noun``, heavier ones more often; "" where there is none."""
    found = lexicon[language].get(noun)
    if not found:
        return ""
    return rng.choices(list(found), list(found.values()))[0]


def plural(noun: str) -> str:
    """The usual English plural."""
    if re.search(r"(s|x|z|ch|sh)$", noun):
        return noun + "es"
    return noun[:-1] + "ies" if re.search(r"[^aeiou]y$", noun) else noun + "s"


def article(text: str) -> str:
    """The text with "a" made "an" before a vowel."""
    return re.sub(r"\ba (?=[aeiou])", "an ", text)


def caption(rng: random.Random, lexicon: dict[str, Table], noun: str) -> tuple[str, dict[str, str]]:
    """One made-up caption of ``noun``: the English, and the other languages that have it."""
    carrier = rng.choice(SLOTS["carriers"])
    adjective = rng.choice(SLOTS["adjectives"]) if rng.random() < 0.45 else None
    place = rng.choice(SLOTS["places"]) if rng.random() < 0.3 else None
    out: dict[str, str] = {}
    for column, language in enumerate(SLOTS["languages"]):
        word = noun if language == "en" else noun_in(rng, lexicon, language, noun)
        if not word:
            continue
        if language == "en" and re.match(r"(two|three|many|some|a group)", carrier[0]):
            word = plural(word)
        if adjective:
            adj = drawn(rng, adjective[column])
            late = language in NOUN_FIRST and rng.random() < 0.75
            gap = "" if language == "ja" else " "
            word = f"{word} {adj}" if late else f"{adj}{gap}{word}"
        where = drawn(rng, place[column]) if place else ""
        if place and language == "ja":
            word = where + word
        text = drawn(rng, carrier[column]).replace("{}", word)
        out[language] = f"{text} {where}".strip() if language != "ja" else text
    english = article(out.pop("en"))
    return english, out


def add_captions(pairs: Pairs, lexicon: dict[str, Table], rows: list[Thing], count: int) -> None:
    """``count`` made-up captions, things drawn by weight."""
    rng = random.Random(SEED)
    translated = [sum(thing.name in table for table in lexicon.values()) for thing in rows]
    for thing in rng.choices(rows, weights(rows, translated), k=count):
        english, others = caption(rng, lexicon, thing.name)
        pairs.add("en", english, english)
        for language, text in others.items():
            pairs.add(language, text, english)


def add_names(pairs: Pairs, lexicon: dict[str, Table], rows: list[Thing]) -> None:
    """Every thing by its bare name, with all its translations, and its gloss in English."""
    for thing in rows:
        english = article(f"a {thing.name}")
        pairs.add("en", thing.name, english)
        for language, table in lexicon.items():
            for text in table.get(thing.name, {}):
                pairs.add(language, text, english)
        if thing.first_sense and len(thing.gloss) < 90:
            pairs.add("en", "", f"{thing.name}: {thing.gloss}")


def add_words(pairs: Pairs, work: Path, lexicon: dict[str, Table], limit: int) -> None:
    """Words of every kind: everyday ones of the lexicon, example phrases, EDICT's common words."""
    from wordfreq import zipf_frequency

    for language, table in lexicon.items():
        for english, found in table.items():
            if zipf_frequency(english, "en") >= 3.0:
                for text in found:
                    pairs.add(language, text, english)
    rng = random.Random(SEED)
    for german, english in rng.sample(list(german_examples(work)), 25_000):
        pairs.add("de", german, english)
    for pair, language in (("deu-eng", "de"), ("fra-eng", "fr"), ("eng-jpn", "ja")):
        found_pairs = list(freedict(work, pair))
        for word, other in rng.sample(found_pairs, min(limit, len(found_pairs))):
            english, text = (word, other) if pair.startswith("eng") else (other, word)
            pairs.add(language, text, english)
    for writing, reading, english, common in edict(work):
        if common:
            pairs.add("ja", writing, english)
            pairs.add("ja", reading, english)


def add_emoji(pairs: Pairs, work: Path) -> None:
    """Emoji names in all languages mean the English name; keywords mean name and keywords."""
    for texts in emoji_texts(work, LANGUAGES).values():
        name, *words = texts["en"]
        about = f"{name}: {', '.join(words)}"
        for language in LANGUAGES:
            pairs.add(language, texts[language][0], name)
            pairs.add(language, ", ".join(texts[language]), about)
            for word in texts[language][1:] if language != "en" else ():
                pairs.add(language, word, about)
        for word in words:
            pairs.add("en", "", word)


def apertium(texts: list[str], mode: str) -> list[str]:
    """Machine translations by one Apertium pair; "" where a word was not known."""
    source = "\n".join(f"{text.rstrip('.')}." for text in texts) + "\n"
    done = subprocess.run(
        ["apertium", mode], input=source, capture_output=True, text=True, check=True
    )
    lines = done.stdout.rstrip("\n").split("\n")
    if len(lines) != len(texts):
        raise ValueError(f"apertium {mode} gave {len(lines)} lines for {len(texts)}")
    return ["" if UNKNOWN.search(line) else line.rstrip(".") for line in lines]


def add_translated(pairs: Pairs, texts: list[str]) -> None:
    """English texts into Spanish, and through Spanish into French and Italian."""
    spanish = apertium(texts, "eng-spa")
    known = [(text, other) for text, other in zip(texts, spanish, strict=True) if other]
    for text, other in known:
        pairs.add("es", other, text)
    for mode, language in (("es-fr", "fr"), ("spa-ita", "it")):
        results = apertium([other for _, other in known], mode)
        for (text, _), other in zip(known, results, strict=True):
            if other:
                pairs.add(language, other, text)


def captioned(work: Path) -> list[dict[str, list[str]]]:
    """The training pictures' captions, as tools/mini/pictures.py wrote them."""
    path = work / "pictures.json"
    return json.loads(path.read_text()) if path.exists() else []


def build(work: Path, captions: int) -> None:
    """Write texts.json."""
    lexicon = json.loads((work / "lexicon.json").read_text())
    rows = list(things(work))
    pairs = Pairs()
    add_captions(pairs, lexicon, rows, captions)
    made = list(pairs.rows)[: captions // 3]
    add_names(pairs, lexicon, rows)
    add_words(pairs, work, lexicon, 40_000)
    add_emoji(pairs, work)
    own = list(dict.fromkeys(text for one in captioned(work) for text in one["en"]))
    for text in own:
        pairs.add("en", "", text)
    glosses = [text for text in pairs.rows if ": " in text][:40_000]
    names = [article(f"a {thing.name}") for thing in rows if len(thing.name.split()) < 3]
    add_translated(pairs, list(dict.fromkeys(made + own + glosses + names)))
    pairs.save(work / "texts.json")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the text pairs.")
    parser.add_argument("--work")
    parser.add_argument("--captions", type=int, default=250_000)
    arguments = parser.parse_args()
    build(work_folder(arguments.work), arguments.captions)
