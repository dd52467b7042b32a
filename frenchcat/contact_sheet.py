"""Hits -> one self-contained HTML page of images that needs no server.

Writes one file; images are embedded as data, and nothing is fetched from elsewhere. Meant for pages
of results: a thumbnail takes about 20 kB.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from frenchcat.curate.errors import UnreadableImage
from frenchcat.curate.html_page import PALETTE, head, image_uri, link
from frenchcat.curate.licence import licence_of_row
from frenchcat.curate.outputs import write_page
from frenchcat.curate.safe_text import for_html
from frenchcat.curate.urls import host_of

if TYPE_CHECKING:
    from frenchcat.index.search import Hit

THUMBNAIL_PX = 256
CAPTION_CHARS = 1_000  # three lines are shown; the rest is there to copy

_STYLE = (
    PALETTE
    + """
header p { margin: .3rem 0 1.8rem; color: var(--dim) }
main { grid-template-columns: repeat(auto-fill, minmax(185px, 1fr)) }
figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  overflow: hidden; display: flex; flex-direction: column }
.frame { aspect-ratio: 1; position: relative; background: #fff }
.frame img { position: absolute; inset: .6rem; width: calc(100% - 1.2rem);
  height: calc(100% - 1.2rem); object-fit: contain }
figcaption { padding: .7rem .85rem .8rem; border-top: 1px solid var(--line); flex: 1;
  display: flex; flex-direction: column; gap: .35rem }
.caption { overflow-wrap: anywhere; display: -webkit-box; -webkit-line-clamp: 3;
  -webkit-box-orient: vertical; overflow: hidden }
.about { margin-top: auto; color: var(--dim); font-size: .8rem; display: flex; gap: .6rem;
  justify-content: space-between; align-items: baseline }
.about a { color: var(--accent); text-decoration: none; overflow-wrap: anywhere }
.bar { height: 3px; background: var(--line); border-radius: 2px }
.bar i { display: block; height: 100%; background: var(--accent); border-radius: 2px }
"""
)


def contact_sheet(
    hits: Sequence[Hit], query: str, path: Path, picture: Callable[[Hit], bytes]
) -> None:
    """Write the hits' images, captions and similarities as one page.

    `picture` returns a hit's stored bytes. Raises `UserError` if `path` cannot be written.
    """
    best = max((hit.similarity for hit in hits), default=1.0)
    cards = "\n".join(_card(hit, picture(hit), best) for hit in hits)
    said = f"{len(hits)} nearest" if hits else "nothing found"
    page = f"""{head(f"{for_html(query)} - frenchcat", _STYLE, images=True)}
<header><h1>{for_html(query)}</h1><p>{said}, by frenchcat</p></header>
<main>
{cards}
</main>
</body></html>
"""
    write_page(path, page, "--html")


def _card(hit: Hit, data: bytes, best: float) -> str:
    caption = for_html(hit.caption or "", CAPTION_CHARS)
    share = max(0.0, min(1.0, hit.similarity / best)) if best > 0 else 0.0
    return (
        f'<figure><div class="frame"><img alt="{caption}" src="{_data_uri(data)}"></div>'
        f'<figcaption><div class="caption">{caption}</div><div class="about">'
        f"<span>{_origin(hit)}</span><span>{hit.similarity:.3f}</span></div>"
        f'<div class="bar"><i style="width:{share:.0%}"></i></div></figcaption></figure>'
    )


def _origin(hit: Hit) -> str:
    """Creator and licence if the list has them, else the site that the image came from."""
    creator, licence = hit.columns.get("creator"), licence_of_row(hit.columns)
    named = [str(creator)] if creator else []
    named += [licence] if licence else []
    return link(hit.url, for_html(", ".join(named) or host_of(hit.url), CAPTION_CHARS))


def _data_uri(data: bytes) -> str:
    """A stored image as a small JPEG data URI; an empty one if the image is broken."""
    from frenchcat.curate.image import open_image

    try:
        image = open_image(data, at_least=(THUMBNAIL_PX * 2, THUMBNAIL_PX * 2))
    except UnreadableImage:
        return "data:,"
    image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    return image_uri(image, quality=85)
