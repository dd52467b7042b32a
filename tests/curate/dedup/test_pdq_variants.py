"""Mirrored and cut copies, told by the hashes that are there anyhow."""

import numpy as np
import pdqhash
import pytest
from numpy.typing import NDArray

from bench._photographs import natural
from frenchcat.curate.dedup import perceptual
from frenchcat.curate.dedup.cluster import components
from frenchcat.curate.dedup.pdq_variants import coarsest, mirrored
from frenchcat.curate.dedup.perceptual import Copies, near_hashes
from frenchcat.curate.hashes import PDQ_DISTANCE, pdq

Pixels = NDArray[np.uint8]
COUNT = 24


@pytest.fixture(scope="module")
def photographs() -> list[Pixels]:
    made = [natural(320, 240, seed) for seed in range(COUNT)]
    return [np.clip(each, 0, 255).astype(np.uint8) for each in made]


def hashed(pictures: list[Pixels]) -> NDArray[np.uint8]:
    return np.stack([np.frombuffer(pdq(picture), np.uint8) for picture in pictures])


def found(hashes: NDArray[np.uint8], copies: Copies) -> int:
    """How many of the second half are in the cluster of their original, and of no other."""
    labels = components(len(hashes), near_hashes(hashes, PDQ_DISTANCE, copies=copies))
    assert labels[:COUNT].tolist() == list(range(COUNT))  # no two originals are near
    return int((labels[COUNT:] == np.arange(COUNT)).sum())


def test_a_mirrored_image_s_hash_is_known_from_its_own(photographs: list[Pixels]) -> None:
    every = [pdqhash.compute_dihedral(picture)[0] for picture in photographs]
    true = np.packbits(np.stack([bits[5] for bits in every]), axis=1)  # flipped left to right
    own = np.packbits(np.stack([bits[0] for bits in every]), axis=1)
    apart = np.bitwise_count(mirrored(own) ^ true).sum(axis=1, dtype=int)
    assert apart.max() <= 16
    np.testing.assert_array_equal(mirrored(mirrored(own)), own)


def test_the_coarsest_bits_are_those_of_the_lowest_frequencies(
    photographs: list[Pixels],
) -> None:
    bits = pdqhash.compute(photographs[0])[0].reshape(16, 16)[::-1, ::-1]  # lowest first
    low = np.unpackbits(coarsest(hashed(photographs[:1]))).reshape(8, 8)[::-1, ::-1]
    assert low.tolist() == bits[:8, :8].tolist()


def test_mirrored_copies_are_found_where_that_is_asked_for(photographs: list[Pixels]) -> None:
    hashes = hashed(photographs + [picture[:, ::-1] for picture in photographs])
    assert found(hashes, Copies()) == 0
    assert found(hashes, Copies(mirrored=True)) == COUNT


@pytest.mark.parametrize("exact_rows", [50_000, 10])
def test_cut_copies_are_found_where_that_is_asked_for(
    exact_rows: int, photographs: list[Pixels], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perceptual, "EXACT_ROWS", exact_rows)
    cut = [picture[8:, 10:] for picture in photographs]
    hashes = hashed(photographs + cut)
    assert found(hashes, Copies()) <= COUNT // 4
    assert found(hashes, Copies(cut=True)) >= 0.85 * COUNT


def test_a_copy_that_is_cut_and_mirrored_needs_both(photographs: list[Pixels]) -> None:
    copies = [picture[8:, 310:5:-1] for picture in photographs]
    hashes = hashed(photographs + copies)
    assert found(hashes, Copies(mirrored=True)) <= COUNT // 4
    assert found(hashes, Copies(mirrored=True, cut=True)) >= 0.85 * COUNT


def test_only_pairs_with_an_added_one_are_sought(photographs: list[Pixels]) -> None:
    hashes = hashed(photographs + [picture[:, ::-1] for picture in photographs])
    added = np.arange(len(hashes)) == len(hashes) - 1
    edges = near_hashes(hashes, PDQ_DISTANCE, added, Copies(mirrored=True))
    assert {frozenset(edge) for edge in edges.tolist()} == {frozenset((COUNT - 1, 2 * COUNT - 1))}
