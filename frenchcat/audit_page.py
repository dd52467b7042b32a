"""What an audit of a run found, as one page: each copy beside the image that it is a copy of.

A pure function of the audit and of a way to read training images. The page opens offline and its
content security policy forbids all requests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from frenchcat.curate.errors import FrenchcatError
from frenchcat.curate.html_page import PALETTE, head, image_uri
from frenchcat.curate.safe_text import CAPTION_CHARS, for_html

if TYPE_CHECKING:
    from PIL.Image import Image

    from frenchcat.train.audit import Copy, CopyAudit

MOST = 200
"""Copies that are shown; the others are counted."""
_PX = 192
_WORDS = {
    "cosine": "content (CLIP)",
    "pixels": "pixels",
    "prompt": "effect of the prompt",
}
_STYLE = (
    PALETTE
    + """
p { max-width: 46rem } .dim { color: var(--dim) }
main { grid-template-columns: repeat(auto-fill, minmax(420px, 1fr)) }
article { background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: .9rem; overflow-wrap: anywhere }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: .6rem }
figure { margin: 0 } figcaption { color: var(--dim); font-size: .8rem }
img { width: 100%; aspect-ratio: 1; object-fit: contain; background: #fff;
  image-rendering: pixelated }
h2 { font-size: 1rem; margin: .6rem 0 .2rem } article p { margin: .2rem 0; font-size: .85rem }
@media (max-width: 480px) { main { grid-template-columns: 1fr } }
"""
)


def page(audit: CopyAudit, run: str, image: Callable[[str], Image]) -> str:
    """The whole page; `image` gives the training image of a key."""
    name = for_html(run)
    shown = audit.copies[:MOST]
    more = len(audit.copies) - len(shown)
    cards = "\n".join(_card(one, image) for one in shown)
    rest = f'<p class="dim">And {more:,} more, in audit.json.</p>' if more > 0 else ""
    limits = audit.limits
    notes = "".join(f"<p>{for_html(note)}</p>" for note in audit.notes)
    title = f"{name}: copies among its drawings"
    return f"""{head(title, _STYLE, images=True)}
<header><h1>{name}: {len(audit.copies):,} of {audit.drawings:,} drawings are near copies</h1>
<p>{audit.prompts:,} captions that were trained on, drawn by {for_html(audit.checkpoint)} and
compared with {audit.compared:,} training images. A drawing is called a copy where a signal exceeds
what {limits.controls:,} drawings of untrained captions reach; of such drawings,
{limits.false_alarms:.1%} are expected to be called copies.</p>
<p>{for_html(audit.stamps.line())}.</p>
<p class="dim">{for_html(audit.said)}.</p>{notes}</header>
<main>{cards}</main>{rest}
</body></html>
"""


def _card(copy: Copy, image: Callable[[str], Image]) -> str:
    drawn = "" if copy.drawing is None else _img(copy.drawing, "the drawing")
    try:
        trained = _img(image(copy.key), f"the training image {copy.key}")
    except (FrenchcatError, OSError):
        trained = '<p class="dim">it is no longer in the dataset</p>'
    why = ", ".join(_WORDS[name] for name in copy.exceeded)
    about = " · ".join(
        for_html(text, CAPTION_CHARS)
        for text in (copy.creator, copy.licence, copy.url)
        if text is not None
    )
    return f"""<article><div class="pair">
<figure>{drawn}<figcaption>drawn, seed {copy.seed}</figcaption></figure>
<figure>{trained}<figcaption>trained on: {for_html(copy.key)}</figcaption></figure></div>
<h2>{for_html(copy.prompt, CAPTION_CHARS)}</h2>
<p>above the limit: {why}; cosine {copy.similarity:.3f}, pixels differ by {copy.difference:.1f}</p>
<p class="dim">{about}</p></article>"""


def _img(picture: Image, alt: str) -> str:
    small = picture.convert("RGB")
    small.thumbnail((_PX, _PX))
    return f'<img alt="{for_html(alt)}" src="{image_uri(small, "PNG")}">'
