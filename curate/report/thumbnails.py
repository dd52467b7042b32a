"""Stored images as small JPEGs in the page itself, within a budget of bytes and of tars.

Reads the shards' tars, a member at a time, and writes nothing. A tar's headers are read once, and
of at most MAX_TARS tars, since an image may lie in any; a remote tar is fetched whole, so fewer
there. What the budget does not hold, or what cannot be decoded, is said in its place.
"""

from __future__ import annotations

from collections.abc import Iterable

from frenchcat.curate import files, tars
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UnreadableImage, UserError
from frenchcat.curate.html_page import image_uri
from frenchcat.curate.report.examples import ExampleImage
from frenchcat.curate.safe_text import for_html

PX = 144
MAX_TARS = 80
MAX_REMOTE_TARS = 4
_QUALITY = 78
_LEFT_OUT = "not shown: the page is full"


class ReportThumbnails:
    """Figures of images. Call `load` with all of them first: each tar is opened once."""

    def __init__(self, dataset: Dataset, budget_bytes: int, blur_above: float) -> None:
        self._dataset = dataset
        self._left = budget_bytes
        self._blur_above = blur_above
        self._data: dict[str, str] = {}  # key -> data URI, or why there is none

    def load(self, pictures: Iterable[ExampleImage]) -> None:
        """Read and scale images, in the order in which the budget should go to them."""
        wanted = list({picture.key: picture for picture in pictures}.values())
        shards: dict[str, list[str]] = {}
        for picture in wanted:
            shards.setdefault(picture.shard, []).append(picture.key)
        most = MAX_TARS if self._dataset.local else MAX_REMOTE_TARS
        for shard in list(shards)[:most]:
            self._data |= self._read(shard, set(shards[shard]))

    def figure(self, picture: ExampleImage, note: str = "", kind: str = "") -> str:
        """An image with its caption; blurred until clicked on where it may be unsafe."""
        caption = for_html(picture.caption)
        said = f"{for_html(note)} {caption}".strip()
        unsafe = picture.punsafe is not None and picture.punsafe > self._blur_above
        image = self._image(picture, "" if unsafe else caption)
        if unsafe and image.startswith("<img"):
            box = (
                f'<input type="checkbox" aria-label="Show an image that may be unsafe: {caption}">'
            )
            frame = f'<label class="frame veil">{box}{image}<span>unsafe? show</span></label>'
        else:
            frame = f'<div class="frame">{image}</div>'
        classes = f' class="{kind}"' if kind else ""
        return (
            f'<figure{classes} title="{for_html(picture.key)}: {caption}">{frame}'
            f"<figcaption>{said}</figcaption></figure>"
        )

    def _image(self, picture: ExampleImage, caption: str) -> str:
        found = self._data.get(picture.key, _LEFT_OUT)
        if found.startswith("data:"):
            if len(found) <= self._left:
                self._left -= len(found)
                return f'<img loading="lazy" alt="{caption}" src="{found}">'
            found = _LEFT_OUT
        return f'<div class="none">{for_html(found)}</div>'

    def _read(self, shard: str, keys: set[str]) -> dict[str, str]:
        found = dict.fromkeys(keys, "not stored")
        try:
            with self._dataset.as_local(files.TAR.of(shard)) as path:
                for key, member in tars.image_members(path).items():
                    if key in keys:
                        found[key] = _data_uri(tars.read(path, member))
        except UserError:
            return dict.fromkeys(keys, "its tar cannot be read")
        return found


def _data_uri(data: bytes) -> str:
    """A stored image as a small JPEG; why not where it is broken."""
    from frenchcat.curate.image import open_image

    try:
        image = open_image(data, at_least=(PX * 2, PX * 2))
    except UnreadableImage:
        return "cannot be decoded"
    image.thumbnail((PX, PX))
    return image_uri(image, quality=_QUALITY, optimize=True)
