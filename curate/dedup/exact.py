"""Exact duplicates: rows that share a value, such as a hash of their bytes or a canonical URL.

Reads and writes nothing. Cost: linear in rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from frenchcat.curate.dedup.cluster import Edges, stars


def equal_values(values: Sequence[str | None]) -> Edges:
    """Edges between rows of equal value; None equals nothing."""
    import pyarrow as pa

    codes = pa.array(values, pa.string()).dictionary_encode().indices
    return stars(np.asarray(codes.fill_null(-1).cast(pa.int64())))
