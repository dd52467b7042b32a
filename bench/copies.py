"""Near-copies among pictures: our hashes and vectors beside imagededup's and imagehash's hashes.

    python -m bench.copies                   some minutes on 2 cores

Two folders of pictures with planted near-copies of some: half the size, JPEG quality 30, 15 %
brighter, 4 % cut off above and left, mirrored. `made` are random pictures with the amplitude
spectrum of photographs, which falls with the frequency (Field 1987, "Relations between the
statistics of natural images and the response properties of cortical cells"); `drawings` are the
bundled sample's.
Hashed and compared by us (PDQ; with mirrored and cut copies, `copies`; by the bundled model's
vectors, `vectors`), by imagededup (PHash, its defaults) and by imagehash (phash, and all pairs in
numpy, since it brings no search), these two in a venv of their own. Ties that were not planted
stand beside: what a tool finds more is worth nothing if it also names more of those.

Writes .bench/results/copies.json.
"""

from __future__ import annotations

import io
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench import _common as common
from bench._common import BENCH
from frenchcat.curate.dedup.cluster import components

COPIES = ("half_size", "coarse", "brighter", "cropped", "mirrored")  # of pictures, in turn
PEER = (("imagehash==4.3.2", "imagededup==0.3.3.post2", *common.TORCH),)
WIDTH, HEIGHT = 400, 300  # of the made ones
LEAST_SIDE = 100  # pixels of a drawing, since a quarter of the copies has half of them
GOALS = {
    "rate_beside_imagehash": (">=", 1.0),
    "cropped_beside_imagededup": (">=", 1.0),
    "others_beside_imagededup": ("<=", 1.0),
}


def main() -> None:
    """Both folders, the tools in turn."""
    parser = common.parser(__doc__)
    parser.add_argument("--pictures", type=int, default=1500, help="made; a third has a copy")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    load = common.load()
    python = common.peer("imagededup", *PEER) / "python"
    folders = {
        "made": compared(_folder(f"made-{given.pictures}", made(given.pictures)), given.rounds),
        "drawings": compared(_folder("drawings", drawings()), given.rounds),
    }
    result: dict[str, Any] = {
        **_ratios(folders),
        **folders,
        "load_before": load,
        "versions": common.our_versions("pdqhash", "faiss-cpu", "open_clip_torch"),
        "peers": common.versions_of(python, ("imagededup", "ImageHash", "numpy")),
    }
    common.keep("copies", result, GOALS)


def _ratios(folders: dict[str, dict[str, Any]]) -> dict[str, float]:
    """The worst of the folders, for each goal; a tool that names no other pair counts as one."""

    def beside(ours: str, peer: str, figure: Any) -> list[float]:
        return [figure(each[ours]) / figure(each[peer]) for each in folders.values()]

    def others(found: dict[str, Any]) -> float:
        return max(1.0, float(found["ties_not_planted"]))

    return {
        "rate_beside_imagehash": min(
            beside("frenchcat", "imagehash", lambda each: each["pictures_per_sec"])
        ),
        "cropped_beside_imagededup": min(
            beside("copies", "imagededup", lambda each: each["recall"]["cropped"])
        ),
        "others_beside_imagededup": max(beside("copies", "imagededup", others)),
    }


# -- the tools -----------------------------------------------------------------------------------


def compared(folder: Path, rounds: int) -> dict[str, Any]:
    """The tools in turn on the same folder: pictures/s, and what they found."""
    python = common.peer("imagededup", *PEER) / "python"
    ours = dict.fromkeys(("frenchcat", "copies", "vectors"), sys.executable)
    tools = {**ours, "imagededup": python, "imagehash": python}
    runs: dict[str, list[dict[str, Any]]] = {tool: [] for tool in tools}
    for _ in range(rounds):
        for tool, interpreter in tools.items():
            command = [str(interpreter), "-m", "bench._pictures", tool, str(folder)]
            runs[tool].append(common.json_of(common.run(command, tool)))
    names = sorted(path.name for path in folder.glob("*.jpg"))
    print(f"{folder.name}: {len(names)} pictures", flush=True)
    return {"count": len(names)} | {t: _judged(t, each, names) for t, each in runs.items()}


def _judged(tool: str, runs: list[dict[str, Any]], names: list[str]) -> dict[str, Any]:
    """What was found; pairs count as clusters, since not every tool names all pairs."""
    place = {name: row for row, name in enumerate(names)}
    edges = np.array([[place[name] for name in pair] for pair in runs[0]["pairs"]], np.int64)
    labels = components(len(names), edges.reshape(-1, 2))
    found: dict[str, list[bool]] = {kind: [] for kind in COPIES}
    for name in names:
        number, _, kind = name.removesuffix(".jpg").partition("-")
        if kind:
            found[kind].append(bool(labels[place[name]] == labels[place[f"{number}.jpg"]]))
    recall = {kind: sum(each) / len(each) for kind, each in found.items()}
    joined = sum(map(sum, found.values()))
    others = len(names) - len(np.unique(labels)) - joined  # ties that no planted pair explains
    sec = common.median([run["hash_sec"] + run["find_sec"] for run in runs])
    said = ", ".join(f"{kind} {part:.3f}" for kind, part in recall.items())
    rate = len(names) / sec
    print(f"{tool:10} {rate:7.1f} pictures/s; recall: {said}; others {others}")
    return {
        "pictures_per_sec": rate,
        "hash_sec": [run["hash_sec"] for run in runs],
        "find_sec": [run["find_sec"] for run in runs],
        "recall": recall,
        "recall_of_all": joined / sum(map(len, found.values())),
        "ties_not_planted": others,
    }


# -- the pictures --------------------------------------------------------------------------------


def _folder(name: str, pictures: Iterator[Image.Image]) -> Path:
    """The pictures, and a copy of every third of them, each kind in turn."""
    folder = BENCH / f"copies-of-{len(COPIES)}-kinds-{name}"
    if folder.exists():
        return folder
    partial = folder.with_suffix(".partial")
    partial.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures):
        picture.save(partial / f"{number:06d}.jpg", quality=90)
        if number % 3 == 0:
            kind = COPIES[number // 3 % len(COPIES)]
            _copied(picture, kind, partial / f"{number:06d}-{kind}.jpg")
    partial.rename(folder)
    return folder


def _copied(picture: Image.Image, kind: str, path: Path) -> None:
    width, height = picture.size
    if kind == "half_size":
        picture = picture.resize((width // 2, height // 2))
    elif kind == "brighter":
        picture = picture.point(lambda value: min(255, round(1.15 * value)))
    elif kind == "cropped":
        picture = picture.crop((width // 25, height // 25, width, height))
    elif kind == "mirrored":
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    picture.save(path, quality=30 if kind == "coarse" else 85)


def made(count: int) -> Iterator[Image.Image]:
    """Random pictures whose amplitudes fall as 1/f, half of each colour shared by all three."""
    across, down = np.fft.rfftfreq(WIDTH), np.fft.fftfreq(HEIGHT)
    frequency = np.hypot(down[:, None], across[None])
    frequency[0, 0] = 1
    for number in range(count):
        rng = np.random.default_rng(number)
        noise = rng.standard_normal((4, HEIGHT, WIDTH))
        light, *colours = np.fft.irfft2(np.fft.rfft2(noise) / frequency, (HEIGHT, WIDTH))
        shared = light / light.std()
        pixels = [128 + 50 * (shared + 0.5 * colour / colour.std()) for colour in colours]
        yield Image.fromarray(np.clip(np.stack(pixels, -1), 0, 255).astype(np.uint8))


def drawings() -> Iterator[Image.Image]:
    """The bundled sample's pictures that are large enough and not see-through."""
    from frenchcat import sample_data

    with tarfile.open(Path(sample_data.__file__).parent / "pictures.tar") as tar:
        for member in tar:
            held = tar.extractfile(member)
            picture = _opened(held.read()) if held else None
            if picture and min(picture.size) >= LEAST_SIDE and not picture.has_transparency_data:
                yield picture.convert("RGB")


def _opened(data: bytes) -> Image.Image | None:
    """None for the sample's damaged files and for what is not a picture."""
    try:
        picture = Image.open(io.BytesIO(data))
        picture.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return picture


if __name__ == "__main__":
    main()
