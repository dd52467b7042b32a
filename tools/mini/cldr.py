"""Emoji names and keywords in many languages, from Unicode's CLDR.

Reads ``unicode-cldr-core``'s annotations; gives texts an emoji, names first.
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from pathlib import Path

from tools.mini.materials import share


def emoji_texts(work: Path, languages: Iterable[str]) -> dict[str, dict[str, list[str]]]:
    """Emoji -> language -> [name, keyword, ...] for emoji that every language names."""
    found: dict[str, dict[str, list[str]]] = {}
    for language in languages:
        for folder in ("annotations", "annotationsDerived"):
            path = share(work, "unicode", "cldr", "common", folder, f"{language}.xml")
            for node in ElementTree.parse(path).iter("annotation"):
                texts = [part.strip() for part in (node.text or "").split("|")]
                entry = found.setdefault(node.attrib["cp"], {}).setdefault(language, [])
                if node.attrib.get("type") == "tts":
                    entry[:] = texts + [text for text in entry if text not in texts]
                else:
                    entry += [text for text in texts if text not in entry]
    count = len(list(languages))
    return {char: texts for char, texts in found.items() if len(texts) == count}
