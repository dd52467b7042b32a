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


def canonical_url(url: str | None) -> str | None:
    """One spelling for all the spellings of what would be asked for: scheme, host, port, path.

    None for what is no URL. Query parameters stay: which of them matter, only the server knows.
    """
    from frenchcat.curate.reasons import FetchFailure
    from frenchcat.curate.urls import parse_url

    try:
        return str(parse_url(url))
    except FetchFailure:
        return None
