"""One image file -> what a tar holds of it: the same bytes wherever readers of tars take them.

Reads bytes, writes nothing. JPEG, PNG and WebP are kept byte for byte. Other formats, which
browsers, trainers or the tar convention do not take, become PNG: the first frame, upright, on
white, 8 bits. Cost: a header for those kept, a decode for the others.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

from frenchcat.curate.download.pictures import UNDECODABLE
from frenchcat.curate.errors import UnreadableImage
from frenchcat.curate.failures import Failure
from frenchcat.curate.image import open_image, upright_size
from frenchcat.curate.image.sniff import IMAGE_KINDS, sniff
from frenchcat.curate.reasons import FailureReason

ENDINGS = {"jpeg": "jpg", "png": "png", "webp": "webp"}
"""Kind -> extension in the tar, of the formats that are kept byte for byte."""
IMAGE_ENDINGS = frozenset(
    "jpg jpeg jpe jfif png webp gif bmp tif tiff avif heic heif jxl jp2 j2k".split()
)
"""Extensions of image files, in lower case."""


class NotKept(Exception):
    """A file that is not an image, or cannot be read as one; `failure` says why."""

    def __init__(self, reason: str, detail: str) -> None:
        self.failure = Failure(reason, detail=detail)
        super().__init__(self.failure.sentence)


@dataclass(frozen=True, slots=True)
class KeptImage:
    """An image as the tar has it."""

    data: bytes
    extension: str
    width: int  # px, as it is looked at: after turning by its orientation
    height: int
    sha256: str  # of the file as it was
    converted: bool  # whether `data` is not the file's bytes


def kept(data: bytes) -> KeptImage:
    """An image file for the tar. Raises `NotKept`."""
    kind = sniff(data)
    if not data:
        raise NotKept(FailureReason.NOT_AN_IMAGE, "the file is empty")
    if kind not in IMAGE_KINDS:
        raise NotKept(FailureReason.NOT_AN_IMAGE, kind)
    digest = hashlib.sha256(data).hexdigest()
    try:
        if kind in ENDINGS:
            return KeptImage(data, ENDINGS[kind], *upright_size(data), digest, converted=False)
        plain = open_image(data)
    except UnreadableImage as error:
        raise NotKept(UNDECODABLE, error.reason) from None
    out = io.BytesIO()
    plain.save(out, "PNG")
    return KeptImage(out.getvalue(), "png", plain.width, plain.height, digest, converted=True)
