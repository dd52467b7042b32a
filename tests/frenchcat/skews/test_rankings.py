"""Overlap and rank-biased overlap against their definitions."""

from collections.abc import Sequence

import numpy as np
import pytest

from frenchcat.skews.rankings import overlap, rank_biased_overlap


def by_definition(one: Sequence[int], other: Sequence[int], p: float) -> float:
    """The infinite sum of (1 - p) p^(d - 1) A_d, with A_d as at the end beyond it."""
    shared = [len(set(one[:d]) & set(other[:d])) / d for d in range(1, len(one) + 1)]
    shared += [shared[-1]] * 3000
    return (1 - p) * sum(p**d * agreement for d, agreement in enumerate(shared))


@pytest.mark.parametrize("p", [0.5, 0.9, 0.98])
def test_rank_biased_overlap_is_webbers(p: float) -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        one, other = (random.permutation(30)[:12].tolist() for _ in range(2))
        assert rank_biased_overlap(one, other, p) == pytest.approx(by_definition(one, other, p))


def test_the_ends_and_the_weight_of_the_first_ranks() -> None:
    items = list(range(20))
    assert rank_biased_overlap(items, items) == pytest.approx(1)
    assert rank_biased_overlap(items, list(range(20, 40))) == 0
    first, last = [99, *items[1:]], [*items[:-1], 99]
    assert rank_biased_overlap(items, first) < rank_biased_overlap(items, last)
    assert overlap(items, first) == overlap(items, last) == 0.95
    with pytest.raises(ValueError, match="equal length"):
        overlap([1], [1, 2])
