"""One fetched file -> the picture that is stored: img2dataset's Resizer, and what it leaves undone.

Reads bytes, gives bytes; no files. All of img2dataset's modes, decoded and encoded by OpenCV. Where
that Resizer goes wrong the file is first made plain for it: pictures turned by EXIF are turned
(the stored file has no EXIF to say so), 16-bit samples become 8-bit (OpenCV would clip them to
white). Same bytes in, same bytes out, on any number of threads; another OpenCV may differ.

Cost: some 2-10 ms a megapixel and core; OpenCV frees the interpreter's lock meanwhile.
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
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from frenchcat.curate.config import settings
from frenchcat.curate.download.upstream import img2dataset_module
from frenchcat.curate.failures import Failure

if TYPE_CHECKING:
    import numpy as np

TOO_SMALL = "too_small"
ASPECT_RATIO = "aspect_ratio"
CUT_SHORT = "cut_short"
UNDECODABLE = "undecodable"
RESIZE_ERROR = "resize_error"
REASONS = frozenset({TOO_SMALL, ASPECT_RATIO, CUT_SHORT, UNDECODABLE, RESIZE_ERROR})
"""Why a fetched file was not stored (``failed_to_resize``); a closed set."""

_UPSTREAM = {
    "Image decoding error": UNDECODABLE,
    "image too small": TOO_SMALL,
    "aspect ratio too large": ASPECT_RATIO,
}
_PNG_KEPT = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})


@settings
class ResizeSettings:
    """img2dataset's resizing, under its names; a stored picture depends on nothing else."""

    resize_mode: Literal["no", "border", "keep_ratio", "keep_ratio_largest", "center_crop"] = (
        "keep_ratio_largest"
    )
    """keep_ratio_largest: the longer side has `image_size`; keep_ratio: the shorter one;
    center_crop: a square is cut out; border: a square with a white border; no: as it is."""
    image_size: int = Field(default=384, ge=1, le=16384)
    """The side that the mode fits (pixels)."""
    resize_only_if_bigger: bool = True
    """Whether smaller pictures keep their size."""
    upscale_interpolation: Literal["nearest", "linear", "cubic", "area", "lanczos"] = "lanczos"
    """How pictures are made larger."""
    downscale_interpolation: Literal["nearest", "linear", "cubic", "area", "lanczos"] = "area"
    """How pictures are made smaller."""
    encode_format: Literal["jpg", "png", "webp"] = "jpg"
    """The format in which pictures are stored."""
    encode_quality: int = Field(default=95, ge=0, le=100)
    """Of jpg and webp; of png the compression level, 0 to 9."""
    skip_reencode: bool = False
    """Whether a file that needs no resizing is stored byte for byte."""
    min_image_size: int = Field(default=0, ge=0)
    """Pictures whose shorter side is smaller fail as `too_small` (pixels)."""
    max_aspect_ratio: float | None = Field(default=None, ge=1)
    """Pictures whose longer side is more times the shorter one fail; none: no limit."""

    def __post_init__(self) -> None:
        if self.encode_format == "png" and self.encode_quality > 9:
            raise ValueError("encode_quality of png is a compression level, 0 to 9")


@dataclass(frozen=True, slots=True)
class StoredImage:
    """A picture as it is stored."""

    data: bytes
    width: int  # px, as stored
    height: int
    original_width: int  # px, as fetched, after turning
    original_height: int
    exif: str  # JSON object of tag -> text, as img2dataset writes it
    sha256: str  # of the bytes as fetched
    stored_sha256: str  # of `data`


class Unfit(Exception):
    """Ends one picture: `failure` has a name out of REASONS, and a detail for people."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.failure = Failure(reason, detail=detail or None)
        super().__init__(self.failure.sentence)


class ImageProcessor:
    """Makes stored pictures of fetched files; safe to call from several threads."""

    def __init__(self, resize: ResizeSettings, max_pixels: int = 100_000_000) -> None:
        """Load OpenCV and img2dataset's resizer.

        `max_pixels` backs up the fetch, which goes by the header, where this is the process's
        first use of OpenCV.
        """
        cv2, resizer = _libraries(max_pixels)
        self._cv2 = cv2
        self._resizer = resizer.Resizer(
            image_size=resize.image_size,
            resize_mode=resize.resize_mode,
            resize_only_if_bigger=resize.resize_only_if_bigger,
            upscale_interpolation=resize.upscale_interpolation,
            downscale_interpolation=resize.downscale_interpolation,
            encode_quality=resize.encode_quality,
            encode_format=resize.encode_format,
            skip_reencode=resize.skip_reencode,
            min_image_size=resize.min_image_size,
            max_aspect_ratio=resize.max_aspect_ratio or float("inf"),
        )

    def __call__(self, body: bytes, kind: str) -> StoredImage:
        """The stored picture of a fetched file of a kind of `sniff.IMAGE_KINDS`. Raises `Unfit`."""
        exif, turned = _exif(body)
        plain = self._plain(body, kind, turned)
        data, width, height, full_width, full_height, error = self._resizer(io.BytesIO(plain))
        if error is not None:
            raise self._unfit(error, body, kind)
        sha256, stored_sha256 = (hashlib.sha256(bytes_).hexdigest() for bytes_ in (body, data))
        return StoredImage(
            data, width, height, full_width, full_height, exif, sha256, stored_sha256
        )

    def _plain(self, body: bytes, kind: str, turned: bool) -> bytes:
        """The file, or a plain copy of its picture where the Resizer would get it wrong."""
        if kind == "png":
            body, depth = _plain_png(body)
            if depth == 16:
                pixels = self._decode(body, self._cv2.IMREAD_UNCHANGED)
                return self._encode((pixels // 257).astype("uint8"))
        if turned or kind in ("avif", "heic", "tiff"):
            pixels = self._decode(body, self._cv2.IMREAD_UNCHANGED)
            if turned or pixels.dtype != "uint8":
                # This flag turns and gives 8 bits, of whichever depth; no transparency then.
                return self._encode(self._decode(body, self._cv2.IMREAD_COLOR))
        return body

    def _decode(self, body: bytes, flag: int) -> np.ndarray[Any, Any]:
        import numpy as np

        try:
            pixels = self._cv2.imdecode(np.frombuffer(body, np.uint8), flag)
        except self._cv2.error as error:
            raise Unfit(UNDECODABLE, _short(str(error))) from None
        if pixels is None:
            raise Unfit(UNDECODABLE)
        return pixels  # type: ignore[no-any-return]

    def _encode(self, pixels: np.ndarray[Any, Any]) -> bytes:
        level = [self._cv2.IMWRITE_PNG_COMPRESSION, 0]
        return bytes(self._cv2.imencode(".png", pixels, level)[1].tobytes())

    def _unfit(self, error: str, body: bytes, kind: str) -> Unfit:
        reason = _UPSTREAM.get(error)
        if reason == UNDECODABLE and kind == "jpeg" and b"\xff\xd9" not in body[-4096:]:
            return Unfit(CUT_SHORT, "the jpeg has no end")
        return Unfit(reason) if reason else Unfit(RESIZE_ERROR, _short(error))


def _libraries(max_pixels: int) -> tuple[Any, Any]:
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(max_pixels))
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # its import would ask the network
    import cv2

    resizer = img2dataset_module("resizer")
    # It points the process's stdout and stderr at /dev/null around each picture, which several
    # threads cannot do at a time; OpenCV is silenced by its own switch.
    resizer.SuppressStdoutStderr = contextlib.nullcontext
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    cv2.setNumThreads(1)  # the cores are shared out by pictures
    logging.getLogger("exifread").setLevel(logging.CRITICAL)
    return cv2, resizer


def _exif(body: bytes) -> tuple[str, bool]:
    """The EXIF tags as img2dataset writes them (JSON), and whether they turn the picture."""
    import exifread  # type: ignore[import-untyped]

    try:
        tags = exifread.process_file(io.BytesIO(body), details=False)
        text = json.dumps({name: str(tag).strip() for name, tag in tags.items()})
        turn = getattr(tags.get("Image Orientation"), "values", None) or [1]
        return text, turn[0] in range(2, 9)
    except Exception:  # a broken EXIF block costs the EXIF, not the picture
        return "{}", False


def _plain_png(body: bytes) -> tuple[bytes, int]:
    """A PNG without chunks that its pixels do not need, and its bit depth. Raises `Unfit`.

    libpng writes about each odd profile or text, and about a missing end, to the process's stderr;
    this way it meets none. Chunks: ISO/IEC 15948 section 5.3.
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
            return b"".join(kept), body[24]
        position = end
    raise Unfit(CUT_SHORT, "the png has no end")


def _short(error: str) -> str:
    """OpenCV's message without its version and source path."""
    return error.split("error:")[-1].split(" in function")[0].strip().replace("\n", " ")[:120]
