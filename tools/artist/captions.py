"""What a drawing is called, and which drawings are held out: pure functions of its name.

A caption has several variants, parted by SEPARATOR; training draws one of them anew each time.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tools.artist.materials import Drawing
from tools.mini.cldr import emoji_texts

SEPARATOR = "|"
LANGUAGES = ("en", "fr", "de", "es", "it", "ja", "zh")
"""Those that the bundled text tower reads."""
SEED = 13
CONCEPT_SHARE, RENDERING_SHARE = 25, 4  # one name in so many
STYLES_OF_A_CONCEPT = 4  # in so many styles at least, so that a drawing of it can be judged
KNOWN = frozenset(("cat", "apple", "red apple", "house", "fish", "rose", "car", "automobile"))
KNOWN |= {"dog face", "pizza", "cat face"}
"""Never held out as a concept: the card's grid asks for them."""
ABSTRACT = re.compile(
    r"\b(flag|button|sign|symbol|letter|square|keycap|clock|oclock|thirty|mark)\b"
)

Texts = Mapping[str, Mapping[str, Sequence[str]]]
"""Name -> language -> [name, keyword, ...]."""


def texts_by_name(work: Path) -> Texts:
    """CLDR's names and keywords of all that it names in every language, by English name."""
    return {_key(texts["en"][0]): texts for texts in emoji_texts(work, LANGUAGES).values()}


def variants(drawing: Drawing, texts: Texts) -> list[str]:
    """What a drawing may be called: its name, with its style, its keywords, other languages."""
    name, style = drawing.name, drawing.source.style
    one = f"{_article(name)} {name}"
    found = [name, one, f"{name}, {style}", f"{one}, {style}"]
    known = texts.get(_key(name))
    if known is not None:
        found.append(", ".join(dict.fromkeys(known["en"])))
        found += [known[language][0] for language in LANGUAGES[1:]]
    return [text.replace(SEPARATOR, " ") for text in dict.fromkeys(found)]


def caption(drawing: Drawing, texts: Texts) -> str:
    """All variants as one caption."""
    return f" {SEPARATOR} ".join(variants(drawing, texts))


def held_out(drawings: Iterable[Drawing]) -> dict[tuple[str, str], str]:
    """(Name, style) -> `concept` or `rendering`, of what is never trained on.

    Of names in STYLES_OF_A_CONCEPT styles or more, one in CONCEPT_SHARE is held out in all of them
    and one in RENDERING_SHARE of the others in one style; which, a hash of the name and SEED says.
    """
    styles: dict[str, set[str]] = defaultdict(set)
    for drawing in drawings:
        styles[drawing.name].add(drawing.source.style)
    found: dict[tuple[str, str], str] = {}
    for name, there in styles.items():
        if len(there) < STYLES_OF_A_CONCEPT or ABSTRACT.search(name):
            continue
        if name not in KNOWN and _chance(name, "concept") % CONCEPT_SHARE == 0:
            found |= {(name, style): "concept" for style in there}
        elif _chance(name, "rendering") % RENDERING_SHARE == 0:
            ordered = sorted(there)
            found[name, ordered[_chance(name, "style") % len(ordered)]] = "rendering"
    return found


def _chance(name: str, purpose: str) -> int:
    return int(hashlib.sha256(f"{SEED} {purpose} {name}".encode()).hexdigest(), 16)


def _key(name: str) -> str:
    """A name without accents of spelling: what packages and CLDR agree on."""
    return re.sub(r"[^a-z0-9]+", " ", name.lower().replace("’", "").replace("'", "")).strip()


def _article(name: str) -> str:
    return "an" if name[:1] in "aeiou" else "a"
