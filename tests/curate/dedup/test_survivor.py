"""Who stays, by rules in order."""

import numpy as np
import pytest
from numpy.typing import NDArray

from frenchcat.curate.dedup.settings import Rule
from frenchcat.curate.dedup.survivor import survivors

NAN = float("nan")
QUALITIES: dict[Rule, NDArray[np.float64]] = {
    "resolution": np.array([5.0, 9.0, 9.0, 1.0, NAN]),
    "similarity": np.array([0.9, 0.1, 0.3, NAN, NAN]),
    "caption_length": np.array([1.0, 8.0, 2.0, 4.0, 4.0]),
}
LABELS = np.array([0, 0, 0, 3, 3])


@pytest.mark.parametrize(
    ("rules", "stays"),
    [
        (("resolution", "similarity", "key"), [2, 2, 2, 3, 3]),
        (("resolution",), [1, 1, 1, 3, 3]),  # the first key decides the rest
        (("similarity", "resolution"), [0, 0, 0, 3, 3]),  # NaN loses
        (("caption_length", "key"), [1, 1, 1, 3, 3]),
        (("key", "resolution"), [0, 0, 0, 3, 3]),
        ((), [0, 0, 0, 3, 3]),
    ],
)
def test_the_rules_decide_in_order(rules: tuple[Rule, ...], stays: list[int]) -> None:
    assert survivors(LABELS, QUALITIES, rules).tolist() == stays


def test_a_row_alone_stays() -> None:
    alone = np.arange(5)
    assert survivors(alone, QUALITIES, ("resolution",)).tolist() == alone.tolist()
