"""Title, creator, licence and words of an Open Clip Art picture, and a caption made of them.

Reads the RDF block of an SVG (Dublin Core and Creative Commons terms). Files whose XML is broken
are read up to the break: a metadata block that ends before it still counts.
Trade-off: captions are left as their authors wrote them, odd English included, because that is
what alt text on the web looks like; only encodings, file-name habits and boilerplate are mended.
"""

import html
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import ftfy

DC = "{http://purl.org/dc/elements/1.1/}"
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
LICENSE_TAGS = ("{http://web.resource.org/cc/}license", "{http://creativecommons.org/ns#}license")
WORK_TAGS = ("{http://web.resource.org/cc/}Work", "{http://creativecommons.org/ns#}Work")
MAX_CAPTION_CHARS = 160
NOISE_KEYWORD = re.compile(
    r"hash.*|unsorted|0x\w+|\d+|architetto.*|rollandin.*|united_nations_member|signs_and_symbols|"
    r"sign|musicstuff|musicsym|mapsym|networksym|cv-clip|.*openclip.*|.*shape.*|symbol|menu|icons?|"
    r"computers?|animals?|mammals?|subnational|theme|action|application|filesystem|device|stock|"
    r"lemon_theme_icon|mimetypes|.{1,2}|.{21,}",
    re.IGNORECASE,
)
NOISE_DESCRIPTION = re.compile(
    r"@|hash\(|https?:|inkscape|submi|opencl|public domain|site web|collection|abiclip|"
    r"jpg|jpeg|\.svg",
    re.IGNORECASE,
)
SUITS = {"c": "clubs", "d": "diamonds", "h": "hearts", "s": "spades"}
RANKS = {"a": "ace", "j": "jack", "q": "queen", "k": "king"}


@dataclass(frozen=True)
class Metadata:
    """What an SVG says about itself; a field it lacks is empty."""

    title: str
    description: str
    keywords: tuple[str, ...]
    creator: str
    license: str


def read_metadata(svg: Path) -> Metadata | None:
    """The picture's metadata, or None when the SVG holds no readable block."""
    work = _find_work(svg)
    if work is None:
        return None
    license_node = next((n for tag in LICENSE_TAGS for n in work.iter(tag)), None)
    return Metadata(
        title=tidy(work.findtext(f"{DC}title") or ""),
        description=tidy(work.findtext(f"{DC}description") or ""),
        keywords=tuple(k for n in work.iter(f"{RDF}li") if (k := tidy(n.text or ""))),
        creator=_agent(work, "creator") or _agent(work, "rights"),
        license="" if license_node is None else license_node.get(f"{RDF}resource", ""),
    )


def _find_work(svg: Path) -> ElementTree.Element | None:
    try:
        for _, node in ElementTree.iterparse(svg):
            if node.tag in WORK_TAGS:
                return node
    except ElementTree.ParseError:
        return None  # broken before the block's end
    return None


def _agent(work: ElementTree.Element, role: str) -> str:
    node = work.find(f"{DC}{role}")
    return "" if node is None else tidy(" ".join(node.itertext()))


def tidy(text: str) -> str:
    """One line of clean Unicode: entities, broken encodings and doubled spaces mended."""
    return re.sub(r"\s+", " ", ftfy.fix_text(html.unescape(html.unescape(text)))).strip()


def series_titles(metas: Iterable[Metadata]) -> frozenset[str]:
    """Titles that name a whole series ("Various Cliparts") rather than one picture.

    A title on four or more pictures is taken for one; the file name says more then.
    """
    counts = Counter(meta.title for meta in metas)
    return frozenset(title for title, count in counts.items() if count >= 4)


def caption(meta: Metadata, rel: str, series: frozenset[str]) -> str:
    """Alt text for the picture at ``rel``: its title, then a description or keywords if short."""
    if card := re.search(r"/cards/(\w+)/\w+_([cdhs])_(\w+)\.png$", rel):
        return f"Playing card, {RANKS.get(card[3], card[3])} of {SUITS[card[2]]}, {card[1]} design"
    title = clean_title(meta.title)
    if not title or meta.title in series or re.match(r"R\d\d ", meta.title):
        title = clean_title(name_words(rel, meta.creator))
    if "/flags/" in rel and "flag" not in title.lower() and len(title) < 40:
        title = "Flag of " + ", ".join(reversed(title.split(" - ")))
    if "/icons/" in rel and "icon" not in title.lower():
        title += " icon"
    description = "" if NOISE_DESCRIPTION.search(meta.description) else meta.description
    if description and len(description) <= 90 and not _same_words(description, title):
        return f"{title}. {description[0].upper()}{description[1:]}"[:MAX_CAPTION_CHARS]
    return _with_keywords(title, meta.keywords)[:MAX_CAPTION_CHARS]


def _with_keywords(title: str, keywords: tuple[str, ...]) -> str:
    """A title of one or two words is too bare for alt text: two keywords help it."""
    if len(title.split()) >= 3:
        return title
    telling = [k.replace("_", " ") for k in sorted(keywords) if not NOISE_KEYWORD.fullmatch(k)]
    fresh = [k for k in telling if k.lower() not in title.lower()]
    return ", ".join([title, *fresh[:2]])


def clean_title(title: str) -> str:
    """A title without file-name habits: underscores, a number at the end, "Clipart by"."""
    title = re.sub(r"^clipart by .*? - ", "", title, flags=re.IGNORECASE)
    title = re.sub(
        r"\(?email: *\S+@\S+\)?|\.svg\b|\| *circle|architetto|rollandin", "", title, flags=re.I
    )
    title = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", title.replace("_", " "))
    title = re.sub(r"\(?\bB and W\b\)?|\bbw\b", "in black and white", title)
    title = re.sub(r"(?<=[a-z)])[ #]*\d{1,3}$", "", title.strip())
    title = re.sub(r"\s+", " ", re.sub(r"^\d+ ?(?=[a-z])", "", title)).strip(" -.,")
    return title[:1].upper() + title[1:]


def name_words(rel: str, creator: str) -> str:
    """The words of a file name, its author's name and number taken off the end."""
    parts = [w for w in re.split(r"[_ -]+", Path(rel).stem) if w]
    author = [w.lower() for w in re.findall(r"\w+", creator)] + ["ganson"]
    while len(parts) > 1 and (
        parts[-1][0].isdigit() or any(word.startswith(parts[-1].lower()) for word in author)
    ):
        parts.pop()
    return " ".join(parts)


def _same_words(a: str, b: str) -> bool:
    def words(text: str) -> set[str]:
        return set(re.findall(r"\w+", text.lower())) - {"a", "an", "the", "of"}

    return words(a) <= words(b)
