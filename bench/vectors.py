"""Vectors that lie as CLIP's do, in the layout of `clip-retrieval inference`.

Real CLIP vectors are not at hand by the million, so these are drawn with four traits of theirs:

- pictures lie in a narrow cone (two of chance have a cosine near .5), captions in another, and the
  two cones are apart (Liang et al.: "Mind the Gap", 2022): a caption and its picture come to .3;
- topics: 4,000 of very unequal size (Zipf), near ones sharing a theme;
- within a topic few directions vary much and many a little (a falling spectrum);
- a caption is of its own picture: it shares part of what sets that one apart in its topic.

So a caption's nearest pictures are far from it, many, and close together: queries from outside the
distribution that is indexed, which is what makes them hard.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
D = 512
THEMES, TOPICS, PER_FILE = 200, 4000, 10_000


class World:
    """The cones, themes and topics that all rows are drawn from."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        picture, text = _unit(rng.standard_normal((2, D)))
        self.cones = {"img": picture, "text": _unit(text + 0.18 * picture)}
        themes = _unit(rng.standard_normal((THEMES, D)))
        self.topics = _unit(
            themes[rng.integers(0, THEMES, TOPICS)] + 0.9 * _unit(rng.standard_normal((TOPICS, D)))
        )
        share = 1.0 / np.arange(1, TOPICS + 1) ** 0.8
        self.share = share / share.sum()
        # Directions that vary: a falling spectrum, turned by chance.
        spectrum = 1.0 / np.sqrt(1 + np.arange(D) / 12)
        turned, _ = np.linalg.qr(rng.standard_normal((D, D)))
        self.spread = (spectrum[:, None] * turned).astype(np.float32)
        self.spread /= np.linalg.norm(self.spread)

    def pairs(self, count: int, seed: int) -> tuple[Vectors, Vectors]:
        """(count, D) unit rows of pictures, and of their captions."""
        rng = np.random.default_rng([7, seed])
        topic = self.topics[rng.choice(TOPICS, count, p=self.share)]
        own = self._own(rng, count)
        pictures = 0.71 * self.cones["img"] + 0.5 * topic + 0.5 * own
        words = 0.30 * topic + 0.08 * own + 0.45 * self._own(rng, count)
        return _unit(pictures), _unit(0.75 * self.cones["text"] + words)

    def _own(self, rng: np.random.Generator, count: int) -> Vectors:
        drawn = rng.standard_normal((count, D), np.float32) @ self.spread
        return np.asarray(drawn, np.float32)


def write_folder(folder: Path, rows: int, first: int = 0) -> None:
    """``img_emb/``, ``text_emb/`` and ``metadata/`` of `rows` rows, from file number `first` on."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    world = World()
    for name in ("img_emb", "text_emb", "metadata"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(first, first + -(-rows // PER_FILE)):
        count = min(PER_FILE, rows - (number - first) * PER_FILE)
        pictures, texts = world.pairs(count, number)
        np.save(folder / f"img_emb/img_emb_{number:04d}.npy", pictures.astype(np.float16))
        np.save(folder / f"text_emb/text_emb_{number:04d}.npy", texts.astype(np.float16))
        ids = [f"{number:05d}{row:04d}" for row in range(count)]
        draw = np.random.default_rng([9, number]).random(count)
        table = pa.table(
            {
                "image_path": ids,
                "caption": [f"a picture of thing {int(value * 1000)}" for value in draw],
                "url": [f"http://example.org/{at}.jpg" for at in ids],
                "draw": draw,
            }
        )
        pq.write_table(table, folder / f"metadata/metadata_{number:04d}.parquet")


def _unit(rows: NDArray[np.floating]) -> Vectors:
    rows = np.asarray(rows, np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True), np.float32)
