"""One fetched file -> the stored image: img2dataset's Resizer, and what it does not do.

Reads bytes, returns bytes; no files. All of img2dataset's modes, decoded and encoded by OpenCV. A
JPEG that is much larger than it is stored is shrunk while it is decoded (`shrunk_jpeg`). Of others
the Resizer gets plain files (`is_plain`) as they are and every other file as `open_image` opens it:
upright, on white, 8 bits, in sRGB. The same bytes give the same image on any number of threads;
another version of OpenCV or Pillow may differ. Cost: some 2-10 ms per megapixel and core; OpenCV
releases the interpreter's lock meanwhile.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import os
import struct
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from frenchcat.curate.config import settings
from frenchcat.curate.download.upstream import img2dataset_module
from frenchcat.curate.errors import UnreadableImage
from frenchcat.curate.failures import Failure
from frenchcat.curate.image import is_plain, open_image
from frenchcat.curate.image.shrunk import ShrunkImage, shrunk_jpeg

DECODE_MARGIN = 4.0
TOO_SMALL = "too_small"
ASPECT_RATIO = "aspect_ratio"
CUT_SHORT = "cut_short"
UNDECODABLE = "undecodable"
RESIZE_ERROR = "resize_error"
REASONS = frozenset({TOO_SMALL, ASPECT_RATIO, CUT_SHORT, UNDECODABLE, RESIZE_ERROR})
"""Why a fetched file was not stored (``failed_to_resize``); a closed set."""

_UNDECODED = "Image decoding error"
_UPSTREAM = {
    _UNDECODED: UNDECODABLE,
    "image too small": TOO_SMALL,
    "aspect ratio too large": ASPECT_RATIO,
}
_PNG_KEPT = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})


@settings
class ResizeSettings:
    """img2dataset's resizing, with its names; a stored image depends on nothing else."""

    resize_mode: Literal["no", "border", "keep_ratio", "keep_ratio_largest", "center_crop"] = (
        "keep_ratio_largest"
    )
    """keep_ratio_largest: the longer side has `image_size`; keep_ratio: the shorter one;
    center_crop: a square is cut out; border: a square with a white border; no: as it is."""
    image_size: int = Field(default=384, ge=1, le=16384)
    """The side that the mode fits (pixels)."""
    resize_only_if_bigger: bool = True
    """Whether smaller images keep their size."""
    upscale_interpolation: Literal["nearest", "linear", "cubic", "area", "lanczos"] = "lanczos"
    """The interpolation for enlarging."""
    downscale_interpolation: Literal["nearest", "linear", "cubic", "area", "lanczos"] = "area"
    """The interpolation for reducing."""
    encode_format: Literal["jpg", "png", "webp"] = "jpg"
    """The format in which images are stored."""
    encode_quality: int = Field(default=95, ge=0, le=100)
    """For jpg and webp: the quality; for png the compression level, 0 to 9."""
    skip_reencode: bool = False
    """Whether a file that needs no resizing is stored byte for byte."""
    min_image_size: int = Field(default=0, ge=0)
    """Images whose shorter side is smaller fail as `too_small` (pixels)."""
    max_aspect_ratio: float | None = Field(default=None, ge=1)
    """Images fail if their longer side exceeds the shorter one by this factor; none: no limit."""

    def __post_init__(self) -> None:
        if self.encode_format == "png" and self.encode_quality > 9:
            raise ValueError("encode_quality of png is a compression level, 0 to 9")

    def shrunk_size(self, width: int, height: int) -> tuple[int, int] | None:
        """The width and height in pixels to which the Resizer shrinks an image, before it cuts or
        pads; None where it does not shrink it, or refuses it.
        """
        of = {"keep_ratio": min, "center_crop": min, "border": max, "keep_ratio_largest": max}
        side, shorter = of.get(self.resize_mode), min(width, height)
        if side is None or shorter < self.min_image_size:
            return None
        if max(width, height) / shorter > (self.max_aspect_ratio or float("inf")):
            return None
        scale = self.image_size / side(width, height)
        if scale >= 1:
            return None
        return max(1, round(width * scale)), max(1, round(height * scale))


@dataclass(frozen=True, slots=True)
class StoredImage:
    """A stored image."""

    data: bytes
    width: int  # px, as stored
    height: int
    original_width: int  # px, as fetched, after turning
    original_height: int
    exif: str  # JSON object of tag -> text, as img2dataset writes it
    sha256: str  # of the bytes as fetched
    stored_sha256: str  # of `data`
    original_bytes: int  # as fetched


class Unfit(Exception):
    """Fails one image: `failure` is a name from REASONS, with a detail for people."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.failure = Failure(reason, detail=detail or None)
        super().__init__(self.failure.sentence)


class ImageProcessor:
    """Makes stored images from fetched files; safe to call from several threads."""

    def __init__(
        self,
        resize: ResizeSettings,
        max_pixels: int = 100_000_000,
        decode_margin: float | None = DECODE_MARGIN,
    ) -> None:
        """Load OpenCV and img2dataset's resizer.

        A JPEG is decoded smaller if it is still `decode_margin` times as large as it is stored.
        `max_pixels` backs up the fetch's limit, which goes by the header, if this is the process's
        first use of OpenCV.
        """
        cv2, resizer = _libraries(max_pixels)
        self._cv2, self._max_pixels = cv2, max_pixels
        averaged = resize.downscale_interpolation == "area"  # others pick single pixels
        self._resize, self._margin = resize, decode_margin if averaged else None
        how = {
            "image_size": resize.image_size,
            "resize_mode": resize.resize_mode,
            "upscale_interpolation": resize.upscale_interpolation,
            "downscale_interpolation": resize.downscale_interpolation,
            "encode_quality": resize.encode_quality,
            "encode_format": resize.encode_format,
        }
        self._resizer = resizer.Resizer(
            **how,
            resize_only_if_bigger=resize.resize_only_if_bigger,
            skip_reencode=resize.skip_reencode,
            min_image_size=resize.min_image_size,
            max_aspect_ratio=resize.max_aspect_ratio or float("inf"),
        )
        # Of a shrunk image it only cuts, pads and encodes: an image of `image_size` stays so.
        self._finish = resizer.Resizer(**how, resize_only_if_bigger=False)

    def __call__(self, body: bytes, kind: str) -> StoredImage:
        """The stored image of a fetched file with a kind from `sniff.IMAGE_KINDS`. Raises
        `Unfit`.
        """
        exif = _exif(body)
        full_size, resizer = None, self._resizer
        plain = _plain_png(body) if kind == "png" else body
        if (shrunk := self._shrunk(body, kind)) is not None:
            plain, resizer = self._bmp(shrunk.pixels), self._finish
            full_size = (shrunk.original_width, shrunk.original_height)
        elif not is_plain(body):
            plain = self._bitmap(body, kind)
        data, width, height, full_width, full_height, error = resizer(io.BytesIO(plain))
        if error is not None:
            raise self._unfit(error, body, kind)
        full_width, full_height = full_size or (full_width, full_height)
        sha256, stored_sha256 = (hashlib.sha256(bytes_).hexdigest() for bytes_ in (body, data))
        sizes = (width, height, full_width, full_height)
        return StoredImage(data, *sizes, exif, sha256, stored_sha256, len(body))

    def _shrunk(self, body: bytes, kind: str) -> ShrunkImage | None:
        """A JPEG that is shrunk while it is decoded; None for what has to be decoded whole."""
        if kind != "jpeg" or self._margin is None:
            return None
        return shrunk_jpeg(body, self._resize.shrunk_size, self._margin, self._max_pixels)

    def _bmp(self, pixels: NDArray[np.uint8]) -> bytes:
        """(H, W, 3) RGB or (H, W) grey, in a form that the Resizer decodes fast and exactly."""
        ordered = pixels[..., ::-1] if pixels.ndim == 3 else pixels
        return bytes(self._cv2.imencode(".bmp", ordered)[1].tobytes())

    def _bitmap(self, body: bytes, kind: str) -> bytes:
        """The file as every stage sees it, in a form that the Resizer cannot misread."""
        try:
            pixels = np.asarray(open_image(body, max_pixels=self._max_pixels))
        except UnreadableImage as error:
            raise self._unfit(_UNDECODED, body, kind, error.reason) from None
        return self._bmp(pixels)

    def _unfit(self, error: str, body: bytes, kind: str, detail: str = "") -> Unfit:
        reason = _UPSTREAM.get(error)
        if reason == UNDECODABLE and kind == "jpeg" and b"\xff\xd9" not in body[-4096:]:
            return Unfit(CUT_SHORT, "the jpeg has no end")
        return Unfit(reason, detail) if reason else Unfit(RESIZE_ERROR, _short(error))


def _libraries(max_pixels: int) -> tuple[Any, Any]:
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(max_pixels))
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # its import would access the network
    import cv2

    resizer = img2dataset_module("resizer")
    # It points the process's stdout and stderr at /dev/null around each picture, which several
    # threads cannot do at a time; OpenCV is silenced by its own switch.
    resizer.SuppressStdoutStderr = contextlib.nullcontext
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    cv2.setNumThreads(1)  # the cores are shared out by pictures
    logging.getLogger("exifread").setLevel(logging.CRITICAL)
    return cv2, resizer


def _exif(body: bytes) -> str:
    """The EXIF tags as img2dataset writes them: JSON."""
    import exifread  # type: ignore[import-untyped]

    try:
        tags = exifread.process_file(io.BytesIO(body), details=False)
        return json.dumps({name: str(tag).strip() for name, tag in tags.items()})
    except Exception:  # a broken EXIF block costs the EXIF, not the image
        return "{}"


def _plain_png(body: bytes) -> bytes:
    """A PNG without chunks that its pixels do not need. Raises `Unfit`.

    libpng prints about each odd profile or text, and about a missing end, on the process's stderr;
    this avoids it. Chunks: ISO/IEC 15948 section 5.3.
    """
    kept, position = [body[:8]], 8
    while position + 12 <= len(body):
        length, name = struct.unpack_from(">I4s", body, position)
        end = position + 12 + length
        if end > len(body):
            break
        if name in _PNG_KEPT:
            kept.append(body[position:end])
        if name == b"IEND":
            return b"".join(kept)
        position = end
    raise Unfit(CUT_SHORT, "the png has no end")


def _short(error: str) -> str:
    """OpenCV's message without its version and source path."""
    return error.split("error:")[-1].split(" in function")[0].strip().replace("\n", " ")[:120]
