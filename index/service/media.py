"""/v1: images and thumbnails, straight from the tars by offset: no URL needs to be alive.

A tar may be rewritten meanwhile (`frenchcat compact`), so the member's header before the bytes is
read, too: if it names another row, the key is looked up in the tar again. Removed rows are never
answered. Browsers revalidate answers by their digest after a minute, so that a removal shows there,
too.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from frenchcat.curate import files, tars
from frenchcat.curate.errors import UnreadableImage
from frenchcat.curate.image import open_image
from frenchcat.index.service.pixels import PIXELS, PixelBudget
from frenchcat.index.service.problems import Refused, documented
from frenchcat.index.service.ranges import answer_bytes

if TYPE_CHECKING:
    from frenchcat.index.search import Hit
    from frenchcat.index.service.served_dataset import ServedDataset

TYPES = {"jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
HEADER = 512  # bytes of a tar member's header
MAX_AGE_SEC = 60
KEPT_BYTES = 64 * 2**20  # of thumbnails
_HEADERS = {
    "Cache-Control": f"private, max-age={MAX_AGE_SEC}",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}

router = APIRouter(prefix="/v1", tags=["pictures"])
Size = Annotated[int, Query(ge=16, le=1024, description="Longest side, pixels.")]
CONTENT: dict[int | str, dict[str, Any]] = {
    200: {"content": {kind: {} for kind in sorted(set(TYPES.values()))}},
    206: {"description": "The part that Range names."},
    304: {"description": "Not changed."},
    416: {"description": "Range begins beyond the end."},
}


@router.get(
    "/pictures/{dataset}/{key}",
    response_class=Response,
    responses={**documented(404), **CONTENT},
)
async def picture(request: Request, dataset: str, key: str) -> Response:
    """The stored image of a row."""
    service = request.app.state.service
    served = service.registry.get(dataset)
    data, kind = await service.work.disk(stored, served, key)
    return answer_bytes(request, data, kind, _HEADERS)


@router.get(
    "/thumbnails/{dataset}/{key}",
    response_class=Response,
    responses={
        **documented(404),
        200: {"content": {"image/jpeg": {}}},
        **{status: CONTENT[status] for status in (206, 304, 416)},
    },
)
async def thumbnail(
    request: Request,
    dataset: str,
    key: str,
    size: Size = 256,
) -> Response:
    """A small JPEG of a row's image."""
    service = request.app.state.service
    served = service.registry.get(dataset)
    data = await service.work.disk(service.thumbnails.get, served, key, size)
    return answer_bytes(request, data, "image/jpeg", _HEADERS)


def stored(served: ServedDataset, key: str) -> tuple[bytes, str]:
    """A row's image as it is stored, and its media type. Raises `Refused` (404)."""
    hit = served.row(key)
    return read(served, hit), TYPES.get(hit.extension, "application/octet-stream")


def read(served: ServedDataset, hit: Hit) -> bytes:
    """The bytes of a hit's image."""
    if not hit.size:
        raise Refused(404, f"{served.name} has only addresses, no stored images")
    relative = files.TAR.of(hit.shard)
    name = f"{hit.key}.{hit.extension}"
    header, data = _block(served, relative, hit.offset, hit.size)
    if len(data) == hit.size and header.split(b"\0", 1)[0] == name.encode()[:100]:
        return data
    with served.dataset.as_local(relative) as path:
        if (member := tars.image_members(path).get(hit.key)) is not None:
            return _block(served, relative, member.offset, member.size)[1]
    raise Refused(404, f"{served.name} no longer has an image of {hit.key!r}")


def _block(served: ServedDataset, relative: str, offset: int, size: int) -> tuple[bytes, bytes]:
    """The header before a member's bytes, and the bytes."""
    dataset = served.dataset
    start = max(0, offset - HEADER)
    if dataset.local:
        with open(dataset.path(relative), "rb") as tar:
            tar.seek(start)
            whole = tar.read(HEADER + size)
    else:
        whole = bytes(dataset.fs.read_block(dataset.path(relative), start, HEADER + size))
    return whole[:HEADER], whole[HEADER:]


class ThumbnailCache:
    """Small images, with a cache of recent ones. Used from several threads."""

    def __init__(self, kept_bytes: int = KEPT_BYTES, pixels: PixelBudget | None = None) -> None:
        self.pixels = pixels or PixelBudget(PIXELS)
        self._limit, self._bytes, self._lock = kept_bytes, 0, Lock()
        self._kept: OrderedDict[tuple[str, str, str, int], bytes] = OrderedDict()

    def get(self, served: ServedDataset, key: str, size: int) -> bytes:
        """A JPEG whose longer side is at most `size` pixels."""
        served.position(key)  # a removed row has none, whatever is cached
        name = (served.name, served.version, key, size)
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
                return self._kept[name]
        data = stored(served, key)[0]
        with self.pixels.holding(data):
            made = shrunk(data, size)
        with self._lock:
            self._bytes += len(made) - len(self._kept.pop(name, b""))
            self._kept[name] = made
            while self._bytes > self._limit:
                self._bytes -= len(self._kept.popitem(last=False)[1])
        return made


def shrunk(data: bytes, size: int) -> bytes:
    """An image file -> a JPEG of at most `size` x `size` pixels."""
    try:
        small = open_image(data, at_least=(size, size))
    except UnreadableImage as error:
        raise Refused(404, f"the stored image cannot be decoded ({error.reason})") from None
    small.thumbnail((size, size))
    out = io.BytesIO()
    small.save(out, "JPEG", quality=82)
    return out.getvalue()
