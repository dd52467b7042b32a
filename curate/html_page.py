"""What every HTML page has that frenchcat writes: a head, and for pages with sections their frame.

Style and images are in the page: it asks for nothing. Its content security policy forbids
everything else, scripts included, should a text ever slip through the escaping.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from frenchcat.curate.safe_text import for_html

if TYPE_CHECKING:
    from PIL.Image import Image

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


def link(url: str | None, text: str) -> str:
    """A text, HTML already, that leads to a web address; the text alone for what is not one,
    and for what is too long to be one.
    """
    address = (url or "").strip()
    is_web = address.lower().startswith(("http://", "https://"))
    if not is_web or len(address) > _LINK_CHARS:
        return text
    return f'<a href="{for_html(address)}" rel="noreferrer nofollow">{text}</a>'


def image_uri(image: Image, kind: str = "JPEG", **how: Any) -> str:
    """An image as a data URI, the only kind that a page shows; `how` goes to Pillow."""
    out = io.BytesIO()
    image.save(out, kind, **how)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(out.getvalue()).decode()}"


def framed(
    title: str,
    heading: str,
    lead: str,
    facts: str,
    sections: Iterable[tuple[str, str, str, str]],
    footer: str,
    style: str = "",
) -> str:
    """The whole page; texts are HTML already.

    `sections` are (anchor, short name for the links, title, body); `style` is added to that of all
    pages.
    """
    sections = list(sections)
    parts = "\n".join(
        f'<section id="{anchor}" aria-labelledby="h-{anchor}"><h2 id="h-{anchor}">{named}</h2>'
        f"{body}</section>"
        for anchor, _, named, body in sections
    )
    links = "".join(f'<li><a href="#{anchor}">{short}</a></li>' for anchor, short, *_ in sections)
    shared = files("frenchcat.curate").joinpath("sections.css").read_text(encoding="utf-8")
    return f"""{head(title, shared + style, images=True)}
<header><h1>{heading}</h1>
<p class="dim" style="margin:.3rem 0 0">{lead}</p>
{facts}</header>
<nav aria-label="Sections"><ul>{links}</ul></nav>
<main>
{parts}
</main>
<footer>{footer}</footer>
</body></html>
"""


def fact_list(facts: Iterable[tuple[str, str]], model: str) -> str:
    """Names and figures below the heading, and whose vectors they rest on; `model` may be ""."""
    items = "".join(f"<div><dt>{name}</dt><dd>{figure}</dd></div>" for name, figure in facts)
    said = f'<p class="dim small">Vectors by {model}.</p>' if model else ""
    return f'<dl class="facts">{items}</dl>{said}'
