"""The head of every HTML page that frenchcat writes: a page that asks for nothing.

Style and images are in the page. Its content security policy forbids everything else, scripts
included, should a text ever slip through the escaping.
"""

from __future__ import annotations

from frenchcat.curate.safe_text import for_html

PALETTE = """
:root { color-scheme: light dark; --back: #faf9f7; --card: #fff; --ink: #1d1b19; --dim: #6a645d;
  --line: #e6e2dc; --accent: #2f5d8a }
@media (prefers-color-scheme: dark) {
  :root { --back: #161514; --card: #211f1d; --ink: #ece8e3; --dim: #a39c94; --line: #34302c;
    --accent: #8db7e0 } }
* { box-sizing: border-box }
body { margin: 0; padding: 2.2rem clamp(1rem, 4vw, 3.5rem) 4rem; background: var(--back);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif }
h1 { margin: 0; font-size: 1.9rem; letter-spacing: -.02em }
main { display: grid; gap: 1.1rem }
"""
"""Colours and layout of the pages that are a grid of cards."""
_LINK_CHARS = 8_192  # of an address that is requested at most (urls.py)
_PRIVATE = '<meta name="referrer" content="no-referrer">'


def head(title: str, style: str, *, images: bool = False, private: str = _PRIVATE) -> str:
    """From the doctype to `<body>`; the title is HTML already.

    `images` allows images that are in the page, as data. `private` keeps the browser from telling
    linked sites where a visitor came from.
    """
    policy = "default-src 'none'; style-src 'unsafe-inline'" + ("; img-src data:" * images)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"{private}<title>{title}</title><style>{style}</style></head>\n<body>"
    )


def link(url: str | None, text: str, at_most: int) -> str:
    """A text of at most so many characters that leads to a web address.

    The text alone for another address, and for one that is too long to be one.
    """
    said = for_html(text, at_most)
    if url and len(url) <= _LINK_CHARS and url.lower().startswith(("http://", "https://")):
        return f'<a href="{for_html(url)}" rel="noreferrer nofollow">{said}</a>'
    return said
