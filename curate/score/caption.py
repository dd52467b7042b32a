"""Caption quality without a model: length, file names, alt-text boilerplate.

Reads captions, gives

- `caption_words`, `caption_chars`: what DataComp's basic filter counts (words between white
  space, characters; baselines/apply_filter.py of its repository);
- `caption_is_filename`: the caption is a file's or a camera's name ("IMG_0042.jpg", "DSC00017");
- `caption_is_boilerplate`: it is what a template wrote ("click to enlarge", "no image available",
  "stock photo"), after the text filters of Conceptual Captions (Sharma et al. 2018, section 3).

A missing caption has 0 words and is neither. Trade-off: short lists that are nearly never wrong,
rather than long ones that drop odd but true captions. Cost: some microseconds a caption.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from frenchcat.curate.score.kinds import Column, Columns

if TYPE_CHECKING:
    import pyarrow as pa

_ENDING = r"\.(?:jpe?g|jpe|png|gif|webp|bmp|tiff?|svg|heic|avif|ico|psd|cr2|nef)"
_FILE = re.compile(rf"(?:[^\s/\\]+[/\\])*[^\s/\\]+(?: [^\s/\\]+){{0,3}}{_ENDING}", re.I)
_CAMERA = re.compile(
    r"(?:img|dsc[fn]?|dscn|sdc|pict?|p|pxl|mvi|gopr|dji|scan|screen ?shot|screenshot|image|photo"
    r"|picture|foto|bild|unnamed|download|untitled|wp|hpim|cimg|imag)[-_ ]*\(?\d[\d\-_ .x()]*",
    re.I,
)
_CODE = re.compile(r"(?:[0-9a-f]{8,}(?:[-_][0-9a-f]+)*|[\d\-_ .]*\d[\d\-_ .]*)", re.I)
_WHOLE = frozenset(
    """
    image|images|img|photo|photos|picture|pictures|pic|logo|icon|thumbnail|thumb|placeholder|avatar
    |banner|untitled|unnamed|no title|no caption|caption|alt|alt text|alt tag|description
    |no description|no description available|no image|no photo|no image available|no photo available
    |image not available|photo not available|image not found|image coming soon|photo coming soon
    |picture coming soon|loading|loading image|default|default image|main image|product image
    |product photo|featured image|post image|blog image|cover image|header image|background image
    |profile photo|profile picture|user avatar|stock photo|stock image|stock illustration
    |embedded image permalink|permalink|image description|image may contain|image title|spacer|pixel
    |null|none|nan|undefined|n/a|image 1|bild|foto|kein bild|kein bild vorhanden|imagen
    |foto de perfil|sin imagen|imagen no disponible|aucune image|image non disponible
    |photo de profil|immagine|nessuna immagine
    """.replace("\n", " ")
    .replace(" |", "|")
    .strip()
    .split("|")
)
_BEGINS = (
    "click to enlarge",
    "click to view",
    "click to zoom",
    "click for larger",
    "click here",
    "click image",
    "click on the image",
    "tap to enlarge",
    "view larger",
    "view full size",
    "see larger",
    "open image in",
    "enlarge image",
    "image may contain",
    "may be an image of",
    "may be a",
    "this image has an empty alt attribute",
    "there is no description",
    "the image could not be loaded",
    "attachment:",
    "[image:",
    "cliquez pour agrandir",
    "klicken sie",
    "zum vergrößern",
    "haga clic para",
)
_ENDS = ("- click to enlarge", "(click to enlarge)", "embedded image permalink")
_EDGES = " \t\n\r\"'.,:;!?-_|()[]{}<>*#…"


class Caption:
    """The score."""

    name = "caption"
    version = 1
    columns = (
        Column("caption_words", "int32", "words in the caption"),
        Column("caption_chars", "int32", "characters in the caption"),
        Column("caption_is_filename", "bool", "the caption is the name of a file or camera"),
        Column("caption_is_boilerplate", "bool", "the caption is what a template wrote"),
    )

    def settings(self) -> Mapping[str, Any]:
        """It depends on the caption alone."""
        return {}

    def of_rows(self, rows: pa.Table) -> Columns:
        """Each caption by itself."""
        captions = [caption or "" for caption in rows["caption"].to_pylist()]
        return {
            "caption_words": [len(caption.split()) for caption in captions],
            "caption_chars": [len(caption) for caption in captions],
            "caption_is_filename": [is_filename(caption) for caption in captions],
            "caption_is_boilerplate": [is_boilerplate(caption) for caption in captions],
        }


def is_filename(caption: str) -> bool:
    """Whether a caption is a file's name, a camera's number or a bare code."""
    text = caption.strip(" \t\n\r\"'")
    if not text:
        return False
    if any(pattern.fullmatch(text) for pattern in (_FILE, _CAMERA)):
        return True
    # "1984" and "deadbeef" could be titles; a long number or code is not.
    return len(text) >= 5 and any(c.isdigit() for c in text) and bool(_CODE.fullmatch(text))


def is_boilerplate(caption: str) -> bool:
    """Whether a caption is a template's words rather than anybody's about the image."""
    text = " ".join(caption.casefold().split())
    return (
        text.strip(_EDGES) in _WHOLE
        or text.strip("\"'").startswith(_BEGINS)
        or text.rstrip(" .").endswith(_ENDS)
    )
