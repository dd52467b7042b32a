"""How far an image changed between two crawls, and at which domains too many were replaced.

Pure functions of digests, PDQ hashes, CLIP vectors and counts; reads and writes nothing.

A grade, the first that fits:

    re_encoded   the stored bytes are equal, or PDQ hashes are near: coarser, smaller, brighter
    edited       neither the same nor another image: cropped, stamped, recoloured, retouched
    replaced     another image: hashes are not near, and vectors are as far apart as those of
                 different images of the dataset (its own pairs say how far that is)
    ungraded     there are neither hashes nor vectors of one model

A domain that expired answers with its new owner's images (Carlini et al., "Poisoning Web-Scale
Training Datasets is Practical", 2302.10149). So each domain's share of replaced images is compared
with that of all others by Fisher's exact test, one-sided: a binomial test that does not take the
others' rate for known. Over all domains the false discovery rate is bounded as Benjamini and
Hochberg do (1995). A domain with one or two images cannot stand out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.dedup.detectors import NEAR_COSINE
from frenchcat.curate.hashes import PDQ_DISTANCE
from frenchcat.curate.statistics import FDR, benjamini_hochberg, fisher_p

RE_ENCODED, EDITED, REPLACED, UNGRADED = "re_encoded", "edited", "replaced", "ungraded"
GRADES = (RE_ENCODED, EDITED, REPLACED, UNGRADED)
PDQ_OTHER = 90
"""Bits from which on hashes alone say that an image is another: those of different images differ in
128 of 256 in the mean, with a standard deviation of 8. Turning and cropping come as far, so vectors
count first where there are some."""
FAR_COSINE = 0.75
"""As `far_cosine`, of a dataset with too few vectors to say."""
FAR_QUANTILE = 0.99
"""Of the cosines of a dataset's pairs: the share of different images that lies below."""
_LEAST_PAIRS = 500


@dataclass(frozen=True)
class ImageChange:
    """How an image differs between two crawls."""

    grade: str  # one of GRADES
    pdq_bits: int | None = None  # of 256 by which the hashes differ
    cosine: float | None = None  # of the vectors


@dataclass(frozen=True)
class DomainChange:
    """A domain at which more images were replaced than chance allows."""

    domain: str
    rows: int  # that are stored in both crawls
    replaced: int
    others_rate: float  # the share of replaced images at all other domains
    p: float  # of so many or more, if the domain were as the others (Fisher's exact test)
    q: float  # p, corrected for the number of domains (Benjamini and Hochberg)


def graded(
    pdq_bits: int | None, cosine: float | None, far: float, same_stored: bool = False
) -> ImageChange:
    """The grade of an image whose bytes differ; `far` is `far_cosine` of its dataset."""
    return ImageChange(
        _grade(pdq_bits, cosine, far, same_stored),
        pdq_bits,
        None if cosine is None else round(cosine, 4),
    )


def _grade(bits: int | None, cosine: float | None, far: float, same_stored: bool) -> str:
    if same_stored:
        return RE_ENCODED
    if bits is not None and bits <= PDQ_DISTANCE:
        return RE_ENCODED if cosine is None or cosine > far else EDITED
    if cosine is not None:
        return REPLACED if cosine <= min(far, NEAR_COSINE) else EDITED
    if bits is not None:
        return REPLACED if bits >= PDQ_OTHER else EDITED
    return UNGRADED


def far_cosine(vectors: NDArray[np.floating], pairs: int = 20_000, seed: int = 0) -> float:
    """The cosine below which FAR_QUANTILE of the pairs of (N, D) unit rows lie.

    FAR_COSINE where there are too few rows. The same rows give the same number.
    """
    rows = len(vectors)
    if rows * (rows - 1) // 2 < _LEAST_PAIRS:
        return FAR_COSINE
    rng = np.random.default_rng(seed)
    one = rng.integers(0, rows, pairs)
    other = (one + rng.integers(1, rows, pairs)) % rows
    first, second = vectors[one].astype(np.float32), vectors[other].astype(np.float32)
    return float(np.quantile(np.einsum("nd,nd->n", first, second), FAR_QUANTILE))


def pdq_bits(one: str | None, other: str | None) -> int | None:
    """The bits by which two PDQ hashes in hex differ; None if one is missing."""
    if not one or not other:
        return None
    return (int(one, 16) ^ int(other, 16)).bit_count()


def domain_tests(counts: Mapping[str, tuple[int, int]]) -> list[DomainChange]:
    """(rows, replaced) per domain -> every domain with its test, the smallest p first."""
    rows = sum(n for n, _ in counts.values())
    replaced = sum(r for _, r in counts.values())
    found = []
    for domain, (n, r) in counts.items():
        rate = (replaced - r) / (rows - n) if rows > n else 0.0
        found.append((fisher_p(r, n, replaced, rows), domain, n, r, rate))
    found.sort()
    qs = benjamini_hochberg(np.array([p for p, *_ in found])).tolist()
    return [
        DomainChange(domain, n, r, rate, p, q)
        for (p, domain, n, r, rate), q in zip(found, qs, strict=True)
    ]


def flagged(
    counts: Mapping[str, tuple[int, int]], false_discoveries: float = FDR
) -> list[DomainChange]:
    """The domains whose share of replaced images stands out, the smallest p first."""
    return [one for one in domain_tests(counts) if one.q <= false_discoveries]
