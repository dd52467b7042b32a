"""Who made an image and under which licence, as lists call it."""

from __future__ import annotations

import re

CREATORS = ("creator", "artist", "author", "credit")
"""Columns of a list that name who made an image, the first of them first."""


def licence_name(text: str) -> str:
    """A licence's short name; Creative Commons' addresses get theirs, others lose their scheme."""
    if not text.strip():
        return "none stated"
    found = re.search(r"creativecommons\.org/licenses/([a-z-]+)/(\d\.\d)", text, re.I)
    if found:
        return f"CC {found[1].upper()} {found[2]}"
    if re.search(r"creativecommons\.org/publicdomain/zero", text, re.I):
        return "CC0 1.0"
    if re.search(r"publicdomain|public domain", text, re.I):
        return "public domain"
    return re.sub(r"^https?://(www\.)?", "", text)[:80]
