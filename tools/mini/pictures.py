"""What drawings look like to the trunk, and what people call them: Open Clip Art, Noto's emoji.

Reads the unpacked Debian packages; writes ``<work>/pictures.json`` (captions a picture) and
``<work>/pictures.npy`` (N, 1280) float16 trunk features. Reserved Open Clip Art pictures
(tools/openclipart.py), and pictures that look like one, are left out.

    python -m tools.mini.pictures
"""

import argparse
import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from tools.mini.cldr import emoji_texts
from tools.mini.heldout import LANGUAGES, open_on_white
from tools.mini.materials import share, work_folder
from tools.mini.trunk import load_trunk, padded, to_tensor
from tools.openclipart import reserved

HASH_PX = 8
SIDE_PX = 320  # decoded pictures are kept this small
NEAR_BITS = 3  # of 64: this close to a reserved picture counts as a copy of it
EMOJI_FONT_PX = 109  # the only size of Noto Color Emoji's bitmaps
NOISE = re.compile(r"(?i)\b(clip ?art|by [\w .]+|svg|openclipart|architetto.*|remix\w*)\b|[_\d]+")


def clean(text: str | None) -> str:
    """A title or keyword without authors, numbers and underscores."""
    return " ".join(NOISE.sub(" ", text or "").split()).strip(" -.,").lower()


def clipart_captions(svg: Path, rel: str) -> list[str]:
    """Title, description, keywords and folder of one picture, English, best first."""
    try:
        tree = ElementTree.parse(svg)
    except (ElementTree.ParseError, OSError):
        return []
    dc = "{http://purl.org/dc/elements/1.1/}"
    rdf = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
    title = next((clean(node.text) for node in tree.iter(f"{dc}title") if node.text), "")
    about = next((clean(node.text) for node in tree.iter(f"{dc}description") if node.text), "")
    subject = next(tree.iter(f"{dc}subject"), None)
    words = [clean(li.text) for li in subject.iter(f"{rdf}li")] if subject is not None else []
    folders = [clean(part) for part in reversed(Path(rel).parts[:-1])]
    texts = [title, about[:120], *words[:8], *folders[:2]]
    return list(dict.fromkeys(t for t in texts if len(t) > 2 and t not in ("unsorted", "clip_art")))


def look(image: Image.Image) -> int:
    """A 64-bit difference hash of a picture's thumbnail."""
    small = np.asarray(image.convert("L").resize((HASH_PX + 1, HASH_PX)), dtype=np.int16)
    bits = (small[:, 1:] > small[:, :-1]).ravel()
    return int("".join("1" if bit else "0" for bit in bits), 2)


def small(path: Path) -> Image.Image | None:
    """The picture on white, at most SIDE_PX wide and high; None where it cannot be decoded."""
    try:
        image = open_on_white(path)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    image.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)
    return image


def clipart(work: Path) -> Iterator[tuple[Image.Image, dict[str, list[str]]]]:
    """Every Open Clip Art picture that may be trained on, with its captions."""
    root = share(work, "openclipart", "png")
    paths = sorted(root.rglob("*.png"))
    with ProcessPoolExecutor() as pool:
        images = list(pool.map(small, paths, chunksize=32))
    rels = [path.relative_to(root).as_posix() for path in paths]
    named = [(rel, image) for rel, image in zip(rels, images, strict=True) if image]
    hashes = np.array([look(image) for rel, image in named if reserved(rel)], dtype=np.uint64)
    for rel, image in named:
        near = np.bitwise_count(hashes ^ np.uint64(look(image))).min() <= NEAR_BITS
        if reserved(rel) or near:
            continue
        svg = share(work, "openclipart", "svg") / Path(rel).with_suffix(".svg")
        if texts := clipart_captions(svg, rel):
            yield image, {"en": texts}


def emoji(work: Path) -> Iterator[tuple[Image.Image, dict[str, list[str]]]]:
    """Every emoji of one code point, drawn on white, with CLDR's names and keywords."""
    path = next(share(work, "fonts").rglob("NotoColorEmoji.ttf"))
    font = ImageFont.truetype(str(path), EMOJI_FONT_PX)
    for char, texts in emoji_texts(work, LANGUAGES).items():
        if len(char) > 1 or ord(char) < 0x2300:
            continue
        canvas = Image.new("RGB", (150, 150), "white")
        ImageDraw.Draw(canvas).text((8, 12), char, font=font, embedded_color=True)
        if np.asarray(canvas).min() < 250:
            yield canvas, texts


def features(work: Path) -> None:
    """Write pictures.npy and pictures.json."""
    trunk = load_trunk().to(memory_format=torch.channels_last)
    captions: list[dict[str, list[str]]] = []
    rows: list[NDArray[np.float16]] = []
    pending: list[torch.Tensor] = []

    def flush() -> None:
        batch = torch.stack(pending).contiguous(memory_format=torch.channels_last)
        # Four times as fast on a CPU as float32 in torch's own order of axes.
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            maps = trunk.forward_features(batch)  # type: ignore[operator]
            pooled = trunk.forward_head(maps, pre_logits=True).float()  # type: ignore[operator]
        rows.append(pooled.numpy().astype(np.float16))
        pending.clear()

    for source in (emoji(work), clipart(work)):
        for image, texts in source:
            captions.append(texts)
            pending.append(to_tensor(padded(image)))
            if len(pending) >= 32:
                flush()
    if pending:
        flush()
    np.save(work / "pictures.npy", np.concatenate(rows))
    (work / "pictures.json").write_text(json.dumps(captions, ensure_ascii=False))
    print(f"{len(captions)} pictures")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Trunk features of the captioned pictures.")
    parser.add_argument("--work")
    features(work_folder(parser.parse_args().work))
