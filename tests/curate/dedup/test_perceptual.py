"""Hashes in one another's Hamming ball, against comparing all with all; PDQ on real pictures."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from frenchcat.curate.dedup import perceptual
from frenchcat.curate.dedup.cluster import components
from frenchcat.curate.dedup.perceptual import near_hashes
from frenchcat.curate.hashes import PDQ_DISTANCE, PDQ_QUALITY, pdq_and_quality

Hashes = NDArray[np.uint8]


def apart(left: Hashes, right: Hashes) -> NDArray[np.int64]:
    counts: NDArray[np.int64] = np.bitwise_count(left ^ right).sum(axis=-1, dtype=np.int64)
    return counts


def planted(rows: int, pairs: int, distance: int) -> tuple[Hashes, NDArray[np.int64]]:
    """Random hashes of which some have a copy exactly `distance` bits away."""
    chance = np.random.default_rng(distance)
    hashes = chance.integers(0, 256, (rows, 32), dtype=np.uint8)
    ends = chance.permutation(rows)[: 2 * pairs].reshape(-1, 2)
    bits = np.unpackbits(hashes[ends[:, 0]], axis=1)
    for row in bits:
        row[chance.choice(256, distance, replace=False)] ^= 1
    hashes[ends[:, 1]] = np.packbits(bits, axis=1)
    return hashes, ends


@pytest.mark.parametrize("distance", [0, 7, 31])
def test_few_hashes_are_compared_all_with_all(distance: int) -> None:
    hashes, _ = planted(1500, 40, distance)
    near = np.argwhere(np.triu(apart(hashes[:, None], hashes[None]) <= distance, 1))
    found = components(1500, near_hashes(hashes, distance))
    assert found.tolist() == components(1500, near).tolist()
    assert len(near) >= 40


@pytest.mark.parametrize("distance", [12, 31])
def test_many_hashes_are_found_by_sampled_bits(
    distance: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perceptual, "EXACT_ROWS", 1000)
    hashes, ends = planted(20_000, 2000, distance)
    edges = near_hashes(hashes, distance)
    assert (apart(hashes[edges[:, 0]], hashes[edges[:, 1]]) <= distance).all()
    labels = components(len(hashes), edges)
    assert (labels[ends[:, 0]] == labels[ends[:, 1]]).mean() >= 0.995


def test_a_hash_that_thousands_share_costs_no_square(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perceptual, "EXACT_ROWS", 1000)
    hashes, _ = planted(5000, 0, 0)
    crowd = np.repeat(hashes[:1], 20_000, axis=0)
    edges = near_hashes(np.concatenate([crowd, hashes]), 31)
    assert len(edges) == 20_000


def test_no_hashes_tie_nothing() -> None:
    assert near_hashes(np.empty((0, 32), np.uint8), 31).shape == (0, 2)


def drawing(seed: int) -> Image.Image:
    chance = np.random.default_rng(seed)
    picture = Image.new("RGB", (256, 192), tuple(chance.integers(0, 256, 3).tolist()))
    pen = ImageDraw.Draw(picture)
    for _ in range(40):
        box = np.sort(chance.integers(0, 256, (2, 2)), axis=0).ravel().tolist()
        pen.ellipse(box, fill=tuple(chance.integers(0, 256, 3).tolist()))
    return picture.filter(ImageFilter.GaussianBlur(1))


def coarser(picture: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    picture.resize((160, 120)).save(buffer, "jpeg", quality=40)
    return Image.open(buffer)


def bits(hash_: bytes) -> Hashes:
    return np.frombuffer(hash_, np.uint8)


def test_pdq_knows_a_smaller_coarser_copy_and_no_other_picture() -> None:
    pictures = [drawing(seed) for seed in range(20)]
    hashes = [bits(pdq_and_quality(picture)[0]) for picture in pictures]
    copies = [bits(pdq_and_quality(coarser(picture))[0]) for picture in pictures]
    assert all(apart(a, b) <= PDQ_DISTANCE for a, b in zip(hashes, copies, strict=True))
    others = [apart(a, b) for at, a in enumerate(hashes) for b in hashes[:at]]
    assert min(others) > PDQ_DISTANCE


def test_what_shows_nothing_has_a_hash_of_no_quality() -> None:
    assert pdq_and_quality(Image.new("L", (64, 64), 90))[1] < PDQ_QUALITY
    assert pdq_and_quality(drawing(1))[1] >= PDQ_QUALITY


def test_a_picture_and_its_pixels_have_one_hash_and_see_through_is_white() -> None:
    picture = drawing(2)
    assert pdq_and_quality(picture) == pdq_and_quality(np.asarray(picture))
    cut = picture.convert("RGBA")
    cut.paste((0, 0, 0, 0), (0, 0, 60, 192))
    white = picture.copy()
    white.paste("white", (0, 0, 60, 192))
    assert pdq_and_quality(cut)[0] == pdq_and_quality(white)[0]
