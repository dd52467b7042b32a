"""The sample's rows, ordinary and bad on purpose, and the bodies the site serves for them.

Reads the chosen pictures; gives rows and a mapping from URL path to bytes. The first part of a
path says how ``frenchcat.sample_site`` answers it ("/gone/..." is gone), so the site needs no
list. Trade-off: each planted kind takes pictures of its own out of the ordinary ones, so that
one cause never hides another (a redirect that works is not a duplicate as well).
"""

import hashlib
import re
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from PIL import Image

from tools.openclipart import HOUSECATS
from tools.sample import pictures
from tools.sample.choose import PUBLIC_DOMAIN, Picture

WATERMARKS = DUPLICATES = 15
STAY_ORDINARY = (  # what people look for first: never behind a dead link
    *HOUSECATS,
    "recreation/games/cards/two_cats*",
    "animals/mammals/*",
    "animals/birds/*",
    "*/france.png",
    "*carte_de_france*",
    "*croissant*",
    "*french_horn*",
    "*Cornetto*",
)
SHORT_CAPTIONS = ("IMG_0042.jpg", "DSC00017", "photo", "img")
HTML = b"<!doctype html><html><head><title>404</title></head><body>This page moved.</body></html>\n"


@dataclass(frozen=True)
class Row:
    """One line of the URL list; ``path`` is the URL's, without the slash before it."""

    path: str
    caption: str
    title: str
    creator: str
    license: str
    source: str
    planted: str = ""
    dead_host: bool = False


@dataclass
class Sample:
    """What the recipe makes; planting moves pictures from ``spare`` into ``rows``."""

    library: Path
    spare: list[Picture]
    rows: list[Row] = field(default_factory=list)
    bodies: dict[str, bytes] = field(default_factory=dict)

    def take(self, count: int) -> list[Picture]:
        """The next pictures that no row uses yet."""
        taken, self.spare = self.spare[:count], self.spare[count:]
        return taken

    def image(self, picture: Picture) -> Image.Image:
        """The picture's pixels, as the sample shows it."""
        return pictures.load(self.library / "png" / picture.source)

    def add(
        self, path: str, picture: Picture, planted: str, body: bytes | None, **new: str
    ) -> None:
        """A row for ``picture`` and, unless the site makes it up itself, what it serves."""
        p = picture
        text = new.get("caption", p.caption)
        self.rows.append(Row(path, text, p.title, p.creator, p.license, p.source, planted))
        if body is not None:
            self.bodies[path] = body

    def add_picture(self, folder: str, picture: Picture, planted: str, **new: str) -> None:
        """A row whose body is the picture as it is."""
        ending, body = pictures.encode(self.image(picture))
        self.add(f"{folder}/{slug(picture)}.{ending}", picture, planted, body, **new)


def build(library: Path, chosen: list[Picture]) -> Sample:
    """Rows and bodies; the same library gives the same sample."""
    favourites = [p for p in chosen if _is(p, STAY_ORDINARY)]
    favourites.sort(key=lambda p: not _is(p, HOUSECATS))  # housecats first
    others = sorted((p for p in chosen if p not in favourites), key=lambda p: _digest(p.source))
    sample = Sample(library, others)
    for plant in (_unreachable, _broken, _hostile, _redirects, _rights, _captions, _odd, _stamped):
        plant(sample)
    ordinary = favourites + sample.take(len(sample.spare))
    for picture in ordinary:
        sample.add_picture(f"pictures/{Path(picture.source).parent}", picture, "")
    _duplicates(sample, ordinary)
    sample.rows.sort(key=lambda row: _digest(row.path))  # planted rows lie all over the list
    return sample


def _is(picture: Picture, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(picture.source, pattern) for pattern in patterns)


def slug(picture: Picture) -> str:
    """The picture's file name in a URL: plain letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", Path(picture.source).stem.lower()).strip("-")


def _unreachable(sample: Sample) -> None:
    for kind, count in (("dead_link", 3), ("gone", 2), ("server_error", 2)):
        for picture in sample.take(count):
            sample.add(f"{kind}/{slug(picture)}.jpg", picture, kind, None)
    for p in sample.take(2):
        path = f"{slug(p)}.jpg"
        row = Row(path, p.caption, p.title, p.creator, p.license, p.source, "dead_host", True)
        sample.rows.append(row)
    for picture in sample.take(3):
        sample.add_picture("flaky", picture, "flaky")


def _broken(sample: Sample) -> None:
    for picture in sample.take(2):
        sample.add(f"html_as_jpg/{slug(picture)}.jpg", picture, "html_as_jpg", HTML)
    for picture in sample.take(2):
        ending, body = pictures.encode(sample.image(picture))
        path = f"truncated/{slug(picture)}.{ending}"
        sample.add(path, picture, "truncated", body[: len(body) * 2 // 5])
    [picture] = sample.take(1)
    whole = pictures.jpeg(sample.image(picture), quality=88)
    sample.add(f"cut_off/{slug(picture)}.jpg", picture, "truncated", whole)
    text = b"The picture you asked for is not here, but this sentence is.\n"
    for picture in sample.take(2):
        sample.add(f"not_image/{slug(picture)}.txt", picture, "not_image", text)


def _hostile(sample: Sample) -> None:
    sample.add("bomb/large.png", _made("A very large drawing"), "bomb", pictures.bomb())
    for name in ("length", "chunked", "gzip"):
        made = _made(f"A picture without end, {name}")
        sample.add(f"oversize/{name}.jpg", made, "oversize", None)
    for name in ("slow", "slower"):
        sample.add(f"drip/{name}.jpg", _made(f"A {name} picture"), "drip", None)


def _redirects(sample: Sample) -> None:
    for name in ("lan", "metadata", "mapped", "file"):
        made = _made(f"A picture that moved, {name}")
        sample.add(f"redirect_private/{name}.jpg", made, "redirect_private", None)
    sample.add("redirect_loop/one.jpg", _made("Round and round"), "redirect_loop", None)
    for picture in sample.take(3):
        ending, body = pictures.encode(sample.image(picture))
        sample.add(f"redirect_ok/{slug(picture)}.{ending}", picture, "redirect_ok", None)
        sample.bodies[f"moved/{slug(picture)}.{ending}"] = body


def _rights(sample: Sample) -> None:
    counts = {"noai": 3, "noai_agent": 2, "noimageai": 2, "tdm_reserved": 3, "robots_txt": 3}
    for kind, count in counts.items():
        for picture in sample.take(count):
            sample.add_picture(kind, picture, kind)
    for number, picture in enumerate(sample.take(3)):
        image, xmp = sample.image(picture), pictures.XMP_PROHIBITED
        body = pictures.jpeg(image, 88, xmp) if number else pictures.png_with_xmp(image, xmp)
        ending = "jpg" if number else "png"
        sample.add(f"pictures/xmp/{slug(picture)}.{ending}", picture, "xmp_noai", body)


def _captions(sample: Sample) -> None:
    swapped = sample.take(6)
    for picture, other in zip(swapped, swapped[1:] + swapped[:1], strict=True):
        sample.add_picture("pictures/blog", picture, "wrong_caption", caption=other.caption)
    for picture in sample.take(3):
        sample.add_picture("pictures/blog", picture, "empty_caption", caption="")
    for picture, text in zip(sample.take(4), SHORT_CAPTIONS, strict=True):
        sample.add_picture("pictures/blog", picture, "short_caption", caption=text)


def _odd(sample: Sample) -> None:
    for picture in sample.take(2):
        body = pictures.icon(sample.image(picture))
        sample.add(f"pictures/icons/{slug(picture)}-16.png", picture, "tiny", body)
    small = [p for p in sample.spare if _svg(sample, p).stat().st_size < 8_000][:2]
    for picture in small:
        sample.spare.remove(picture)
        body = _svg(sample, picture).read_bytes()
        sample.add(f"pictures/svg/{slug(picture)}.svg", picture, "svg", body)


def _stamped(sample: Sample) -> None:
    for number, picture in enumerate(sample.take(WATERMARKS)):
        body = pictures.jpeg(pictures.watermarked(sample.image(picture), number), quality=88)
        sample.add(f"pictures/stock/{slug(picture)}.jpg", picture, "watermark", body)


def _duplicates(sample: Sample, ordinary: list[Picture]) -> None:
    by_source = {row.source: row.path for row in sample.rows if not row.planted}
    exact = ordinary[:2] + ordinary[100 : 100 + DUPLICATES - 2]  # two cats among them
    for picture in exact:
        path = by_source[picture.source]
        copy = f"pictures/mirror/{slug(picture)}{Path(path).suffix}"
        sample.add(copy, picture, "exact_duplicate", sample.bodies[path])
    near = ordinary[1:3] + ordinary[200 : 200 + DUPLICATES - 2]
    for number, picture in enumerate(near):
        body = pictures.reencoded(sample.image(picture), number)
        path = f"pictures/resized/{slug(picture)}.jpg"
        sample.add(path, picture, "reencoded_duplicate", body)


def _made(caption: str) -> Picture:
    return Picture("", caption, caption, "frenchcat", PUBLIC_DOMAIN)


def _svg(sample: Sample, picture: Picture) -> Path:
    return (sample.library / "svg" / picture.source).with_suffix(".svg")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
