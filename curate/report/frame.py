"""The frame of the pages with sections: style, links to the sections, and a footer."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files

from frenchcat.curate.html_page import head


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
