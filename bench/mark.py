"""Does the invisible mark of drawn images survive, and is it found where there is none?

    python -m bench.mark                     some 20 minutes on one core
    python -m bench.mark --images 4          fewer images per size
    python -m bench.mark --peer              invisible-watermark's three methods, too

Images of the bundled sample, cut square and scaled to 64 … 512 pixels, are marked and then changed:
coded as JPEG and WebP, resized, cropped, framed and scaled as a screenshot. Kept is the share in
which the mark is found. False alarms are counted on the same images without it, after some of these
changes.

invisible-watermark embeds 32 bits; its mark counts as found if at most 4 of them are wrong, which
happens by chance once in 100,000 images. It takes 256 x 256 pixels at least, and is installed
without its dependencies: opencv-python would replace opencv-python-headless.

Writes .bench/results/mark.json.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from bench import _common as common
from bench._common import BENCH
from frenchcat import sample_data
from frenchcat.curate.errors import FrenchcatError
from frenchcat.curate.image import open_image
from frenchcat.train.mark import find_mark, marked

SIDES = (64, 128, 256, 512)
PEER = ("invisible-watermark==0.2.0", "PyWavelets==1.9.0")
METHODS = ("dwtDct", "dwtDctSvd", "rivaGan")
WRONG = 4  # of 32 bits
GOALS = {
    "survival_from_128": (">=", 0.95),  # of 128 pixels and more, over all that is in USUAL
    "false_alarms": ("<=", 0.001),
}
Change = Callable[[Image.Image], Image.Image]


def coded(kind: str, quality: int) -> Change:
    """Saved and opened again."""

    def change(image: Image.Image) -> Image.Image:
        out = io.BytesIO()
        image.save(out, kind, quality=quality)
        return Image.open(out).convert("RGB")

    return change


def resized(scale: float) -> Change:
    """Both sides times `scale`."""
    return lambda image: image.resize((round(image.width * scale), round(image.height * scale)))


def cropped(part: float) -> Change:
    """Cut to a part of each side, off the centre."""

    def change(image: Image.Image) -> Image.Image:
        width, height = round(image.width * part), round(image.height * part)
        left, top = round(0.6 * (image.width - width)), round(0.3 * (image.height - height))
        return image.crop((left, top, left + width, top + height))

    return change


def screenshot(scale: float) -> Change:
    """Shown at `scale` on a page that it fills to some 60 %, and saved as JPEG."""

    def change(image: Image.Image) -> Image.Image:
        shown = image.resize(
            (round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR
        )
        size = round(shown.width * 1.6), round(shown.height * 1.4)
        page = Image.new("RGB", size, (245, 245, 245))
        page.paste(shown, (shown.width // 3, shown.height // 5))
        return coded("JPEG", 85)(page)

    return change


CHANGES: dict[str, Change] = {
    "nothing": lambda image: image,
    "JPEG 90": coded("JPEG", 90),
    "JPEG 75": coded("JPEG", 75),
    "JPEG 50": coded("JPEG", 50),
    "WebP 75": coded("WEBP", 75),
    "half the size": resized(0.5),
    "1.5 times the size": resized(1.5),
    "cropped to 90 %": cropped(0.9),
    "cropped to 70 %": cropped(0.7),
    "cropped to 50 %": cropped(0.5),
    "screenshot": screenshot(1.25),
    "cropped to 80 %, half the size, JPEG 75": lambda image: coded("JPEG", 75)(
        resized(0.5)(cropped(0.8)(image))
    ),
}
SEARCHED = ("nothing", "JPEG 75", "cropped to 70 %", "screenshot")
"""Of these, images without a mark are searched, too: each takes a second."""
USUAL = (
    "JPEG 90",
    "JPEG 75",
    "half the size",
    "1.5 times the size",
    "cropped to 70 %",
    "screenshot",
)


def images(number: int) -> list[Image.Image]:
    """Squares of the sample's images that are large enough, evenly over the list."""
    found: list[Image.Image] = []
    with tarfile.open(sample_data.PICTURES) as tar:
        members = [member for member in tar if member.isfile()]
        for member in members[:: max(1, len(members) // (3 * number))]:
            file = tar.extractfile(member)
            try:
                image = open_image(file.read() if file else b"")
            except FrenchcatError:  # the sample has broken ones
                continue
            side = min(image.size)
            if side >= 128:
                found.append(image.crop((0, 0, side, side)))
    return found[:number]


def _psnr(image: Image.Image, other: Image.Image) -> float:
    return common.psnr(np.asarray(image), np.asarray(other))


def ours(some: list[Image.Image]) -> dict[str, Any]:
    """Survival of each change, false alarms, and what is changed in brightness."""
    with_mark = [marked(image) for image in some]
    survived, alarms, clean = {}, 0, []
    for name, change in CHANGES.items():
        survived[name] = float(np.mean([find_mark(change(one)).found for one in with_mark]))
        without = [find_mark(change(one)) for one in some] if name in SEARCHED else []
        alarms += sum(one.found for one in without)
        clean += [one.score for one in without]
    return {
        "psnr_db": float(np.mean([_psnr(*pair) for pair in zip(some, with_mark, strict=True)])),
        "survived": survived,
        "searched_without": len(clean),
        "false_alarms": alarms,
        "highest_score_without": max(clean),
    }


def peer(some: list[Image.Image]) -> dict[str, Any]:
    """The same of invisible-watermark, by method."""
    place = BENCH / "invisible-watermark"
    if not place.exists():
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(place)]
        subprocess.run([*pip, *PEER], check=True)
    sys.path.insert(0, str(place))
    from imwatermark import WatermarkDecoder, WatermarkEncoder  # type: ignore[import-not-found]

    WatermarkEncoder.loadModel()
    said = b"mark"
    bits = np.unpackbits(np.frombuffer(said, np.uint8))
    found: dict[str, Any] = {}
    for method in METHODS:
        with_mark = []
        for image in some:
            encoder = WatermarkEncoder()
            encoder.set_watermark("bytes", said)
            made = encoder.encode(np.asarray(image)[..., ::-1].copy(), method)
            with_mark.append(Image.fromarray(np.ascontiguousarray(made[..., ::-1]).astype("u1")))

        def is_there(image: Image.Image, method: str = method) -> bool:
            try:
                told = WatermarkDecoder("bytes", 32).decode(
                    np.asarray(image)[..., ::-1].copy(), method
                )
            except RuntimeError:  # too small
                return False
            wrong = (np.unpackbits(np.frombuffer(told, np.uint8)) != bits).sum()
            return bool(wrong <= WRONG)

        pairs = zip(some, with_mark, strict=True)
        found[method] = {
            "psnr_db": float(np.mean([_psnr(*pair) for pair in pairs])),
            "survived": {
                name: float(np.mean([is_there(change(one)) for one in with_mark]))
                for name, change in CHANGES.items()
            },
        }
    return found


def main() -> None:
    """Mark, change, search, keep."""
    arguments = common.parser(__doc__)
    arguments.add_argument("--images", type=int, default=24, help="per size")
    arguments.add_argument("--peer", action="store_true", help="measure invisible-watermark, too")
    given = arguments.parse_args()
    load = common.load()
    originals = images(given.images)
    sides = {}
    for side in SIDES:
        scaled = [one.resize((side, side), Image.Resampling.LANCZOS) for one in originals]
        sides[str(side)] = ours(scaled)
        print(side, sides[str(side)], flush=True)
    result: dict[str, Any] = {
        "images": len(originals),
        "sides": sides,
        "survival_from_128": float(
            np.mean([sides[str(n)]["survived"][name] for n in SIDES[1:] for name in USUAL])
        ),
        "false_alarms": sum(one["false_alarms"] for one in sides.values())
        / sum(one["searched_without"] for one in sides.values()),
        "load_before": load,
        "versions": common.our_versions("numpy", "opencv-python-headless", "Pillow"),
    }
    if given.peer:
        few = [one.resize((256, 256), Image.Resampling.LANCZOS) for one in originals[:4]]
        result["invisible_watermark_256"] = {"images": len(few), **peer(few)}
        print(result["invisible_watermark_256"], flush=True)
    common.keep("mark", result, GOALS)


if __name__ == "__main__":
    main()
