"""What else a PDQ hash says: the hash of the mirrored image, and the coarsest part of the hash.

Reads and writes nothing. The bits of a hash are the signs of 16 x 16 frequencies, less their median
(hashes.py), the highest frequency first. An image mirrored left to right has the same frequencies,
of which those that are odd across change their sign; since the median is near 0, so do almost all
of their bits. Where something is cut off, low frequencies change least.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ODD_ACROSS = 0x55  # in each byte: of the frequencies 1 to 16, last first, every second one
_LOW = slice(17, None, 2)  # bytes: the right half of each of the last 8 rows


def mirrored(hashes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Hashes (N, 32) of the images mirrored left to right, but for a few bits."""
    turned: NDArray[np.uint8] = hashes ^ np.uint8(_ODD_ACROSS)
    return turned


def coarsest(hashes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(N, 8): the bits of the 8 x 8 lowest frequencies."""
    return np.ascontiguousarray(hashes[:, _LOW])
