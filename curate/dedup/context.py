"""Out of context: rows that show the same image and contradict each other in what they say of it.

A pure function of arrays, and what gathers the captions' vectors for it. The same image is the same
by bytes, URL or looks (the detectors `exact` and `perceptual`), never by meaning alone. Two rows
contradict each other where

- their captions are far apart: 1 - cosine of the captions' CLIP vectors, over that of two captions
  of the dataset at random. An image with two captions that have little to do with each other is
  what Aneja et al. (COSMOS, 2101.06278) take for out of context. The ratio needs no limit of its
  own for each model;
- or both name years, and none in common.

Captions that are file names, codes or a template's words say nothing and contradict nothing. Which
of two captions is wrong is not known. A caption that differs in a name alone (another town, another
number of victims) is near, and not found.

Cost: the square of the rows of one image, times the vectors' dimension; rows that are alone cost
nothing. Memory: the vectors of rows that are not alone, BLOCK rows beside all of one image.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate import embeddings, files
from frenchcat.curate.adopted import TEXT_VECTORS
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.dedup.rows import StoredRows
from frenchcat.curate.markers import marker
from frenchcat.curate.score.caption import is_boilerplate, is_filename
from frenchcat.curate.urls import domain_of

CONTEXT_DISTANCE = 0.6
"""Of two captions of one image, over that of two at random. Chosen on one half of the captions of
bench/_contexts.py with the bundled model; `python -m bench.contexts` measures on the other half."""
BLOCK = 1024
SAMPLE = 1000
"""Captions whose distances are taken for those of captions at random."""
# Not the height of "1920x1080", not a part of a longer number.
_YEAR = re.compile(r"(?<![\d.,x×])(?:18|19|20)\d\d(?![\d%x×]|[.,]\d)")


@dataclass(frozen=True)
class Contexts:
    """The answer for every row; `compared` is whether images were compared at all."""

    compared: bool
    seen: NDArray[np.int64]  # other rows with the same image
    domains: NDArray[np.int64]  # of all rows with the image, this one's included
    contradicting: NDArray[np.int64]  # of the others, those that say something else
    most: NDArray[np.int64]  # the one of them that says the most different; -1: none
    distance: NDArray[np.float64]  # to the most distant caption of the image; NaN: none known


@dataclass(frozen=True)
class CaptionVectors:
    """Unit vectors of the captions of some rows, and the distance of two captions at random."""

    rows: NDArray[np.int64]  # (n,), sorted
    vectors: NDArray[np.float32]  # (n, D)
    typical: float


def contexts(
    images: NDArray[np.int64] | None,
    captions: Sequence[str | None],
    urls: Sequence[str | None],
    vectors: CaptionVectors | None,
    limit: float = CONTEXT_DISTANCE,
) -> Contexts:
    """Compare what rows say of the same image.

    `images` (N,) has a number per image, the same for rows that show it; None: not compared.
    `vectors` has those of `comparable` rows; None: captions are compared by their years alone.
    """
    total = len(captions)
    none = np.full(total, -1, np.int64)
    found = Contexts(
        images is not None,
        np.zeros(total, np.int64),
        np.ones(total, np.int64),
        np.zeros(total, np.int64),
        none,
        np.full(total, np.nan),
    )
    if images is None:
        return found
    for members in groups_of(images):
        found.seen[members] = len(members) - 1
        found.domains[members] = len({domain_of(urls[row]) for row in members})
        speaking = np.array([row for row in members if speaks(captions[row])], np.int64)
        if len(speaking) > 1:
            _compare(found, speaking, [captions[row] or "" for row in speaking], vectors, limit)
    return found


def groups_of(images: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The rows of each image that several rows show, sorted."""
    order = np.argsort(images, kind="stable")
    edges = np.flatnonzero(np.diff(images[order])) + 1
    starts, ends = np.append(0, edges), np.append(edges, len(order))
    several = ends - starts > 1
    pairs = zip(starts[several], ends[several], strict=True)
    return [order[start:end] for start, end in pairs]


def speaks(caption: str | None) -> bool:
    """Whether a caption says something: it is not a file name, code or a template's words."""
    said = (caption or "").strip()
    return bool(said) and not is_filename(said) and not is_boilerplate(said)


def years_of(caption: str | None) -> frozenset[str]:
    """The years that a caption names, 1800 to 2099."""
    return frozenset(_YEAR.findall(caption or ""))


def _compare(
    found: Contexts,
    rows: NDArray[np.int64],
    captions: Sequence[str],
    vectors: CaptionVectors | None,
    limit: float,
) -> None:
    """Fill in what the rows of one image, all of which say something, have against each other."""
    _, words = np.unique([" ".join(said.lower().split()) for said in captions], return_inverse=True)
    years = [years_of(said) for said in captions]
    told = sorted(frozenset().union(*years))
    dated = np.array([[year in own for year in told] for own in years], bool)
    dated = dated.reshape(len(years), len(told))
    named = np.asarray(dated.any(axis=1))
    known, own = _own_vectors(rows, vectors)
    for start in range(0, len(rows), BLOCK):
        part = slice(start, start + BLOCK)
        shared = dated[part].astype(np.int64) @ dated.T  # years that two captions both name
        apart = np.asarray(named[part, None] & named[None] & (shared == 0))
        distance = np.zeros(apart.shape)
        if own is not None and vectors is not None:
            distance = (1 - own[part] @ own.T).astype(np.float64) / vectors.typical
            distance[~(known[part, None] & known[None])] = 0
            distance[words[part, None] == words[None]] = 0  # whatever rounding says
            there = known[part] & (known.sum() > 1)
            found.distance[rows[part][there]] = distance[there].max(axis=1).clip(0)
        against = apart | (distance > limit)
        against[np.arange(len(against)), np.arange(len(against)) + start] = False
        found.contradicting[rows[part]] = against.sum(axis=1)
        farthest = np.where(against, distance + apart, -np.inf).argmax(axis=1)
        found.most[rows[part]] = np.where(against.any(axis=1), rows[farthest], -1)


def _own_vectors(
    rows: NDArray[np.int64], vectors: CaptionVectors | None
) -> tuple[NDArray[np.bool_], NDArray[np.float32] | None]:
    """Which rows have a vector, and the vectors (n, D); zeros where there is none."""
    if vectors is None or not len(vectors.rows):
        return np.zeros(len(rows), bool), None
    place = np.minimum(np.searchsorted(vectors.rows, rows), len(vectors.rows) - 1)
    known = vectors.rows[place] == rows
    return known, np.where(known[:, None], vectors.vectors[place], 0)


def read_captions(
    dataset: Dataset, rows: StoredRows, images: NDArray[np.int64] | None
) -> CaptionVectors | None:
    """The captions' vectors of rows that show an image that others show, too.

    None where no image is shown twice, nothing is embedded, or captions have no vectors of their
    own (an adopted folder may have those of images alone).
    """
    groups = [] if images is None else groups_of(images)
    entry = dataset.manifest().entry(embeddings.STAGE)
    if not groups or entry.settings is None or entry.setting(TEXT_VECTORS, "text") != "text":
        return None
    captions = rows.table["caption"]
    # Evenly over all rows: the same ones whatever runs.
    places = np.unique(np.linspace(0, len(captions) - 1, SAMPLE).astype(np.int64))
    told = captions.take(places).to_pylist()
    speaking = places[[speaks(said) for said in told]]
    numbers, vectors = _read(dataset, rows, np.unique(np.concatenate([*groups, speaking])))
    sample = vectors[np.isin(numbers, speaking)]
    if len(sample) < 2:
        return None
    pairs = len(sample) * (len(sample) - 1)
    # The sum of all cosines is the square of the summed vector's length.
    summed = float(np.square(sample.sum(axis=0, dtype=np.float64)).sum())
    cosine = (summed - len(sample)) / pairs
    return CaptionVectors(numbers, vectors, max(1 - cosine, 1e-3))


def _read(
    dataset: Dataset, rows: StoredRows, wanted: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Numbers, sorted, and unit vectors of those of the wanted rows whose captions have one."""
    import pyarrow.parquet as pq

    keys = rows.keys
    place = {keys[row]: int(row) for row in wanted}
    numbers: list[int] = []
    parts: list[NDArray[np.float32]] = []
    for shard, _ in rows.shards:
        if marker(dataset, embeddings.STAGE, shard) is None:
            continue
        with dataset.as_local(files.METADATA.of(shard)) as path:
            there = pq.read_table(path, columns=["image_path"])["image_path"].to_pylist()
        chosen = [at for at, key in enumerate(there) if key in place]
        with dataset.as_local(files.TEXT_EMB.of(shard)) as path:
            vectors = np.load(path, mmap_mode="r")
            parts.append(np.asarray(vectors[chosen], np.float32))
        numbers += [place[there[at]] for at in chosen]
    if not numbers:
        return np.empty(0, np.int64), np.empty((0, 0), np.float32)
    order = np.argsort(numbers)
    return np.array(numbers, np.int64)[order], np.concatenate(parts)[order]
