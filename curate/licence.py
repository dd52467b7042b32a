"""Who made an image and under which licence, as lists, sites and files call it.

Reads and writes nothing. One licence has one name, however it was written: Creative Commons'
addresses of any version, country and language, SPDX's identifiers, and the usual words become
``CC BY-SA 4.0``, ``CC0 1.0``, ``public domain`` or SPDX's identifier. A country's version of a
Creative Commons licence counts as that licence. Any other text stays what it is, without its
scheme: it is stated, and not recognised.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from frenchcat.curate.errors import UserError
from frenchcat.curate.sql_text import literal

CREATORS = ("creator", "artist", "author", "credit")
"""Columns of a list that name who made an image, the first of them first."""
LICENCE_COLUMNS = ("license", "licence", "license_url", "licence_url")
"""Columns of a list that name its licence."""
COLUMN = "licence_name"
"""The catalog's column of the normalised licences, and the SQL function that makes it."""
NONE_STATED = "none stated"
PUBLIC_DOMAIN = "public domain"
BETWEEN = ", "  # the licences of a row that states several
_MAX_CHARS = 80
_MARKS = r"(?P<marks>by(?:-(?:nc|nd|sa))*)"
_VERSION = r"(?P<version>\d\.\d)"
_CC_URL = re.compile(rf"creativecommons\.org/licen[cs]es/{_MARKS}(?:/{_VERSION})?(?![\w-])", re.I)
_ZERO_URL = re.compile(r"creativecommons\.org/publicdomain/zero", re.I)
_CC = re.compile(rf"\b(?:cc|creative-commons)-{_MARKS}(?:-v?{_VERSION})?(?![\w.])", re.I)
_ZERO = re.compile(r"\bcc-?(?:0|zero)\b|\bcreative-commons-zero\b", re.I)
_PUBLIC = re.compile(r"public-?domain|\bcc-pd(?:dc|m)\b", re.I)
_WORDS = {
    "attribution": "by",
    "non-?commercial": "nc",
    "no-?deriv(?:ative)?s?(?:-works)?": "nd",
    "share-?alike": "sa",
}
"""What Creative Commons' marks stand for, as patterns."""
_NAME = re.compile(r"CC0( \d\.\d)?|CC BY(-(NC|ND|SA))*( \d\.\d)?|public domain")


@lru_cache(maxsize=4096)
def licence_name(text: str) -> str:
    """A licence's short name; a text that is not recognised loses its scheme alone."""
    if not text.strip():
        return NONE_STATED
    return _creative_commons(text) or _spdx(text) or _unknown(text)


def is_recognised(name: str) -> bool:
    """Whether a name is that of a licence, not a text that somebody put in its place."""
    return bool(_NAME.fullmatch(name)) or _spdx(name) == name


def licences_of(texts: Iterable[str | None]) -> str | None:
    """The licences that the statements about one image name, sorted; None if there is none.

    Statements that are not recognised count only where none is: beside a licence they are mostly
    the page on which the image was shown. A name without a version gives way to one with it.
    """
    said = {licence_name(text) for text in texts if text and text.strip()}
    known = {name for name in said if is_recognised(name)}
    kept = sorted(
        name for name in known or said if not any(n.startswith(f"{name} ") for n in known)
    )
    return BETWEEN.join(kept) or None


def licence_of_row(columns: Mapping[str, Any]) -> str | None:
    """The licences of a hit's columns: the catalog's, else those of the list's own columns."""
    made = columns.get(COLUMN)
    own = (columns.get(name) for name in LICENCE_COLUMNS)
    return str(made) if made else licences_of(str(text) for text in own if text is not None)


def columns_of(names: Iterable[str]) -> list[str]:
    """Those of a list's columns that name its licence."""
    return [name for name in names if name.lower() in LICENCE_COLUMNS]


def licence_condition(given: Sequence[str]) -> str:
    """The SQL condition that a row states licences, all of them among these.

    Names may be written in any form; one without a version is every version's. Raises `UserError`
    for none or an empty one.
    """
    names = [licence_name(name) for name in given]
    if not names or NONE_STATED in names:
        raise UserError('a licence is an empty text; name one, for example "CC BY" or CC0-1.0')
    one = "|".join(map(_pattern, dict.fromkeys(names)))
    return f"coalesce(regexp_full_match({COLUMN}, {literal(f'({one})(, ({one}))*')}), false)"


def licence_url(text: str) -> str | None:
    """The address of a licence's text: what was stated, or that of a Creative Commons name."""
    if re.match(r"https?://\S+$", text.strip(), re.I):
        return text.strip()
    name = licence_name(text)
    if name.startswith("CC0"):
        return "https://creativecommons.org/publicdomain/zero/1.0/"
    found = re.fullmatch(r"CC (BY\S*) (\d\.\d)", name)
    if found:
        return f"https://creativecommons.org/licenses/{found[1].lower()}/{found[2]}/"
    if _spdx(name) == name:
        return f"https://spdx.org/licenses/{name}.html"
    return None


def _creative_commons(text: str) -> str | None:
    words = re.sub(r"[\s_/]+", "-", text)
    for pattern, mark in _WORDS.items():
        words = re.sub(pattern, mark, words, flags=re.I)
    words = re.sub(r"^(?=by-)", "cc-", words, flags=re.I)  # "Attribution-ShareAlike 4.0"
    if _ZERO_URL.search(text) or _ZERO.search(words):
        return "CC0 1.0"
    found = _CC_URL.search(text) or _CC.search(words)
    if found:
        version = f" {found['version']}" if found["version"] else ""
        return f"CC {found['marks'].upper()}{version}"
    return PUBLIC_DOMAIN if _PUBLIC.search(words) else None


def _spdx(text: str) -> str | None:
    """The SPDX identifier that a text or an address at spdx.org is; None for another."""
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    named = re.sub(r"^https?://(www\.)?spdx\.org/licenses/|(\.html)?/?$", "", text.strip())
    try:
        return str(canonicalize_license_expression(named))
    except InvalidLicenseExpression:
        return None


def _unknown(text: str) -> str:
    bare = re.sub(r"^https?://(www\.)?", "", " ".join(text.split()))
    return bare.replace(BETWEEN, "; ")[:_MAX_CHARS]


def _pattern(name: str) -> str:
    """A regular expression (RE2's) of a name; of every version if it has none."""
    any_version = r"( \d\.\d)?" if re.fullmatch(r"CC0|CC BY\S*", name) else ""
    return re.escape(name) + any_version
