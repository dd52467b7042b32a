"""The names by which a list's columns are found: for the URL, the caption and the image."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from frenchcat.curate.download.list_source import RESERVED, listed
from frenchcat.curate.errors import UserError

if TYPE_CHECKING:
    from frenchcat.curate.download.list_source import Source

# Usual names, best first: img2dataset, LAION, DataComp, cc2dataset, Conceptual Captions, Unsplash,
# Hugging Face.
URL_NAMES = (
    *("url", "image_url", "img_url", "photo_image_url", "image_link", "link", "uri", "href"),
    *("urls", "image_urls", "coco_url", "flickr_url"),
)
CAPTION_NAMES = (
    *("caption", "text", "alt", "alt_text", "txt", "title", "description"),
    *("captions", "texts", "alt_texts"),
)
IMAGE_NAMES = ("image", "img", "picture", "jpg", "jpeg", "png", "webp", "image_bytes", "bytes")

_URL = re.compile(r"\s*[a-z][a-z0-9+.-]*://\S", re.IGNORECASE)


def like_url(text: str) -> bool:
    """Whether a text begins as a URL does."""
    return _URL.match(text) is not None


def usual(names: Sequence[str], known: Sequence[str]) -> str | None:
    """The first of the known names that exists, in any case; as it is spelt there."""
    lowered = {name.lower(): name for name in reversed(names)}
    return next((lowered[name] for name in known if name in lowered), None)


def free_name(name: str) -> str:
    """The name, or ``list_<name>`` if it is reserved."""
    return f"list_{name}" if name.lower() in RESERVED else name


def unique(names: Sequence[str]) -> list[str]:
    """The names of a header: none is empty or reserved, and no two differ only in case."""
    found: list[str] = []
    taken: set[str] = set()
    for number, name in enumerate(names):
        name = free_name(name.strip() or f"column{number}")
        while name.lower() in taken:
            name += "_1"
        taken.add(name.lower())
        found.append(name)
    return found


def pick(
    source: Source,
    names: Sequence[str],
    url: str | None,
    caption: str | None,
    image: str | None = None,
) -> tuple[str | None, str | None]:
    """The URL and the caption column: as named, else by their usual names in any case.

    With an `image` column, a list needs none for URLs. Raises `UserError` where there is no URL
    column, or a named one is missing.
    """
    found = listed(names)
    for setting, named in (("url_column", url), ("caption_column", caption)):
        if named is not None and named not in names:
            raise UserError(
                f"{source.name}: no column {named!r} ({setting}); the columns are: {found}"
            )
    url = url or usual(names, URL_NAMES)
    if url is None and image is None:
        raise UserError(
            f"{source.name}: no URL column; the columns are: {found}; "
            "name it with --set download.url_column=NAME"
        )
    others = [name for name in names if name not in (url, image)]
    return url, caption or usual(others, CAPTION_NAMES)
