"""A foreign tar, read once: its samples, captions from JSON, and what must be left out.

Reads the headers, and as little data as possible: captions in JSON and, for aspect buckets, every
image, whose header gives its size. Writes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import IO, Any

from frenchcat.curate.errors import UnreadableImage, UserError
from frenchcat.curate.tars import Member
from frenchcat.train.caption_columns import CaptionColumns
from frenchcat.train.tar_index import scan
from frenchcat.train.tar_samples import (
    CAPTION_FIELDS,
    CAPTION_KEYS,
    IMAGE_FIELDS,
    LeftOutMember,
    TarSample,
    name_of,
    samples_of,
)
from frenchcat.train.tar_stamps import TarStamp, contents_of, seen_of


@dataclass(frozen=True)
class TarContents:
    """The trainable contents of a tar."""

    samples: list[TarSample]
    captions: list[str | None]  # of each sample; None: the text is in the tar as it is
    aspects: list[float]  # width/height of each sample's image; empty if not requested
    left: list[LeftOutMember]
    fields: list[str]  # the endings of all members, in lower case
    stamp: TarStamp


def read_tar(
    path: str,
    *,
    sized: bool = False,
    caption: str | None = None,
    captions: CaptionColumns | None = None,
) -> TarContents:
    """Read a tar; `sized` returns aspects; `caption` is the JSON key that contains the caption, or
    `captions` several.

    Raises `UserError` for files that cannot be opened, are compressed or are not tars.
    """
    try:
        with _opened(path) as file:
            keys: tuple[str, ...] = (caption,) if caption else CAPTION_KEYS
            keys = captions.names if captions is not None else keys
            fields = ("json",) if caption or captions else CAPTION_FIELDS
            return _read(file, path, sized, keys, fields, captions)
    except (OSError, ValueError, ImportError) as error:
        raise UserError(f"{path} cannot be read ({error}); restore it, or leave it out") from None


def _opened(path: str) -> AbstractContextManager[IO[bytes]]:
    """A local file by its name, whatever is in it; else an fsspec address."""
    if "://" not in path:
        return open(path, "rb")
    import fsspec

    found: AbstractContextManager[IO[bytes]] = fsspec.open(path, "rb")
    return found


def stamp_of(path: str) -> TarStamp:
    """Stamps of the tar's present state. Raises `UserError` for a file that is not a tar."""
    with _opened(path) as file:
        return TarStamp(seen_of(path), contents_of(file, scan(file, path)[0]))


def was_rewritten(path: str, stamp: TarStamp) -> bool:
    """Whether a tar's members differ from when it was stamped, in number or in the bytes of sound
    ones.

    Members that are damaged in place do not count: reading names them, one by one. Raises
    `UserError` if it is no longer a tar.
    """
    with _opened(path) as file:
        members = scan(file, path)[0]
        now = contents_of(file, members)
        if now == stamp.contents:
            return False
        same_places = now.partition(" ")[0] == str(stamp.contents).partition(" ")[0]
        return not (same_places and any(_is_damaged(file, one) for one in members))


def holds_all(path: str, places: set[tuple[int, int]]) -> bool:
    """Whether each (offset, size) is that of a member."""
    with _opened(path) as file:
        return places <= {(member.offset, member.size) for member in scan(file, path)[0]}


def _is_damaged(file: IO[bytes], member: Member) -> bool:
    """An image that cannot be read, or a caption without a letter."""
    from frenchcat.curate.image import upright_size

    file.seek(member.offset)
    kind = member.extension.lower().rpartition(".")[2]
    if kind in IMAGE_FIELDS:
        try:
            upright_size(file.read(member.size))
        except UnreadableImage:
            return True
    return kind in CAPTION_FIELDS and not file.read(member.size).strip(b"\0 \t\r\n")


def _read(
    file: IO[bytes],
    path: str,
    sized: bool,
    keys: Sequence[str],
    fields: Sequence[str],
    several: CaptionColumns | None,
) -> TarContents:
    members, damages = scan(file, path)
    stamp = TarStamp(seen_of(path), contents_of(file, members))
    found, left = samples_of(members, fields)
    left += [
        LeftOutMember(f"byte {one.offset}", "damaged", f"is damaged: {one.reason}")
        for one in damages
    ]
    samples: list[TarSample] = []
    captions: list[str | None] = []
    for sample, text in _captioned(file, found, keys, left, several):
        samples.append(sample)
        captions.append(text)
    aspects = [_aspect(file, sample, left) for sample in samples] if sized else []
    endings = [member.extension.lower() for member in members]
    return TarContents(samples, captions, aspects, left, endings, stamp)


def _captioned(
    file: IO[bytes],
    samples: Sequence[TarSample],
    keys: Sequence[str],
    left: list[LeftOutMember],
    several: CaptionColumns | None,
) -> Iterator[tuple[TarSample, str | None]]:
    """The samples that have a caption, including those whose caption is in JSON."""
    for sample in samples:
        if not sample.caption.extension.lower().endswith("json"):
            yield sample, None
            continue
        file.seek(sample.caption.offset)
        try:
            about: Any = json.loads(file.read(sample.caption.size))
        except (ValueError, RecursionError):
            left.append(LeftOutMember(name_of(sample.caption), "no_caption", "is not JSON"))
            continue
        about = about if isinstance(about, dict) else {}
        texts = [_first_text(about.get(key)) for key in keys]
        text = next((text for text in texts if text is not None), None)
        if several is not None:
            text = several.joined(texts)
        if text is None:
            said = (
                f"has no text under {', '.join(keys)}; its keys: {', '.join(map(str, about))[:120]}"
            )
            left.append(LeftOutMember(name_of(sample.caption), "no_caption", said))
            continue
        of_key = next((about[key] for key in keys if _first_text(about.get(key)) is not None), "")
        if several is None and isinstance(of_key, list) and len(of_key) > 1:
            said = f"has {len(of_key)} captions, of which the first is trained on"
            left.append(LeftOutMember(name_of(sample.caption), "further_captions", said))
        yield sample, text.encode("utf-8", "replace").decode()


def _first_text(value: Any) -> str | None:
    """A text, or the first of a list of texts; None for anything else."""
    if isinstance(value, list):
        value = next((one for one in value if isinstance(one, str) and one.strip()), None)
    return value if isinstance(value, str) else None


def _aspect(file: IO[bytes], sample: TarSample, left: list[LeftOutMember]) -> float:
    """Width/height of an image as it will be seen; square if that is unknown."""
    from frenchcat.curate.image import upright_size

    file.seek(sample.picture.offset)
    try:
        width, height = upright_size(file.read(sample.picture.size))
    except UnreadableImage as error:
        said = f"has no readable size ({error.reason}) and is treated as a square"
        left.append(LeftOutMember(name_of(sample.picture), "no_size", said))
        return 1.0
    return width / height
