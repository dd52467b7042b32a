"""Facets of a million rows: the usual columns counted under a filter, once they were read.

    python -m bench.facets                   some seconds

Makes columns as the service keeps them: 8 of numbers, and 6 of texts, one with 100,000 distinct
values, as domains have; half of the rows meet the filter. Each round counts all 14.

    facets_cpu_ms  processor time of all 14, which other programs disturb less; the middle of all

Writes bench/results/facets.json.
"""

from __future__ import annotations

import time

import numpy as np
import pyarrow as pa

from bench import _common as common
from frenchcat.index.service.column_values import Numbers, TextCodes, histogram, top_values

GOALS = {"facets_cpu_ms": ("<=", 300.0)}
NUMBERS = 8
DISTINCT = (100_000, 100, 20, 10, 5, 3)


def main() -> None:
    """Count a few times."""
    parser = common.parser(__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    numbers = [Numbers(rng.standard_normal(given.rows)) for _ in range(NUMBERS)]
    texts = [
        TextCodes(
            (distinct * rng.random(given.rows) ** 3).astype(np.int32),
            pa.array([f"value {n:06d}" for n in range(distinct)]),
        )
        for distinct in DISTINCT
    ]
    load, rounds = common.load(), []
    for _ in range(given.rounds):
        begun = time.process_time()
        positions = np.flatnonzero(numbers[0].values > 0)
        for number in numbers:
            histogram(number, positions, 20)
        for text in texts:
            top_values(text, positions, 10)
        rounds.append((time.process_time() - begun) * 1000)
    result = {"rows": given.rows, "facets_cpu_ms": common.median(rounds), "load_before": load}
    common.keep("facets", result, GOALS)


if __name__ == "__main__":
    main()
