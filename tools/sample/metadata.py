"""Title, creator, licence and words of an Open Clip Art picture, and a caption made of them.

Reads the RDF block of an SVG (Dublin Core and Creative Commons terms). Files whose XML is broken
are read up to the break: a metadata block that ends before it still counts.
Trade-off: captions are left as their authors wrote them, odd English included, because that is
what alt text on the web looks like; only encodings, file-name habits and boilerplate are mended.
"""

import html
import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import ftfy

DC = "{http://purl.org/dc/elements/1.1/}"
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
LICENSE_TAGS = ("{http://web.resource.org/cc/}license", "{http://creativecommons.org/ns#}license")
WORK_TAGS = ("{http://web.resource.org/cc/}Work", "{http://creativecommons.org/ns#}Work")
MAX_CAPTION_CHARS = 160


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
    parser = ElementTree.XMLPullParser(events=("end",))
    try:
        parser.feed(svg.read_bytes())
    except ElementTree.ParseError:
        pass  # the events before the break are still there
    try:
        for _, node in parser.read_events():
            if isinstance(node, ElementTree.Element) and node.tag in WORK_TAGS:
                return node
    except ElementTree.ParseError:
        return None
    return None


def _agent(work: ElementTree.Element, role: str) -> str:
    node = work.find(f"{DC}{role}")
    return "" if node is None else tidy(" ".join(node.itertext()))


def tidy(text: str) -> str:
    """One line of clean Unicode: entities, broken encodings and doubled spaces mended."""
    return re.sub(r"\s+", " ", ftfy.fix_text(html.unescape(html.unescape(text)))).strip()
