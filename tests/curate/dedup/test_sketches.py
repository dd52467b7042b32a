"""Distances of sketches beside those of the vectors."""

from pathlib import Path

import numpy as np

from frenchcat.curate.dedup.sketches import Sketches
from tests.curate.dedup.test_semantic import plant, topics


def test_sketches_of_near_vectors_are_within_the_limit_and_of_others_beyond() -> None:
    vectors = topics(6000, 256, 0)
    ends = plant(vectors, 2500, 0.96)
    sketches = Sketches(vectors.astype(np.float16))
    limit = sketches.limit(0.96)
    left, right = sketches.of(ends[:, 0]), sketches.of(ends[:, 1])
    assert ((left - right).square().sum(dim=1) <= limit).float().mean() >= 0.997
    others = (left - left.roll(1, 0)).square().sum(dim=1)
    assert (others <= limit).float().mean() <= 0.01


def test_short_vectors_are_their_own_sketches() -> None:
    vectors = topics(20, 48, 0)
    rows = np.arange(5, 15)
    np.testing.assert_array_equal(Sketches(vectors).of(rows).numpy(), vectors[rows])


def test_a_mapped_file_is_read_as_an_array_is(tmp_path: Path) -> None:
    vectors = topics(5000, 96, 2).astype(np.float16)
    np.save(tmp_path / "vectors.npy", vectors)
    mapped = Sketches(np.load(tmp_path / "vectors.npy", mmap_mode="r"))
    rows = np.arange(5000)
    np.testing.assert_array_equal(mapped.of(rows).numpy(), Sketches(vectors).of(rows).numpy())
    for _ in range(2):  # its pages were given back between
        np.testing.assert_array_equal(mapped.full(rows).numpy(), vectors.astype(np.float32))
