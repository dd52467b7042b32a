"""Which members of a foreign tar make up a sample, by webdataset's own rule.

Members in a row whose names agree up to the base name's first dot are one sample; what follows the
dot, in lower case, is the field's name (`tariterators.group_by_keys`). Two additions, so that no
image is lost silently: parts of one sample that lie apart in a tar are put together where
none of them is whole, and a field's name may have a stem of its own, so that `22.05.png` goes with
`22.05.txt`. Everything that is not trained on is named, with its reason.

Pure functions of a tar's members; nothing is read. Cost: linear in members.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from frenchcat.curate.tars import Member

IMAGE_FIELDS = frozenset(
    "jpg jpeg jpe jfif png webp gif avif heic heif bmp tif tiff jp2 j2k jxl".split()
)
"""The extensions of the formats that open_image reads; a file's bytes decide what it is."""
CAPTION_FIELDS = ("txt", "text", "caption", "json")
"""Where captions are looked for, in this order; for JSON see `CAPTION_KEYS`."""
CAPTION_KEYS = ("caption", "text", "prompt", "description")
"""The JSON keys that may contain the caption, in this order."""
_META = re.compile(r"__[^/]*__($|/)")  # webdataset's `skip_meta`


@dataclass(frozen=True, slots=True)
class TarSample:
    """An image and its caption."""

    key: str
    picture: Member
    caption: Member


@dataclass(frozen=True, slots=True)
class LeftOutMember:
    """A member or a sample that is not trained on.

    `reason` is counted; `said` continues a sentence that begins with its name.
    """

    name: str
    reason: str
    said: str


@dataclass
class _Members:
    """Members of one key."""

    key: str
    fields: dict[str, Member] = field(default_factory=dict)  # by name, in lower case

    @property
    def whole(self) -> bool:
        names = list(self.fields)
        return any(map(_is_image, names)) and any(map(_is_caption, names))


def samples_of(
    members: Sequence[Member], captions: Sequence[str] = CAPTION_FIELDS
) -> tuple[list[TarSample], list[LeftOutMember]]:
    """The samples of a tar in the order of their images, and what is left out of it.

    `captions` are the fields in which a caption is looked for, the best first.
    """
    left: list[LeftOutMember] = []
    found: list[TarSample] = []
    for group in _joined(_runs(members, left), left):
        found += _samples(group, captions, left)
    found.sort(key=lambda sample: sample.picture.offset)
    return found, left


def name_of(member: Member) -> str:
    """The member's name in its tar."""
    return f"{member.key}.{member.extension}" if member.extension else member.key


def _runs(members: Iterable[Member], left: list[LeftOutMember]) -> Iterator[_Members]:
    """Neighbours of one key."""
    group: _Members | None = None
    for member in members:
        name = name_of(member)
        if _META.match(name):
            continue
        if not member.extension or member.key.endswith("/") or not member.key:
            said = "belongs to no sample: its name has no extension, or begins with a dot"
            left.append(LeftOutMember(name, "no_sample", said))
            continue
        if group is None or member.key != group.key:
            if group is not None:
                yield group
            group = _Members(member.key)
        _put(group, member, left)
    if group is not None:
        yield group


def _put(group: _Members, member: Member, left: list[LeftOutMember]) -> None:
    """Add a field; of two with one name the later counts, as when a tar is unpacked."""
    name = member.extension.lower()
    before = group.fields.pop(name, None)
    if before is not None:
        said = f"at byte {before.offset} is repeated at byte {member.offset}; the later one counts"
        left.append(LeftOutMember(name_of(before), "replaced", said))
    group.fields[name] = member


def _joined(groups: Iterable[_Members], left: list[LeftOutMember]) -> list[_Members]:
    """Merge parts of one key that lie apart into one sample, unless one of them is complete."""
    by_key: dict[str, list[_Members]] = {}
    for group in groups:
        by_key.setdefault(group.key, []).append(group)
    found = []
    for parts in by_key.values():
        if len(parts) == 1 or any(part.whole for part in parts):
            found += parts
            continue
        whole = _Members(parts[0].key)
        for part in parts:
            for member in part.fields.values():
                _put(whole, member, left)
        found.append(whole)
    return found


def _samples(
    group: _Members, kinds: Sequence[str], left: list[LeftOutMember]
) -> Iterator[TarSample]:
    """The samples of a key: one for each stem that has an image and a caption."""
    pictures = _by_stem(group, left)
    captions = _captions(group, kinds)
    if not pictures:
        fields = ", ".join(f".{name}" for name in group.fields)
        said = f"has no image among its fields: {fields}"
        left.append(LeftOutMember(group.key, "no_picture", said))
        return
    pairs = {stem: captions[stem] for stem in pictures if stem in captions}
    if not pairs and len(pictures) == len(captions) == 1:  # 22.image.jpg with 22.txt
        pairs = dict(zip(pictures, captions.values(), strict=True))
        captions = {}
    for stem, picture in pictures.items():
        if stem in pairs:
            key = group.key if not stem or len(pictures) == 1 else f"{group.key}.{stem}"
            yield TarSample(key, picture, pairs[stem])
        elif pairs:
            said = "is another image of its sample, without a caption of its own name"
            left.append(LeftOutMember(name_of(picture), "second_picture", said))
        else:
            fields = ", ".join(f".{name}" for name in group.fields)
            said = f"has no caption (.{', .'.join(kinds)}) among its fields: {fields}"
            key = f"{group.key}.{stem}" if stem else group.key
            left.append(LeftOutMember(key, "no_caption", said))
    for stem, caption in captions.items():
        if stem not in pictures and not caption.extension.lower().endswith("json"):
            said = "is a caption without an image of its own name"
            left.append(LeftOutMember(name_of(caption), "no_picture", said))


def _by_stem(group: _Members, left: list[LeftOutMember]) -> dict[str, Member]:
    """The first image of each stem."""
    found: dict[str, Member] = {}
    for name, member in group.fields.items():
        if not _is_image(name):
            continue
        stem = name.rpartition(".")[0]
        if stem in found:
            said = f"is another image of its sample, besides {name_of(found[stem])}"
            left.append(LeftOutMember(name_of(member), "second_picture", said))
        else:
            found[stem] = member
    return found


def _captions(group: _Members, kinds: Sequence[str]) -> dict[str, Member]:
    """The best caption of each stem."""
    found: dict[str, Member] = {}
    for kind in reversed(kinds):
        for name, member in group.fields.items():
            stem, _, ending = name.rpartition(".")
            if ending == kind:
                found[stem] = member
    return found


def _is_image(name: str) -> bool:
    return name.rpartition(".")[2] in IMAGE_FIELDS


def _is_caption(name: str) -> bool:
    return name.rpartition(".")[2] in CAPTION_FIELDS


def counted(left: Iterable[LeftOutMember]) -> dict[str, int]:
    """Reason -> how many, the most frequent first."""
    return dict(Counter(one.reason for one in left).most_common())
