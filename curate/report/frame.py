"""The frame of the pages with sections: head, policy, style, links to the sections, and a footer.

A page asks for nothing: style and pictures are in it, and its content security policy forbids
everything else, scripts included, should a text ever slip through the escaping.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


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
    shared = files("frenchcat.curate.report").joinpath("style.css").read_text(encoding="utf-8")
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{shared}{style}</style></head>
<body>
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
