"""Relations become clusters, against a plain union-find."""

import numpy as np
import pytest

from frenchcat.curate.dedup.cluster import components, no_edges, sizes, stars


def reference(rows: int, edges: list[tuple[int, int]]) -> list[int]:
    parent = list(range(rows))

    def root(row: int) -> int:
        while parent[row] != row:
            row = parent[row]
        return row

    for left, right in edges:
        first, second = sorted((root(left), root(right)))
        parent[second] = first
    return [root(row) for row in range(rows)]


@pytest.mark.parametrize("count", [0, 5, 60, 120, 400])
def test_components_are_those_of_union_find(count: int) -> None:
    chance = np.random.default_rng(count)
    for _ in range(20):
        edges = chance.integers(0, 150, (count, 2))
        expected = reference(150, [(int(a), int(b)) for a, b in edges])
        assert components(150, edges).tolist() == expected


def test_a_long_chain_in_any_order_is_one_cluster() -> None:
    chain = np.stack([np.arange(999), np.arange(1, 1000)], axis=1)
    np.random.default_rng(0).shuffle(chain)
    assert set(components(1000, chain).tolist()) == {0}


def test_edges_are_put_onto_what_is_tied_already() -> None:
    labels = components(5, np.array([[3, 4]]))
    assert components(5, np.array([[4, 1]]), labels).tolist() == [0, 1, 2, 1, 1]
    assert labels.tolist() == [0, 1, 2, 3, 3]  # left as it was
    assert components(3, no_edges()).tolist() == [0, 1, 2]


def test_equal_codes_are_tied_to_the_first_and_negative_ones_to_nothing() -> None:
    edges = stars(np.array([-1, 7, 2, 7, -1, 7]))
    assert edges.tolist() == [[1, 3], [1, 5]]


def test_sizes_count_a_row_s_cluster() -> None:
    assert sizes(components(4, np.array([[0, 2], [2, 3]]))).tolist() == [3, 1, 3, 3]
