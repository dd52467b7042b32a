"""`sharpness`: the variance of the image's Laplacian; small means blurred, or flat.

Reads the stored image in grey (Rec. 601), 8 bits a sample, and gives the variance of the
4-neighbour Laplacian (Pech-Pacheco et al. 2000, "LAPV"; kernel 0 1 0 / 1 -4 1 / 0 1 0, edges
mirrored). It depends on the size that images are stored at, so a threshold belongs to one
`image_size`; below about 100 at a few hundred pixels photographs look blurred. Flat drawings are
sharp at few edges: judge them by other means. Cost: under a millisecond.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.score.kinds import Column, Columns, DecodedImage, Measure


class Sharpness:
    """The score; grey levels squared, 0 and up."""

    name = "sharpness"
    version = 1
    columns = (Column("sharpness", "float32", "how sharp the image is; blurred ones to the left"),)

    def settings(self) -> Mapping[str, Any]:
        """It depends on the image alone."""
        return {}

    def load(self) -> Measure:
        """Nothing to load."""
        return _measure


def _measure(batch: Sequence[DecodedImage]) -> Columns:
    return {"sharpness": [sharpness(stored.rgb) for stored in batch]}


def sharpness(rgb: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian of an image (H, W, 3)."""
    import cv2

    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_64F, ksize=1).var())
