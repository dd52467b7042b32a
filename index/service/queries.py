"""Texts, images, addresses, vectors, rows and weighted sums of them -> one unit vector.

Images are decoded in threads and encoded in the model's own; the event loop only waits.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from frenchcat.curate.errors import UserError
from frenchcat.curate.image import open_image
from frenchcat.index.service.media import stored
from frenchcat.index.service.models.fields import RowName
from frenchcat.index.service.models.query import QueryPart
from frenchcat.index.service.models.search import Search
from frenchcat.index.service.models.vectors import Embed
from frenchcat.index.service.problems import Refused
from frenchcat.index.terms import Unit, summed, unit, worded

if TYPE_CHECKING:
    from PIL.Image import Image

    from frenchcat.index.service.content_policy import ContentPolicy
    from frenchcat.index.service.pixels import PixelBudget
    from frenchcat.index.service.remote import Remote
    from frenchcat.index.service.served_dataset import ServedDataset
    from frenchcat.index.service.work import Work

NARROWEST = 50
"""A query image's longer side divided by its shorter one; models resize the shorter side to a fixed
size, so a line of pixels would become huge.
"""


class Queries:
    """Encodes queries for one application."""

    def __init__(
        self,
        work: Work,
        remote: Remote,
        content_policy: ContentPolicy,
        pixels: PixelBudget,
        dataset: Callable[[str], ServedDataset],
    ) -> None:
        """`dataset` returns one by its name, or raises `Refused` (404)."""
        self._work, self._remote, self._content_policy = work, remote, content_policy
        self._pixels, self._dataset = pixels, dataset

    async def search(self, served: ServedDataset, asked: Search | Embed) -> Unit:
        """The vector of a search. Raises `UserError` for an invalid part."""
        if asked.terms is None:
            return await self.part(served, asked)
        vectors = await asyncio.gather(*(self.part(served, term) for term in asked.terms))
        return summed(vectors, [term.weight for term in asked.terms])

    async def part(self, served: ServedDataset, part: QueryPart) -> Unit:
        """The vector of one part."""
        if part.text is not None:
            return await self.text(served, part.text)
        if part.picture is not None:
            return await self.picture(served, from_base64(part.picture))
        if part.picture_url is not None:
            return await self.address(served, part.picture_url)
        if part.like is not None:
            return await self.row(served, part.like)
        return vector(part.vector, served)

    async def row(self, served: ServedDataset, like: str | RowName) -> Unit:
        """The vector of a row's image, of this dataset or of another one.

        Between datasets of two models the stored image is encoded anew.
        """
        if isinstance(like, str):
            return await self._work.disk(served.vector_of, like)
        other = self._dataset(like.dataset)
        if other.weights == served.weights:
            return await self._work.disk(other.vector_of, like.key)
        data, _ = await self._work.disk(stored, other, like.key)
        return await self.picture(served, data)

    async def text(self, served: ServedDataset, text: str) -> Unit:
        """The vector of a text."""
        if self._content_policy.refuses(text):
            raise Refused(403, "this service does not answer that query")
        return await served.encoder.text(worded(text))

    async def picture(self, served: ServedDataset, data: bytes) -> Unit:
        """The vector of an image file."""
        async with self._pixels.held(data):
            return await served.encoder.picture(await self._work.decode(_decoded, data))

    async def address(self, served: ServedDataset, address: str) -> Unit:
        """The vector of an image at an address."""
        return await self.picture(served, await self._remote.picture(address))


def vector(numbers: Sequence[float] | None, served: ServedDataset) -> Unit:
    """A query's numbers as a unit vector. Raises `UserError` for other than D finite ones."""
    return unit(numbers, served.dimension)


def from_base64(text: str) -> bytes:
    """The bytes, with or without the `data:image/jpeg;base64,` before them."""
    try:
        return base64.b64decode(text.rpartition(",")[2].strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise UserError(f"the image is not base64 ({error}); encode the file's bytes") from None


def _decoded(data: bytes) -> Image:
    if not data:
        raise UserError("the image is empty; send the bytes of a jpg, png or webp")
    try:
        picture = open_image(data)
    except MemoryError:
        raise Refused(413, "the image is too large to decode; send a smaller one") from None
    short, long = sorted(picture.size)
    if long > NARROWEST * short:
        raise UserError(
            f"the image is {picture.width} x {picture.height}; send one whose sides differ by "
            f"at most a factor of {NARROWEST}"
        )
    return picture
