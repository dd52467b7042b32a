"""Names of things that can be photographed, with their glosses, from WordNet 3.0.

Reads ``wordnet-base``'s data.noun; a thing's weight says how often captions should name it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from timm.data import ImageNetInfo
from wordfreq import zipf_frequency

from tools.mini.materials import share

# Lexicographer files of things one can see: wordnet's lexnames(5).
CONCRETE = {"05", "06", "08", "13", "15", "17", "18", "19", "20", "25", "27"}
MAX_WORDS = 3


@dataclass(frozen=True)
class Thing:
    """One noun of a concrete synset."""

    name: str
    gloss: str
    first_sense: bool
    kind: str  # lexicographer file: "05" animals, "06" artifacts, ...


def things(work: Path) -> Iterator[Thing]:
    """Every lemma of every concrete noun synset, proper names left out."""
    seen: set[str] = set()
    for line in share(work, "wordnet", "data.noun").read_text("utf-8").splitlines():
        if line.startswith("  "):
            continue
        fields, _, gloss = line.partition(" | ")
        parts = fields.split(" ")
        words = [parts[4 + 2 * i].replace("_", " ") for i in range(int(parts[3], 16))]
        if parts[1] not in CONCRETE:
            continue
        for order, word in enumerate(words):
            name = word.lower()
            if word[:1].isupper() or len(name.split()) > MAX_WORDS or name in seen:
                continue
            seen.add(name)
            yield Thing(name, gloss.split(";")[0].strip(), order == 0, parts[1])


def imagenet_names() -> dict[str, float]:
    """Lemma -> extra weight, for the names of ImageNet's 1,000 and 21,000 classes."""
    extra: dict[str, float] = {}
    for subset, weight in (("imagenet-21k-goog", 1.5), ("imagenet-1k", 4.0)):
        info = ImageNetInfo(subset)
        for index in range(info.num_classes()):
            for lemma in info.index_to_description(index).lower().split(", "):
                extra[lemma] = weight
    return extra


def weights(rows: list[Thing], translated: list[int]) -> list[float]:
    """How often a thing is named in made-up captions: everyday words and ImageNet's most.

    ``translated`` counts, a thing, the languages that have a word for it.
    """
    extra = imagenet_names()
    out = []
    for thing, languages in zip(rows, translated, strict=True):
        zipf = min(5.0, max(1.5, zipf_frequency(thing.name, "en")))
        seen = {"05": 2.0, "06": 1.0, "13": 1.5, "20": 1.5, "17": 0.8}.get(thing.kind, 0.4)
        bonus = (1 + extra.get(thing.name, 0.0)) * (0.1 + languages)
        out.append(math.exp(1.1 * (zipf - 1.5)) * seen * bonus)
    return out
