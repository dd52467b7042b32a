"""One tool's near-duplicates among a folder of pictures, as JSON; bench.copies runs it for each.

    python -m bench._pictures TOOL FOLDER

TOOL is one of frenchcat, copies, vectors, imagededup, imagehash.

The last two import nothing of the project and run in a venv of their own. Each hashes with a
process per core and compares all pictures. Prints the seconds of both parts, libraries loaded
before, and the pairs found (names).
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Pairs = list[tuple[str, str]]


def main(tool: str, folder: Path) -> None:
    tools = {"imagededup": imagededup, "imagehash": imagehash}
    ours = {"frenchcat": frenchcat, "copies": copies, "vectors": vectors}
    hash_all, find = {**ours, **tools}[tool]()
    began = time.perf_counter()
    hashes = hash_all(folder)
    hashed = time.perf_counter()
    pairs = find(hashes)
    times = {"hash_sec": hashed - began, "find_sec": time.perf_counter() - hashed}
    print(json.dumps({**times, "pictures": len(hashes), "pairs": sorted(map(sorted, set(pairs)))}))


Tool = tuple[Callable[[Path], dict[str, Any]], Callable[[dict[str, Any]], Pairs]]


def frenchcat() -> Tool:
    """PDQ and `near_hashes` at their own thresholds."""
    return _hashed(mirrored=False, cut=False)


def copies() -> Tool:
    """The same with mirrored and cut copies."""
    return _hashed(mirrored=True, cut=True)


def _hashed(mirrored: bool, cut: bool) -> Tool:
    import numpy as np

    from frenchcat.curate.dedup.perceptual import Copies, near_hashes
    from frenchcat.curate.hashes import PDQ_DISTANCE, PDQ_QUALITY

    def find(hashes: dict[str, Any]) -> Pairs:
        names = [name for name, (_, quality) in hashes.items() if quality >= PDQ_QUALITY]
        bits = np.frombuffer(b"".join(hashes[name][0] for name in names), np.uint8).reshape(-1, 32)
        edges = near_hashes(bits, PDQ_DISTANCE, copies=Copies(mirrored, cut))
        return _clustered(names, edges)

    return _all(_pdq), find


def vectors() -> Tool:
    """Vectors of the bundled model and `near_vectors` at its own threshold."""
    import numpy as np
    from PIL import Image

    from frenchcat.curate.clip.model import load_clip
    from frenchcat.curate.clip.settings import ClipSettings
    from frenchcat.curate.dedup.detectors import NEAR_COSINE
    from frenchcat.curate.dedup.semantic import near_vectors

    model = load_clip(ClipSettings(model="mini", compile="no"))

    def encode(folder: Path) -> dict[str, Any]:
        paths = sorted(folder.glob("*.jpg"))
        made = [
            model.encode_images([Image.open(path).convert("RGB") for path in part])
            for part in _parts(paths)
        ]
        return dict(zip((path.name for path in paths), np.concatenate(made), strict=True))

    def find(encoded: dict[str, Any]) -> Pairs:
        return _clustered(
            list(encoded), near_vectors(np.stack(list(encoded.values())), NEAR_COSINE)
        )

    return encode, find


def _parts(paths: list[Path]) -> list[list[Path]]:
    return [paths[start : start + 64] for start in range(0, len(paths), 64)]


def _clustered(names: list[str], edges: Any) -> Pairs:
    """Each row of a cluster with its first."""
    from frenchcat.curate.dedup.cluster import components

    labels = components(len(names), edges)
    return [(names[first], names[row]) for row, first in enumerate(labels) if first != row]


def imagededup() -> Tool:
    """PHash and `find_duplicates` at their defaults."""
    from imagededup.methods import PHash  # type: ignore[import-not-found]

    method = PHash(verbose=False)

    def find(hashes: dict[str, Any]) -> Pairs:
        found = method.find_duplicates(encoding_map=hashes)
        return [(name, other) for name, others in found.items() for other in others if name < other]

    return lambda folder: method.encode_images(image_dir=str(folder)), find


def imagehash() -> Tool:
    """`phash`, and all pairs of at most 10 bits: imagededup's threshold, for want of one."""
    import numpy as np

    def find(hashes: dict[str, Any]) -> Pairs:
        names, bits = list(hashes), np.stack([h.hash.ravel() for h in hashes.values()])
        packed = np.packbits(bits, axis=1)
        pairs: Pairs = []
        for row, name in enumerate(names):
            apart = np.bitwise_count(packed[row + 1 :] ^ packed[row]).sum(axis=1)
            pairs += [(name, names[row + 1 + at]) for at in np.flatnonzero(apart <= 10)]
        return pairs

    return _all(_phash), find


def _all(hash_one: Callable[[Path], Any]) -> Callable[[Path], dict[str, Any]]:
    def run(folder: Path) -> dict[str, Any]:
        paths = sorted(folder.glob("*.jpg"))
        with multiprocessing.Pool() as pool:
            found = pool.map(hash_one, paths, chunksize=16)
        return {path.name: each for path, each in zip(paths, found, strict=True)}

    return run


def _pdq(path: Path) -> tuple[bytes, int]:
    from PIL import Image

    from frenchcat.curate.hashes import pdq_and_quality

    with Image.open(path) as picture:
        return pdq_and_quality(picture)


def _phash(path: Path) -> Any:
    import imagehash  # type: ignore[import-not-found]
    from PIL import Image

    with Image.open(path) as picture:
        return imagehash.phash(picture)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
