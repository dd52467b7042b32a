"""Distances between drawn and real images, as pure functions of their CLIP vectors.

    clip_score        mean cosine of images and their prompts (2104.08718, without its factor)
    cmmd              maximum mean discrepancy, Gaussian kernel of sigma 10, x 1000 (2401.09603)
    frechet_distance  between two Gaussians fitted to the vectors (FID, 1706.08500 equation 6)
    precision_recall  how many drawn lie among the real, and the other way (1904.06991, k = 3)

All in float64. Figures compare only within one embedding model, one number of images and one set
of prompts: the Frechet distance of few images is biased upwards (its covariance lacks full rank
below D of them), CMMD as its authors compute it by about 1/n.

Cost: quadratic in images, a block of rows at a time; the Frechet distance cubic in D.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.floating]  # (N, D)
_BLOCK = 1024


@dataclass(frozen=True)
class Estimate:
    """A mean, and half the width of its 95 % interval."""

    mean: float
    interval: float


def clip_score(pictures: Vectors, texts: Vectors) -> Estimate:
    """The mean cosine of paired unit rows."""
    cosines = (np.asarray(pictures, np.float64) * np.asarray(texts, np.float64)).sum(1)
    if len(cosines) < 2:
        return Estimate(float(cosines.mean()), float("inf"))
    return Estimate(float(cosines.mean()), float(1.96 * cosines.std(ddof=1) / len(cosines) ** 0.5))


def cmmd(one: Vectors, other: Vectors, *, unbiased: bool = False) -> float:
    """1000 x the squared MMD of two sets of unit rows with k(x, y) = exp(-|x - y|^2 / 200).

    As the authors' program computes it: pairs of a row with itself count, so that equal sets give
    0. `unbiased` leaves them out (2401.09603 equation 4); it may come out below 0.
    """
    within = [_kernel_mean(rows, rows, skip_same=unbiased) for rows in (one, other)]
    return 1000 * (sum(within) - 2 * _kernel_mean(one, other))


def _kernel_mean(one: Vectors, other: Vectors, *, skip_same: bool = False) -> float:
    total = 0.0
    for start in range(0, len(one), _BLOCK):
        total += float(np.exp(-_squared(one[start : start + _BLOCK], other) / 200).sum())
    if not skip_same:
        return total / (len(one) * len(other))
    return (total - len(one)) / (len(one) * (len(one) - 1))


def frechet_distance(one: Vectors, other: Vectors) -> float:
    """|m - m'|^2 + tr(C + C' - 2 (C C')^(1/2)) of the sets' means and covariances.

    The trace of the root is that of (C^(1/2) C' C^(1/2))^(1/2), which is symmetric, so that no
    complex numbers arise. Raises ValueError for fewer than two rows.
    """
    if min(len(one), len(other)) < 2:
        raise ValueError("a covariance needs two images or more")
    a, b = np.asarray(one, np.float64), np.asarray(other, np.float64)
    c, d = np.atleast_2d(np.cov(a, rowvar=False)), np.atleast_2d(np.cov(b, rowvar=False))
    values, vectors = np.linalg.eigh(c)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ d @ root).clip(0)).sum()
    means = ((a.mean(0) - b.mean(0)) ** 2).sum()
    return float(max(0.0, means + np.trace(c) + np.trace(d) - 2 * cross))


def precision_recall(real: Vectors, drawn: Vectors, k: int = 3) -> tuple[float, float]:
    """Shares of drawn among the real, and of real among the drawn (equations 1 and 2).

    A point is among a set if it is no further from some member than that one's k-th neighbour.
    Raises ValueError for sets of k or fewer.
    """
    if min(len(real), len(drawn)) <= k:
        raise ValueError(f"precision and recall with k={k} need more than {k} images")
    return _share_inside(drawn, real, k), _share_inside(real, drawn, k)


def _share_inside(points: Vectors, members: Vectors, k: int) -> float:
    reach = np.concatenate(
        [  # the member itself is the nearest, at 0
            np.partition(_squared(members[start : start + _BLOCK], members), k, axis=1)[:, k]
            for start in range(0, len(members), _BLOCK)
        ]
    )
    inside = [
        (_squared(points[start : start + _BLOCK], members) <= reach + 1e-12).any(1)
        for start in range(0, len(points), _BLOCK)
    ]
    return float(np.concatenate(inside).mean())


def _squared(one: Vectors, other: Vectors) -> NDArray[np.float64]:
    """(n, m) squared distances."""
    a, b = np.asarray(one, np.float64), np.asarray(other, np.float64)
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return np.asarray(squares.clip(0))
